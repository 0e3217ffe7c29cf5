"""What happened in each of the last minutes, by channel and priority.

A minute that is over is counted once per process and remembered; the others are counted again when
``FRESH`` has passed. So a look costs what happened in a minute, not what there is, and many open
browsers cost as much as one.
"""

import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count

from notifications.db import clock
from notifications.models import Notification, Status

MINUTES = 30
SETTLED_AFTER = timedelta(minutes=2)  # a receipt or a slow commit may still change a minute
GOOD = (Status.SENT, Status.DELIVERED)

Queue = tuple[str, str]


@dataclass(slots=True)
class Minute:
    """Counts by (channel, priority) in the minute that begins at ``start``."""

    start: datetime
    accepted: dict[Queue, int] = field(default_factory=dict)
    sent: dict[Queue, int] = field(default_factory=dict)
    failed: dict[Queue, int] = field(default_factory=dict)


FRESH = 3.0  # seconds for which the count of a minute that is not settled is believed

_settled: dict[datetime, Minute] = {}
_counted: dict[datetime, tuple[float, Minute]] = {}  # the others, and when each was counted
_lock = threading.Lock()


def last(minutes: int = MINUTES) -> list[Minute]:
    """Return the last so many minutes, the oldest first; the newest is not over."""
    now = clock.now()
    this = now.replace(second=0, microsecond=0)
    starts = [this - timedelta(minutes=back) for back in reversed(range(minutes))]
    with _lock:
        for start in [start for start in _settled if start < starts[0]]:
            del _settled[start]
        at = time.monotonic()
        recent = {start: m for start, (when, m) in _counted.items() if at - when < FRESH}
        known = recent | _settled
    found = [known.get(start) or _count(start) for start in starts]
    with _lock:
        _settled.update({m.start: m for m in found if now - m.start > SETTLED_AFTER})
        fresh = {m.start: (at, m) for m in found if m.start not in known}
        for start in [start for start in _counted if start not in recent]:
            del _counted[start]
        _counted.update(fresh)
    return found


def forget() -> None:
    """Count every minute anew."""
    with _lock:
        _settled.clear()
        _counted.clear()


def _count(start: datetime) -> Minute:
    end = start + timedelta(minutes=1)
    minute = Minute(start)
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
