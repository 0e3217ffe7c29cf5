"""Single sends, from the call to the recorded outcome, beside raw no-op tasks.

Both sides: one process that publishes one call after the other, one worker with two children,
the same Redis. Ours also stores each notification, its attempt and its outcome in Postgres.
"""

import time
from collections.abc import Callable
from typing import Any

from bench import floor
from bench.benchmark import Benchmark, Sample
from bench.stage import Stage
from tests.servers.process import wait_until

CALLS = 1000
WORKER_CHILDREN = "2"


def prepare(stage: Stage) -> Callable[[], Sample]:
    stage.processes.worker("--concurrency", WORKER_CHILDREN)
    stage.processes.beat()
    floor.start_worker(stage, WORKER_CHILDREN)
    return lambda: Sample(ours=CALLS / _ours(), floor=CALLS / floor.seconds_for(CALLS, stage))


def _ours() -> float:
    """Return the seconds from the first call until the last outcome is recorded."""
    from notifications.models import UNFINISHED, Notification
    from notifications.tasks import send_notification

    message: Any = {"channel": "simulator", "recipient": "bench", "subject": "S", "body": "B"}
    started = time.perf_counter()
    for _ in range(CALLS):
        send_notification.apply_async(kwargs=message)
    unfinished = Notification.objects.filter(status__in=UNFINISHED)
    wait_until(lambda: not unfinished.exists(), timeout=120)
    seconds = time.perf_counter() - started
    sent = Notification.objects.filter(status="sent").delete()
    if sent[1].get("notifications.Notification") != CALLS:
        raise RuntimeError(f"Of {CALLS} notifications, not all were sent: {sent}")
    return seconds


SINGLE_SENDS = Benchmark(
    title="single sends, apply_async to recorded outcome",
    floor_title="raw Celery no-op tasks",
    unit="/s",
    prepare=prepare,
    target=">= 2 x",
)
