"""One call to ``apply_async``, durable on return, beside a raw ``delay()``."""

import time
from collections.abc import Callable
from typing import Any

from bench import floor
from bench.benchmark import Benchmark, Sample
from bench.stage import Stage, empty

CALLS = 1000


def prepare(stage: Stage) -> Callable[[], Sample]:
    floor.app.conf.broker_url = stage.redis.url
    return lambda: Sample(ours=CALLS / _ours(stage), floor=CALLS / _floor(stage))


def _ours(stage: Stage) -> float:
    from notifications.models import Notification
    from notifications.tasks import send_notification

    message: Any = {"channel": "simulator", "recipient": "bench", "subject": "S", "body": "B"}
    started = time.perf_counter()
    for _ in range(CALLS):
        send_notification.apply_async(kwargs=message)
    seconds = time.perf_counter() - started
    if Notification.objects.count() != CALLS:
        raise RuntimeError("Not every call left a row.")
    empty(stage)
    return seconds


def _floor(stage: Stage) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        floor.nothing.delay()
    seconds = time.perf_counter() - started
    stage.redis.flush()
    return seconds


CALLS_BENCHMARK = Benchmark(
    title="one call to apply_async, durable on return",
    floor_title="raw delay()",
    unit="/s",
    prepare=prepare,
    target=">= 0.5 x",
)
