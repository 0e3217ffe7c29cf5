"""What happened in each of the last minutes or hours, by channel and priority.

Every scheduler counts the minutes that are settled into a table; whichever comes first. A look
reads them there, and counts only what is newer: once in ``FRESH`` seconds per process, so that
many open browsers cost as much as one. A minute that no scheduler counted is counted by the first
look at it, and remembered.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, Max, Sum
from django.db.models.functions import TruncHour

from notifications.core.conf import conf
from notifications.db import clock
from notifications.models import MinuteCount, Notification, Status

MINUTES = 30
SETTLED_AFTER = timedelta(minutes=2)  # a receipt or a slow commit may still change a minute
GOOD = (Status.SENT, Status.DELIVERED)
TICK = 60.0  # seconds between rounds
AT_ONCE = 60  # minutes that one round counts at most
LAST_HOUR = timedelta(hours=1)  # further back, nobody counts what schedulers have missed
MINUTE = timedelta(minutes=1)

Queue = tuple[str, str]


@dataclass(slots=True)
class Counts:
    """Counts by (channel, priority) in the minute, or hour, that begins at ``start``."""

    start: datetime
    accepted: dict[Queue, int] = field(default_factory=dict)
    sent: dict[Queue, int] = field(default_factory=dict)
    failed: dict[Queue, int] = field(default_factory=dict)

    def add(self, queue: Queue, accepted: int, sent: int, failed: int) -> None:
        """Add what happened in a queue."""
        for counts, count in ((self.accepted, accepted), (self.sent, sent), (self.failed, failed)):
            if count:
                counts[queue] = counts.get(queue, 0) + count

    def rows(self) -> Iterator[tuple[Queue, int, int, int]]:
        """Yield the queues in which something happened: accepted, sent and failed."""
        for queue in {*self.accepted, *self.sent, *self.failed}:
            counts = (self.accepted, self.sent, self.failed)
            accepted, sent, failed = (count.get(queue, 0) for count in counts)
            yield queue, accepted, sent, failed


FRESH = 3.0  # seconds for which the count of a minute that is not settled is believed

_settled: dict[datetime, Counts] = {}
_counted: dict[datetime, tuple[float, Counts]] = {}  # the others, and when each was counted
_lock = threading.Lock()


def last(minutes: int = MINUTES) -> list[Counts]:
    """Return the last so many minutes, the oldest first; the newest is not over."""
    now = clock.now()
    minute = now.replace(second=0, microsecond=0)
    starts = [minute - MINUTE * back for back in reversed(range(minutes))]
    with _lock:
        for start in [start for start in _settled if start < minute - LAST_HOUR]:
            del _settled[start]
        at = time.monotonic()
        recent = {start: m for start, (when, m) in _counted.items() if at - when < FRESH}
        known = recent | _settled
    if missing := [start for start in starts if start not in known and _is_over(start, now)]:
        known |= _counted_minutes(missing[0], missing[-1])
    counts = [known.get(start) or _count(start) for start in starts]
    with _lock:
        _settled.update({m.start: m for m in counts if _is_over(m.start, now)})
        fresh = {m.start: (at, m) for m in counts if m.start not in known}
        for start in [start for start in _counted if start not in recent]:
            del _counted[start]
        _counted.update(fresh)
    return counts


def last_hours(hours: int) -> list[Counts]:
    """Return the last so many hours, the oldest first; the newest is not over.

    They are what schedulers have counted, and the last ten minutes as ``last`` has them.
    """
    latest = clock.now().replace(minute=0, second=0, microsecond=0)
    found = {
        start: Counts(start)
        for start in (latest - timedelta(hours=back) for back in reversed(range(hours)))
    }
    newest = last(10)
    kept = MinuteCount.objects.filter(minute__gte=min(found), minute__lt=newest[0].start)
    sums = (Sum("accepted"), Sum("sent"), Sum("failed"))
    by_hour = kept.exclude(channel="").annotate(hour=TruncHour("minute", tzinfo=latest.tzinfo))
    for hour, channel, priority, *counts in by_hour.values_list(
        "hour", "channel", "priority"
    ).annotate(*sums):
        found[hour].add((channel, priority), *counts)
    for minute in newest:
        if hour := found.get(minute.start.replace(minute=0)):
            for row in minute.rows():
                hour.add(*row)
    return list(found.values())


def forget() -> None:
    """Count every minute anew."""
    with _lock:
        _settled.clear()
        _counted.clear()


def tick() -> float:
    """Keep the counts of the minutes that have settled since, and drop old ones; a ticker's."""
    now = clock.now()
    minute = now.replace(second=0, microsecond=0)
    newest = MinuteCount.objects.aggregate(newest=Max("minute"))["newest"]
    start = max(newest + MINUTE if newest else minute - LAST_HOUR, minute - LAST_HOUR)
    for _ in range(AT_ONCE):
        if not _is_over(start, now):
            break
        MinuteCount.objects.bulk_create(_rows(_count(start)), ignore_conflicts=True)
        start += MINUTE
    old = now - timedelta(days=conf.keep_minute_counts_days)
    MinuteCount.objects.filter(minute__lt=old).delete()
    return TICK


def _is_over(start: datetime, now: datetime) -> bool:
    return now - start > SETTLED_AFTER + MINUTE


def _rows(counts: Counts) -> Iterable[MinuteCount]:
    """Return the rows of a minute: one by itself, one for each queue with anything."""
    yield MinuteCount(minute=counts.start)
    for (channel, priority), accepted, sent, failed in counts.rows():
        yield MinuteCount(
            minute=counts.start,
            channel=channel,
            priority=priority,
            accepted=accepted,
            sent=sent,
            failed=failed,
        )


def _counted_minutes(first: datetime, newest: datetime) -> dict[datetime, Counts]:
    """Read the minutes that a scheduler has counted."""
    counts: dict[datetime, Counts] = {}
    for row in MinuteCount.objects.filter(minute__gte=first, minute__lte=newest):
        minute = counts.setdefault(row.minute, Counts(row.minute))
        minute.add((row.channel, row.priority), row.accepted, row.sent, row.failed)
    return counts


def _count(start: datetime) -> Counts:
    end = start + MINUTE
    minute = Counts(start)
    by_queue = Count("id")
    # Ids begin with their time (UUID 7), so the primary key finds those of a minute.
    accepted = Notification.objects.filter(id__gte=_first_id(start), id__lt=_first_id(end))
    rows = accepted.order_by().values_list("channel", "priority").annotate(by_queue)
    minute.accepted = {(channel, priority): count for channel, priority, count in rows}
    ended = Notification.objects.filter(finished_at__gte=start, finished_at__lt=end)
    grouped = ended.order_by().values_list("channel", "priority", "status").annotate(by_queue)
    for channel, priority, status, count in grouped:
        kind = minute.sent if status in GOOD else minute.failed if status == "failed" else {}
        kind[channel, priority] = kind.get((channel, priority), 0) + count
    return minute


def _first_id(moment: datetime) -> UUID:
    """Return the smallest UUID 7 of a millisecond (RFC 9562, 5.7)."""
    return UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62)
