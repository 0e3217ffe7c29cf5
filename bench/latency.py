"""From the call until the provider is called: idle beside raw Celery, and behind 100,000 others."""

import statistics
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from bench import floor
from bench.benchmark import Benchmark, Sample
from bench.stage import Stage, empty
from tests.servers.process import wait_until

PROBES = 100
PAUSE = 0.03  # seconds between probes, so that they meet an idle system
BACKLOG = 100_000
MESSAGE: Any = {"channel": "simulator", "recipient": "bench", "body": "B"}


def prepare_idle(stage: Stage) -> Callable[[], Sample]:
    _workers(stage)
    return lambda: Sample(
        ours=_microseconds(_latencies(stage), 50), floor=_microseconds(_raw_latencies(stage), 50)
    )


def prepare_behind_a_backlog(stage: Stage) -> Callable[[], Sample]:
    _workers(stage)

    def play() -> Sample:
        idle = _microseconds(_latencies(stage), 99)
        _have_a_backlog()
        busy = _microseconds(_latencies(stage, keep=True), 99)
        if not _backlog():
            raise RuntimeError("The backlog was gone before the last probe.")
        stage.redis.flush()
        empty(stage)
        return Sample(ours=busy, floor=idle)

    return play


def _workers(stage: Stage) -> None:
    stage.processes.worker("--concurrency", "2")
    stage.processes.beat()
    floor.start_worker(stage, "2")


def _latencies(stage: Stage, *, keep: bool = False) -> list[float]:
    """Return the seconds from each call until the provider was called, by the database's clock."""
    from notifications.db import clock
    from notifications.models import Attempt
    from notifications.tasks import send_notification

    called: dict[str, datetime] = {}
    for _ in range(PROBES):
        at = clock.now()
        called[send_notification.apply_async(kwargs=MESSAGE, priority="high").id] = at
        time.sleep(PAUSE)
    attempts = Attempt.objects.filter(notification_id__in=list(called))
    wait_until(lambda: attempts.count() == PROBES, timeout=60)
    found = [
        (started - called[str(id_)]).total_seconds()
        for id_, started in attempts.values_list("notification_id", "started_at")
        if started is not None
    ]
    if not keep:
        empty(stage)
    return found


def _raw_latencies(stage: Stage) -> list[float]:
    with stage.redis.client() as redis:
        redis.delete(floor.LATENCIES)
        for _ in range(PROBES):
            floor.timed.delay(time.time())
            time.sleep(PAUSE)
        wait_until(lambda: redis.llen(floor.LATENCIES) == PROBES, timeout=60)
        return [float(text) for text in redis.lrange(floor.LATENCIES, 0, -1)]


def _have_a_backlog() -> None:
    from notifications.submission import send_many

    # Slow enough for the backlog to outlast the probes.
    rows = ({"recipient": f"u{n}?latency=0.0002"} for n in range(BACKLOG))
    send_many(rows, channel="simulator", body="B", priority="low")


def _backlog() -> int:
    from notifications.models import UNFINISHED, Notification

    return Notification.objects.filter(priority="low", status__in=UNFINISHED).count()


def _microseconds(seconds: list[float], percentile: int) -> float:
    return statistics.quantiles(seconds, n=100)[percentile - 1] * 1e6


IDLE_LATENCY = Benchmark(
    title="idle latency, apply_async to provider, p50",
    floor_title="raw Celery, delay() to task, p50",
    unit=" µs",
    prepare=prepare_idle,
    target="<= 2 x",
)

URGENT_LATENCY = Benchmark(
    title="high-priority latency behind 100,000 low ones, p99",
    floor_title="the same, idle, p99",
    unit=" µs",
    prepare=prepare_behind_a_backlog,
    target="<= 5 x",
)
