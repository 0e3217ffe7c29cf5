"""What it costs to move a finished notification to the archive, beside deleting it."""

import time
from collections.abc import Callable
from datetime import timedelta

from bench.benchmark import Benchmark, Sample
from bench.bulk import publish_template
from bench.growth import fill
from bench.stage import Stage, empty

ROWS = 50_000
SINCE = timedelta(days=100)  # all of it older than is kept
A_YEAR = 12  # months


def prepare(stage: Stage) -> Callable[[], Sample]:
    publish_template()
    return lambda: Sample(ours=_microseconds(stage, A_YEAR), floor=_microseconds(stage, 0))


def _microseconds(stage: Stage, months: int) -> float:
    from django.conf import settings

    from notifications.maintenance import archive, retention

    settings.NOTIFICATIONS_ARCHIVE_MONTHS = months
    fill(ROWS, SINCE)
    started = time.perf_counter()
    left = retention.prune(rest=lambda _: None)  # what it costs, not how long it takes
    seconds = time.perf_counter() - started
    if left != ROWS:
        raise RuntimeError(f"{left} left, not {ROWS}.")
    archive.drop(keep_months=0)
    empty(stage)
    return seconds / ROWS * 1_000_000


RETENTION = Benchmark(
    title="moving a finished one to the archive",
    floor_title="deleting it",
    unit=" µs",
    prepare=prepare,
)
