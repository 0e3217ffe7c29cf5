"""How late a send is that was asked for in advance: 1,000 are due a second, a million are pending.

Lateness is from the moment asked for to the start of the attempt, by the database's clock: the
scheduler's sweep, the broker, and the worker's claim are in it. Real scheduler, real worker.
"""

import statistics
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from bench.benchmark import Benchmark, Sample
from bench.stage import Stage
from tests.servers.process import wait_until

PENDING = 1_000_000
DUE = 10_000
BETWEEN = timedelta(milliseconds=1)
LEAD = timedelta(seconds=10)
"""Time to accept those that will be due, before the first of them is."""


def prepare(percentile: int, stage: Stage) -> Callable[[], Sample]:
    stage.processes.worker("--concurrency", "2")
    stage.processes.beat()
    _lateness(100)  # warms up
    with_none_pending = _milliseconds(percentile)
    _have_pending()
    return lambda: Sample(ours=_milliseconds(percentile), floor=with_none_pending)


def _have_pending() -> None:
    from django.db import connection

    from notifications.db import clock
    from notifications.submission import send_many

    tomorrow = clock.now() + timedelta(days=1)
    rows = ({"recipient": f"later{n}"} for n in range(PENDING))
    send_many(rows, channel="simulator", body="B", eta=tomorrow)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE notifications_notification")


def _milliseconds(percentile: int) -> float:
    return statistics.quantiles(_lateness(DUE), n=100)[percentile - 1] * 1000


def _lateness(count: int) -> list[float]:
    """Return the seconds by which so many were late, of which one is due each millisecond."""
    from notifications.db import clock
    from notifications.models import Attempt
    from notifications.submission import send_many

    first = clock.now() + LEAD
    rows = ({"recipient": f"due{n}", "eta": first + n * BETWEEN} for n in range(count))
    sent = send_many(rows, channel="simulator", body="B")
    if sent.accepted != count or clock.now() > first:
        raise RuntimeError("They were not accepted before the first was due.")
    attempts = Attempt.objects.filter(notification__batch=sent.batch)
    wait_until(lambda: attempts.count() == count, timeout=120)
    times = attempts.values_list("started_at", "notification__scheduled_at")
    return [(started - due).total_seconds() for started, due in times if started and due]


LATENESS_P50 = Benchmark(
    title=f"lateness at 1,000 due/s among {PENDING:,} pending sends, p50",
    floor_title="the same, none pending",
    unit=" ms",
    prepare=partial(prepare, 50),
)
LATENESS_P99 = Benchmark(
    title=f"lateness at 1,000 due/s among {PENDING:,} pending sends, p99",
    floor_title="the same, none pending",
    unit=" ms",
    prepare=partial(prepare, 99),
    target="<= 100 ms",
)
