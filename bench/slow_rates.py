"""What one worker of two slots makes of services that take their time: paces and delays."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from celery import shared_task

from bench.benchmark import Benchmark, Sample
from bench.slow_stage import SlowStage
from bench.stage import Stage, empty
from tests.servers.process import wait_until

REQUESTS = 9000
HTTP_PACE = 150  # milliseconds
HTTP_CONNECTIONS = 200  # of each of the worker's children
MAILS = 6000
SMTP_PACE = 50
SMTP_CONNECTIONS = 40
LEAST_MAILS = 1000.0  # per second
RECEIVERS = 1000
HANGING = 50
WEBHOOK_PACE = 20
LATEST = 1000.0  # milliseconds
DUE = 15  # jobs, one each second
LATEST_JOB = 500.0  # milliseconds
CAMPAIGN = 20_000
LONG = 30  # seconds

Rows = Iterator[dict[str, str]]


@shared_task(name="bench.short")  # type: ignore[untyped-decorator]  # celery has no types
def short() -> None:
    """Do nothing: only when it begins counts."""


@shared_task(name="bench.long")  # type: ignore[untyped-decorator]  # celery has no types
def long() -> None:
    """Hold a slot."""
    time.sleep(LONG)


def prepare_http(stage: Stage) -> Callable[[], Sample]:
    slow = SlowStage(stage, HTTP_PACE, sms=HTTP_CONNECTIONS)
    url = f"{slow.url('127.0.0.1')}/2010-04-01/Accounts/AC/Messages.json"
    arguments = (url, str(REQUESTS), str(HTTP_CONNECTIONS))

    def play() -> Sample:
        rows = ({"recipient": slow.recipient("http", n)} for n in range(REQUESTS))
        ours = REQUESTS / _seconds(stage, rows, "sms")
        printed = stage.processes.run("client", "python", "-m", "bench.kept_client", *arguments)
        return Sample(ours=ours, floor=REQUESTS / float(printed.rpartition("seconds ")[2]))

    return play


def prepare_smtp(stage: Stage) -> Callable[[], Sample]:
    slow = SlowStage(stage, SMTP_PACE, email=SMTP_CONNECTIONS)

    def play() -> Sample:
        rows = ({"recipient": slow.recipient("smtp", n)} for n in range(MAILS))
        return Sample(ours=MAILS / _seconds(stage, rows, "email"), floor=LEAST_MAILS)

    return play


def _seconds(stage: Stage, rows: Rows, channel: Any) -> float:
    """Return the seconds from the first row until the last outcome is recorded."""
    from notifications.models import UNFINISHED, Notification
    from notifications.submission import send_many

    started = time.perf_counter()
    accepted = send_many(rows, channel=channel, priority="low", subject="S", body="B").accepted
    unfinished = Notification.objects.filter(status__in=UNFINISHED)
    wait_until(lambda: not unfinished.exists(), timeout=300)
    seconds = time.perf_counter() - started
    sent = Notification.objects.filter(status="sent").count()
    if sent != accepted:
        raise RuntimeError(f"Of {accepted} notifications, {sent} were sent.")
    empty(stage)
    return seconds


def prepare_webhooks(stage: Stage) -> Callable[[], Sample]:
    slow = SlowStage(stage, WEBHOOK_PACE)

    def play() -> Sample:
        latest = _latest_webhook(slow)
        empty(stage)
        return Sample(ours=latest * 1000, floor=LATEST)

    return play


def _latest_webhook(slow: SlowStage) -> float:
    """Return the seconds until the last receiver that answers was called, by the database."""
    from notifications.models import Attempt
    from notifications.submission import send_many

    every = RECEIVERS // HANGING
    rows = [
        {
            "recipient": slow.url(f"127.1.{n // 250}.{n % 250 + 1}", "never")
            if n % every == 0
            else slow.recipient("webhook", n)
        }
        for n in range(RECEIVERS)
    ]
    send_many(rows, channel="webhook", body="B")
    attempts = Attempt.objects.filter(result="sent")
    wait_until(lambda: attempts.count() == RECEIVERS - HANGING, timeout=120)
    return max(
        (started - accepted).total_seconds()
        for started, accepted in attempts.values_list("started_at", "notification__created_at")
        if started is not None
    )


def prepare_jobs(stage: Stage) -> Callable[[], Sample]:
    os.environ["SCHEDULING_ALLOWED_TASKS"] = "bench.*"
    stage.processes.env["SCHEDULING_ALLOWED_TASKS"] = "bench.*"
    slow = SlowStage(stage, HTTP_PACE, options=("-I", __name__))
    from scheduling import jobs

    jobs.allow(short)
    jobs.allow(long)
    jobs.register("each second", short, 1.0)
    jobs.register("long", long, timedelta(days=1), overlap="allow")

    def play() -> Sample:
        from notifications.submission import send_many

        campaigns: tuple[tuple[str, Any], ...] = (("http", "sms"), ("smtp", "email"))
        for kind, channel in campaigns:
            rows = ({"recipient": slow.recipient(kind, n)} for n in range(CAMPAIGN))
            send_many(rows, channel=channel, priority="low", subject="S", body="B")
        jobs.run_now("long")
        latest = _latest_job()
        # Two long jobs would hold both slots.
        wait_until(lambda: not _open_fires("long").exists(), timeout=2 * LONG)
        empty(stage)
        return Sample(ours=latest * 1000, floor=LATEST_JOB)

    return play


def _open_fires(job: str) -> Any:
    from scheduling.models import Fire

    return Fire.objects.filter(schedule__periodic_task__name=job, finished_at=None)


def _latest_job() -> float:
    """Return by how many seconds the latest of some jobs began too late, by the database."""
    from notifications.db import clock
    from scheduling.models import Fire

    running = _open_fires("long").filter(started_at__isnull=False)
    wait_until(running.exists, timeout=60)
    begun = Fire.objects.filter(
        schedule__periodic_task__name="each second",
        scheduled_for__gt=clock.now(),
        started_at__isnull=False,
    )
    wait_until(lambda: begun.count() >= DUE, timeout=120)
    found: list[Any] = list(begun.values_list("started_at", "scheduled_for"))
    latest: float = max((started - due).total_seconds() for started, due in found)
    return latest


HTTP = Benchmark(
    title=f"text messages by an HTTP API of {HTTP_PACE} ms, accepted to recorded (and 1,500/s)",
    floor_title="libcurl alone",
    unit="/s",
    prepare=prepare_http,
    target=">= 0.6 x, >= 1,500/s",
)
SMTP = Benchmark(
    title=f"email by a server of {SMTP_PACE} ms a mail, {SMTP_CONNECTIONS} connections a child",
    floor_title="1,000/s",
    unit="/s",
    prepare=prepare_smtp,
    target=">= 1 x",
)
WEBHOOKS = Benchmark(
    title=f"the last of {RECEIVERS:,} webhooks is called, while {HANGING} receivers hang",
    floor_title="one second",
    unit=" ms",
    prepare=prepare_webhooks,
    target="<= 1 x",
)
JOBS = Benchmark(
    title="the latest of jobs due each second, beside slow campaigns and a long job",
    floor_title="half a second",
    unit=" ms",
    prepare=prepare_jobs,
    target="<= 1 x",
)
