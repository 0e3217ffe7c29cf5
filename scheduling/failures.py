"""Failed runs: fires that failed for good or are lost, until somebody replays or discards them.

Each keeps the history of its attempts, and a *cause* that is the same for errors that differ only
in ids and numbers, whichever job they are of.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Max, Min, QuerySet

from scheduling.clock import database_now
from scheduling.models import Fire, FireStatus, Misfire, Schedule
from scheduling.run_errors import NotOpen

MOST_CAUSES = 50
REPLAY_BATCH = 1000
"""Failed runs that one call replays at most."""
RESOLUTION_LENGTH = 255


@dataclass(frozen=True)
class Cause:
    """The open failed runs of one cause; ``example`` is the newest of them."""

    cause: str
    count: int
    schedules: int
    first_at: datetime
    last_at: datetime
    example: Fire


def open_ones(cause: str = "", namespace: str | None = None) -> QuerySet[Fire]:
    """Return the failed runs that nobody has seen to, of a cause or all, newest first.

    ``namespace`` narrows them to its schedules.
    """
    fires = Fire.objects.filter(resolved_at=None).exclude(cause="")
    if namespace is not None:
        fires = fires.filter(schedule__namespace=namespace)
    return fires.filter(cause=cause) if cause else fires


def causes(limit: int = MOST_CAUSES, namespace: str | None = None) -> list[Cause]:
    """Group the open failed runs by cause, the biggest first."""
    groups = list(
        open_ones(namespace=namespace)
        .order_by()
        .values("cause")
        .annotate(
            count=Count("pk"),
            schedules=Count("schedule_id", distinct=True),
            first=Min("finished_at"),
            last=Max("finished_at"),
        )
        .order_by("-count", "cause")[:limit]
    )
    return [
        Cause(
            cause=group["cause"],
            count=group["count"],
            schedules=group["schedules"],
            first_at=group["first"],
            last_at=group["last"],
            example=_newest(group["cause"], namespace),
        )
        for group in groups
    ]


def _newest(cause: str, namespace: str | None) -> Fire:
    fires = open_ones(cause, namespace).select_related("schedule__periodic_task")
    return fires.order_by("-finished_at")[0]


def replay(pk: UUID) -> Fire:
    """Run a failed fire's job again, as its schedule stands now; return the new fire.

    Raises ``NotOpen``.
    """
    replayed = _replay(open_ones().filter(pk=pk))
    if not replayed:
        raise NotOpen
    return replayed[0]


def replay_cause(cause: str, namespace: str | None = None) -> list[Fire]:
    """Replay the failed runs of one cause, ``REPLAY_BATCH`` at most; return the new fires.

    A schedule's misfire policy decides how many runs stand for those that failed: each of them up
    to its cap with ``all``, else one.
    """
    return _replay(open_ones(cause, namespace))


def discard(fires: QuerySet[Fire], *, why: str) -> int:
    """Close failed runs for good, with the reason; return how many were open."""
    return (fires & open_ones()).update(
        resolved_at=database_now(), resolution=why[:RESOLUTION_LENGTH]
    )


def _replay(fires: QuerySet[Fire]) -> list[Fire]:
    """Make the fires that stand for failed ones, for a scheduler to publish; close the failed."""
    with transaction.atomic():
        failed = list(
            fires.select_for_update(of=("self",), skip_locked=True)
            .select_related("schedule")
            .order_by("-finished_at")[:REPLAY_BATCH]
        )
        now = database_now()
        made: dict[int, list[Fire]] = {}
        for number, fire in enumerate(failed):
            replays = made.setdefault(fire.schedule_id, [])
            if len(replays) < _most(fire.schedule):
                replays.append(_again(fire, now + timedelta(microseconds=number), now))
            fire.resolved_at, fire.resolution = now, "replayed"
            fire.replayed_as = replays[-1].pk
        new = [fire for replays in made.values() for fire in replays]
        Fire.objects.bulk_create(new)
        Fire.objects.bulk_update(failed, ("resolved_at", "resolution", "replayed_as"))
    return new


def _most(schedule: Schedule) -> int:
    return schedule.misfire_cap if schedule.misfire == Misfire.ALL else 1


def _again(fire: Fire, scheduled_for: datetime, now: datetime) -> Fire:
    return Fire(
        schedule_id=fire.schedule_id,
        scheduled_for=scheduled_for,
        fire_at=now,
        due_at=now,
        status=FireStatus.CLAIMED,
        by_hand=True,
        call=fire.call,
    )
