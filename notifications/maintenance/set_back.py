"""What a clock that was ahead has planned, put right when it is set back.

The database's clock is set back when somebody corrects it, or when a standby with another clock is
promoted. What was planned meanwhile would wait for the difference: claims of dead workers, retries,
what waits for a limit or an account, and what was accepted with a countdown. What a caller asked
for at a time keeps it.
"""

from collections import defaultdict
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import F

from notifications.core.conf import conf
from notifications.core.reasons import DEFERRED
from notifications.db import clock
from notifications.models import Attempt, Notification, Status
from notifications.transitions import claimed, waiting

AT_A_TIME = 1000  # rows
COUNTED_IN = timedelta(milliseconds=10)
"""A countdown is a multiple of this; a named time is hardly ever that far from its acceptance."""

_seen = 0


def look() -> int:
    """Put plans right if the clock was set back since the last look; return how many were.

    Does no harm when several schedulers do it at once, or again.
    """
    global _seen  # noqa: PLW0603 -- what this process has seen to
    now, times = clock.now(), clock.times_set_back
    if times == _seen:
        return 0
    changed = _shorten_leases(now) + _count_retries_anew(now) + _have_others_ask_again(now)
    changed += _begin_countdowns_now(now)
    _seen = times
    return changed


def _shorten_leases(now: datetime) -> int:
    """Have no claim last, and no message be on its way, for longer than it would from now on."""
    lease_until = now + timedelta(seconds=conf.lease)
    pickup_until = now + timedelta(seconds=conf.pickup_grace)
    queued = Notification.objects.filter(
        status=Status.QUEUED, due_at__gt=pickup_until + clock.SET_BACK
    )
    changed = claimed.shorten_leases(lease_until, beyond=lease_until + clock.SET_BACK)
    return changed + waiting.make_due(queued, pickup_until)


def _count_retries_anew(now: datetime) -> int:
    """Have a retry wait for as long as it was to, from now on."""
    ahead = Attempt.objects.filter(
        finished_at__gt=now + clock.SET_BACK,
        notification__status=Status.SCHEDULED,
        notification__due_at=F("retry_at"),
    )
    changed = 0
    for attempt in ahead.annotate(waits=F("retry_at") - F("finished_at")):
        row = Notification.objects.filter(
            id=attempt.notification_id, status=Status.SCHEDULED, due_at=attempt.retry_at
        )
        changed += waiting.make_due(row, now + attempt.waits)
    return changed


def _have_others_ask_again(now: datetime) -> int:
    """Have what waits for a limit, or for an account that rests, ask when it may go."""
    deferred = Notification.objects.filter(
        status=Status.SCHEDULED, due_at__gt=F("scheduled_at"), reason__in=DEFERRED
    )
    return waiting.make_due(deferred.filter(due_at__gt=now), now)


def _begin_countdowns_now(now: datetime) -> int:
    """Have a countdown, and an expiry that was given in seconds, begin now, not in the future.

    A row that was accepted in the future was accepted by the wrong clock. Once put right it is not
    found again.
    """
    ahead = Notification.objects.filter(
        status__in=(Status.SCHEDULED, Status.QUEUED),
        due_at__isnull=False,
        attempt_count=0,
        created_at__gt=now + clock.SET_BACK,
    ).order_by("id")
    changed = 0
    times = list(ahead.values_list("id", *_TIMES)[:AT_A_TIME])
    while times:
        counted: dict[tuple[str, ...], list[UUID]] = defaultdict(list)
        for id_, created_at, *later in times:
            ends = zip(_TIMES[1:], later, strict=True)
            counted[tuple(name for name, at in ends if _counts(created_at, at))].append(id_)
        for names, ids in counted.items():
            if names:
                changed += waiting.accept_anew(ahead.order_by().filter(id__in=ids), names, now)
        times = list(ahead.filter(id__gt=times[-1][0]).values_list("id", *_TIMES)[:AT_A_TIME])
    return changed


_TIMES = ("created_at", "scheduled_at", "due_at", "expires_at")


def _counts(since: datetime, until: datetime | None) -> bool:
    return until is not None and (until - since) % COUNTED_IN == timedelta()
