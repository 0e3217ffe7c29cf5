"""The bulk path: persisted, rendered, handed to a provider that does nothing, recorded.

Both sides use one worker with two children on the same Redis; the raw tasks do nothing at all.
"""

import time
from collections.abc import Callable

from bench import floor
from bench.benchmark import Benchmark, Sample
from bench.stage import Stage, empty
from tests.servers.process import wait_until

ROWS = 20_000
RAW_CALLS = 1500
WORKER_CHILDREN = "2"


def prepare(stage: Stage) -> Callable[[], Sample]:
    prepare_ours(stage)
    floor.start_worker(stage, WORKER_CHILDREN)
    return lambda: Sample(
        ours=ROWS / seconds_for(ROWS, stage), floor=RAW_CALLS / floor.seconds_for(RAW_CALLS, stage)
    )


def prepare_ours(stage: Stage) -> None:
    """Publish a template, and start a worker and a scheduler."""
    publish_template()
    stage.processes.worker("--concurrency", WORKER_CHILDREN)
    stage.processes.beat()


def publish_template() -> None:
    """Publish what every row is rendered with."""
    from templates_engine.models import Template
    from templates_engine.publishing import create_version, publish

    template, _ = Template.objects.get_or_create(
        name="bench", defaults={"channel": "simulator", "category": "transactional"}
    )
    parts = {"subject": "Hello {{ name }}", "body": "Dear {{ name }}, your code is {{ code }}."}
    publish(create_version(template, parts))


def seconds_for(count: int, stage: Stage) -> float:
    """Send so many, and forget them; return the seconds as ``send`` does."""
    seconds = send(count)
    empty(stage)
    return seconds


def send(count: int) -> float:
    """Send so many; return the seconds from the first row until the last outcome is recorded."""
    from notifications.models import Notification

    sent = Notification.objects.filter(status="sent")
    before = sent.count()
    started = time.perf_counter()
    accept(count)
    # By the index that the sweep lives on: what is finished is due no more.
    unfinished = Notification.objects.filter(
        channel="simulator", priority="low", due_at__isnull=False
    )
    wait_until(lambda: not unfinished.exists(), timeout=300)
    seconds = time.perf_counter() - started
    if (now := sent.count() - before) != count:
        raise RuntimeError(f"Of {count} notifications, {now} were sent.")
    return seconds


def accept(count: int) -> None:
    """Have so many accepted, each with a context of its own."""
    from notifications.submission import send_many

    rows = (
        {"recipient": f"user{n}", "context": {"name": f"User {n}", "code": n}} for n in range(count)
    )
    send_many(rows, channel="simulator", template="bench", priority="low")


BULK = Benchmark(
    title="bulk: persisted, rendered, handed over, recorded",
    floor_title="raw Celery no-op tasks",
    unit="/s",
    prepare=prepare,
    target=">= 16 x",
)
