"""Urgent messages behind 60,000 low ones whose provider takes its time, with two slots.

What counts is the time from the acceptance until a provider is called, p99. It stands beside what
it must not pass: the same on an idle system, one call of the provider, and 50 ms; twice that for
medium ones.
"""

import statistics
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from bench.benchmark import Benchmark, Sample
from bench.slow_stage import CHANNELS, KINDS, SlowStage
from bench.stage import Stage, empty
from tests.servers.process import wait_until

PACES = (0, 20, 100, 500)  # milliseconds of a call
BACKLOG = 60_000
LEAST = 20_000  # of the backlog must be left after the last probe
PROBES = 200
PAUSE = 0.02  # seconds between probes
MARGIN = 0.050  # seconds
CONNECTIONS = 40  # of each child to the mail server: 50 probes a second of 500 ms need 25


def prepare(kind: str, milliseconds: int, priority: str, stage: Stage) -> Callable[[], Sample]:
    slow = SlowStage(stage, milliseconds, email=CONNECTIONS)
    p99(slow, kind, priority)  # warms up
    # Once: after a round the worker still sends what it has in hand.
    idle = p99(slow, kind, priority)

    def play() -> Sample:
        _have_a_backlog(slow, kind)
        busy = p99(slow, kind, priority)
        left = _left()
        empty(stage)
        if left < LEAST and milliseconds:
            raise RuntimeError(f"Of the backlog only {left} were left after the last probe.")
        allowed = (idle + milliseconds / 1000 + MARGIN) * (1 if priority == "high" else 2)
        return Sample(ours=busy * 1000, floor=allowed * 1000)

    return play


def _have_a_backlog(slow: SlowStage, kind: str) -> None:
    from notifications.submission import send_many

    rows = ({"recipient": slow.recipient(kind, n)} for n in range(BACKLOG))
    send_many(rows, channel=CHANNELS[kind], priority="low", subject="S", body="B")


def _left() -> int:
    from notifications.models import UNFINISHED, Notification

    return Notification.objects.filter(priority="low", status__in=UNFINISHED).count()


def p99(slow: SlowStage, kind: str, priority: str) -> float:
    """Return the seconds from the acceptance until the call, by the database's clock."""
    from notifications.db import clock
    from notifications.models import Attempt
    from notifications.tasks import send_notification

    accepted: dict[str, datetime] = {}
    for number in range(PROBES):
        recipient = slow.recipient(kind, 900_000 + number)
        fields: Any = {
            "channel": CHANNELS[kind],
            "recipient": recipient,
            "subject": "S",
            "body": "B",
        }
        at = clock.now()
        sent = send_notification.apply_async(kwargs=fields, priority=priority)
        accepted[sent.id] = at
        time.sleep(PAUSE)
    attempts = Attempt.objects.filter(notification_id__in=list(accepted))
    wait_until(lambda: attempts.count() == PROBES, timeout=120)
    found = [
        (started - accepted[str(id_)]).total_seconds()
        for id_, started in attempts.values_list("notification_id", "started_at")
        if started is not None
    ]
    return statistics.quantiles(found, n=100)[98]


def _benchmark(kind: str, milliseconds: int, priority: str) -> Benchmark:
    twice = "" if priority == "high" else "twice "
    return Benchmark(
        title=f"{priority} p99 behind 60,000 low, {kind}, {milliseconds} ms a call",
        floor_title=f"{twice}idle p99 + one call + 50 ms",
        unit=" ms",
        prepare=partial(prepare, kind, milliseconds, priority),
        target="<= 1 x",
        warm_ups=0,  # prepare has done it
    )


URGENCY = {
    f"{priority}_behind_{kind}_{milliseconds}": _benchmark(kind, milliseconds, priority)
    for kind in KINDS
    for milliseconds in PACES
    for priority in ("high", "medium")
}
