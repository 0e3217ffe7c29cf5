"""The one writer of what becomes of a fire after it was claimed.

Each verb is a conditional update: what it does not find in the state it expects has been moved on
by somebody else, and is left alone.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce

from scheduling import policies
from scheduling.clock import database_now
from scheduling.models import Fire, FireStatus, Guarantee

UNSTARTED_WAIT = timedelta(minutes=10)
"""A published fire that no worker has started by then is published again, by its guarantee."""
HEARTBEAT_INTERVAL = timedelta(seconds=5)
HEARTBEAT_LIMIT = timedelta(seconds=20)
"""A run whose worker has not been heard for that long is an orphan."""
BROKER_REST = timedelta(seconds=1)
"""A fire that the broker or the task's own database refused is tried again after this long."""
ERROR_LENGTH = 2000

NOT_STARTED = (FireStatus.CLAIMED, FireStatus.DISPATCHED)


def mark_dispatched(fires: Iterable[Fire]) -> int:
    """Record that claimed fires are published; give the number of those that were still claimed.

    One whose worker was quicker keeps the worker's status. One that failed meanwhile is claimed
    for its next attempt, and keeps its delay.
    """
    now = database_now()
    by_attempt: dict[int, list[UUID]] = defaultdict(list)
    for fire in fires:
        by_attempt[fire.attempt].append(fire.pk)
    return sum(
        Fire.objects.filter(pk__in=pks, attempt=attempt, status=FireStatus.CLAIMED).update(
            status=FireStatus.DISPATCHED,
            dispatched_at=Coalesce(F("dispatched_at"), now),
            publishes=F("publishes") + 1,
            due_at=now + UNSTARTED_WAIT,
        )
        for attempt, pks in by_attempt.items()
    )


def postpone(fires: Iterable[Fire], error: Exception) -> None:
    """Leave unpublished fires claimed, to be tried again soon.

    One that was marked before its publish, for "at most once", is lost: it may be on its way.
    """
    now = database_now()
    rows = Fire.objects.filter(pk__in=[fire.pk for fire in fires])
    rows.filter(status=FireStatus.CLAIMED).update(due_at=now + BROKER_REST, error=_text(error))
    marked = rows.filter(status=FireStatus.DISPATCHED, schedule__guarantee=Guarantee.AT_MOST_ONCE)
    _end(marked, FireStatus.LOST, error=_text(error))


def finish(
    fires: Iterable[Fire], status: FireStatus, *, dispatched: bool = False, error: str = ""
) -> None:
    """End fires that are not followed any further."""
    values: dict[str, Any] = {"error": error}
    if dispatched:
        values["dispatched_at"] = Coalesce(F("dispatched_at"), database_now())
        values["publishes"] = F("publishes") + 1
    rows = Fire.objects.filter(pk__in=[fire.pk for fire in fires], status__in=NOT_STARTED)
    _end(rows, status, **values)


def begin(pk: UUID, worker: str) -> int | None:
    """Take a fire for a run on ``worker``; give the run's number, from 1.

    ``None`` means that this message must not run: the fire is running, done, or lost.
    """
    now = database_now()
    orphaned = Q(
        status=FireStatus.RUNNING,
        due_at__lte=now,
        schedule__guarantee=Guarantee.AT_LEAST_ONCE,
    )
    startable = Fire.objects.filter(Q(status__in=NOT_STARTED) | orphaned, pk=pk)
    is_taken = startable.update(
        status=FireStatus.RUNNING,
        attempt=F("attempt") + 1,
        dispatched_at=Coalesce(F("dispatched_at"), now),
        started_at=now,
        heartbeat_at=now,
        due_at=now + HEARTBEAT_LIMIT,
        worker=worker[:200],
        error="",
    )
    if not is_taken:
        return None
    attempt: int = Fire.objects.values_list("attempt", flat=True).get(pk=pk)
    return attempt


def beat(runs: Iterable[UUID]) -> None:
    """Tell that runs are alive."""
    now = database_now()
    Fire.objects.filter(pk__in=list(runs), status=FireStatus.RUNNING).update(
        heartbeat_at=now, due_at=now + HEARTBEAT_LIMIT
    )


def succeed(pk: UUID, attempt: int) -> None:
    """Record a run that ended well."""
    _end(_run(pk, attempt), FireStatus.SUCCEEDED)


def fail(pk: UUID, attempt: int | None, error: BaseException) -> None:
    """Record a run that failed: another attempt after its backoff, or the end.

    ``attempt`` is ``None`` where only the id is known, as when a worker's child was killed.
    """
    fire = _run(pk, attempt).select_related("schedule").first()
    if fire is None:
        return
    delay = _retry_delay(fire)
    if delay is None:
        _end(_run(pk, fire.attempt), FireStatus.FAILED, error=_text(error))
        return
    _run(pk, fire.attempt).update(
        status=FireStatus.CLAIMED, due_at=database_now() + delay, error=_text(error)
    )


def orphan(pk: UUID, error: BaseException) -> None:
    """Record a run whose worker died: run again at once, or the end, by its guarantee."""
    fire = _run(pk, None).select_related("schedule").first()
    if fire is None:
        return
    if policies.runs_again(fire.schedule.guarantee, fire.attempt):
        _run(pk, None).update(status=FireStatus.CLAIMED, due_at=database_now(), error=_text(error))
    else:
        _end(_run(pk, None), FireStatus.LOST, error=_text(error))


def return_to_queue(pk: UUID, attempt: int) -> None:
    """Record that the task itself asked Celery to retry it: its message is on the way again."""
    _run(pk, attempt).update(status=FireStatus.DISPATCHED, due_at=database_now() + UNSTARTED_WAIT)


def drop(pk: UUID, status: FireStatus, error: str = "") -> None:
    """End a fire that a worker refused to start, or was told to stop."""
    rows = Fire.objects.filter(pk=pk, status__in=(*NOT_STARTED, FireStatus.RUNNING))
    _end(rows, status, error=error)


def _run(pk: UUID, attempt: int | None) -> QuerySet[Fire]:
    """Find a run. One that was given up as orphaned still counts, until another has begun."""
    if attempt is None:
        return Fire.objects.filter(pk=pk, status=FireStatus.RUNNING)
    return Fire.objects.filter(pk=pk, attempt=attempt, finished_at=None)


def _retry_delay(fire: Fire) -> timedelta | None:
    schedule = fire.schedule
    if schedule.guarantee == Guarantee.AT_MOST_ONCE:
        return None
    return policies.retry_delay(
        fire.attempt,
        max_retries=schedule.max_retries,
        backoff=timedelta(seconds=schedule.retry_backoff_seconds),
    )


def _end(rows: QuerySet[Fire], status: FireStatus, **values: Any) -> None:
    """End fires, and let those go that waited for them."""
    schedules = set(rows.values_list("schedule_id", flat=True))
    now = database_now()
    if schedules and rows.update(status=status, finished_at=now, due_at=None, **values):
        Fire.objects.filter(schedule__in=schedules, status=FireStatus.WAITING).update(due_at=now)


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:ERROR_LENGTH]
