"""The one writer of what becomes of a fire after it was claimed.

Each verb is a conditional update: what it does not find in the state it expects has been moved on
by somebody else, and is left alone.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from scheduling import policies, streaks, waits
from scheduling.clock import database_now
from scheduling.models import Fire, FireStatus, Guarantee, Overlap, Schedule
from scheduling.run_errors import ERROR_LENGTH, cause_of, history_with, retry_wait, text_of
from scheduling.terms import FAILURES, SUCCESSES

NOT_STARTED = (FireStatus.CLAIMED, FireStatus.DISPATCHED)
READ = {"periodic_task", "guarantee", "max_retries", "retry_backoff_seconds", "retry"}
UNREAD = tuple(
    f"schedule__{field.name}" for field in Schedule._meta.concrete_fields if field.name not in READ
)
"""Columns that the end of a run can do without: one that cannot be read must not keep it."""


def mark_dispatched(fires: Iterable[Fire]) -> int:
    """Record that claimed fires are published; return the number of those that were still claimed.

    One whose worker was quicker keeps the worker's status. One that failed meanwhile is claimed
    for its next attempt, and keeps its delay.
    """
    now = database_now()
    by_wait: dict[timedelta, list[Fire]] = defaultdict(list)
    for fire in fires:
        by_wait[waits.unstarted_wait(fire.publishes, fire.attempt)].append(fire)
    return sum(
        Fire.objects.filter(_as_read(alike), status=FireStatus.CLAIMED).update(
            status=FireStatus.DISPATCHED,
            dispatched_at=Coalesce(F("dispatched_at"), now),
            publishes=F("publishes") + 1,
            due_at=now + wait,
        )
        for wait, alike in by_wait.items()
    )


def postpone(fires: Iterable[Fire], error: BaseException) -> None:
    """Leave unpublished fires claimed, to be tried again soon.

    One that was marked before its publish, for "at most once", is lost: it may be on its way.
    """
    now = database_now()
    why = text_of(error)
    rows = Fire.objects.filter(_as_read(fires))
    rows.filter(status=FireStatus.CLAIMED).update(due_at=now + waits.BROKER_BACKOFF, error=why)
    marked = rows.filter(_of_policy(guarantee=Guarantee.AT_MOST_ONCE), status=FireStatus.DISPATCHED)
    _end(marked, FireStatus.LOST, error=why)


def finish(
    fires: Iterable[Fire], status: FireStatus, *, dispatched: bool = False, error: str = ""
) -> None:
    """End fires that are not followed any further."""
    values: dict[str, Any] = {"error": error}
    if dispatched:
        values["dispatched_at"] = Coalesce(F("dispatched_at"), database_now())
        values["publishes"] = F("publishes") + 1
    rows = Fire.objects.filter(_as_read(fires), status__in=NOT_STARTED)
    _end(rows, status, **values)


def refuse(pk: UUID, error: str) -> None:
    """End a fire that can be neither read nor published. Reads nothing of its row."""
    rows = Fire.objects.filter(pk=pk, finished_at=None)
    _end(rows, FireStatus.FAILED, error=error[:ERROR_LENGTH])


def begin(pk: UUID, worker: str, now: datetime | None = None) -> int | None:
    """Take a fire for a run on ``worker``; return the run's number, from 1.

    ``None`` means that this message must not run: the fire is running, done, or lost. Who may
    have to ``withdraw`` it gives the database's time.
    """
    now = now or database_now()
    orphaned = Q(
        ~Q(due_at=F("heartbeat_at") + waits.HEARTBEAT_LIMIT),  # see ``waits.is_suspected``
        status=FireStatus.RUNNING,
        due_at__lte=now,
    )
    # What was given up and has never begun may run when its message comes late. Where runs must
    # not overlap, the next one may have begun in its place.
    unknown = Q(status=FireStatus.HANDED_OVER)
    late = Q(_of_policy(overlap=Overlap.ALLOW), status=FireStatus.LOST, resolved_at=None)
    given_up = Q(unknown | late, attempt=0)
    repeatable = orphaned & Q(_of_policy(guarantee=Guarantee.AT_LEAST_ONCE))
    startable = Fire.objects.filter(Q(status__in=NOT_STARTED) | repeatable | given_up, pk=pk)
    is_taken = startable.update(
        status=FireStatus.RUNNING,
        finished_at=None,
        attempt=F("attempt") + 1,
        dispatched_at=Coalesce(F("dispatched_at"), now),
        started_at=now,
        heartbeat_at=now,
        due_at=now + waits.HEARTBEAT_LIMIT,
        worker=worker[:200],
        error="",
        cause="",
    )
    if not is_taken:
        return None
    attempt: int = Fire.objects.values_list("attempt", flat=True).get(pk=pk)
    return attempt


def withdraw(pk: UUID, worker: str, begun_at: datetime) -> None:
    """Undo a ``begin`` at ``begun_at`` of which no answer came: nothing has run."""
    taken = Fire.objects.filter(pk=pk, status=FireStatus.RUNNING)
    taken.filter(worker=worker[:200], started_at=begun_at, heartbeat_at=begun_at).update(
        status=FireStatus.CLAIMED,
        attempt=F("attempt") - 1,
        started_at=None,
        heartbeat_at=None,
        due_at=database_now(),
    )


def beat(runs: Iterable[tuple[UUID, int]]) -> None:
    """Tell that runs are alive, each by its fire and its number."""
    now = database_now()
    by_attempt: dict[int, list[UUID]] = defaultdict(list)
    for pk, attempt in runs:
        by_attempt[attempt].append(pk)
    for attempt, pks in by_attempt.items():
        Fire.objects.filter(pk__in=pks, attempt=attempt, status=FireStatus.RUNNING).update(
            heartbeat_at=now, due_at=now + waits.HEARTBEAT_LIMIT
        )


def succeed(pk: UUID, attempt: int) -> None:
    """Record a run that ended well."""
    _end(_run(pk, attempt), FireStatus.SUCCEEDED)


def fail(pk: UUID, attempt: int, error: BaseException) -> None:
    """Record a run that failed: another attempt after its backoff, or the end."""
    fire = _read(_run(pk, attempt))
    if fire is not None:
        delay, why = _retry_delay(fire, error)
        _end_attempt(fire, why, FireStatus.FAILED, again_after=delay)


def orphan(pk: UUID, attempt: int, error: BaseException) -> None:
    """Record a run whose process died: run again at once, or the end, by its guarantee."""
    fire = _read(_run(pk, attempt))
    if fire is not None:
        again = policies.runs_again(fire.schedule.guarantee, fire.attempt)
        after = timedelta() if again else None
        _end_attempt(fire, text_of(error), FireStatus.LOST, again_after=after)


def attempt_on(pk: UUID, worker: str) -> int | None:
    """Return the number of the run that is on ``worker`` at present."""
    return _running_on(pk, worker).values_list("attempt", flat=True).first()


def leave(pk: UUID, attempt: int) -> None:
    """Record a run that ended by ``Ignore``, as one does that was replaced by other tasks."""
    why = "The task ended by Ignore, or was replaced: its outcome is not followed."
    _end(_run(pk, attempt), FireStatus.HANDED_OVER, error=why)


def interrupt(pk: UUID, worker: str) -> None:
    """Record a run that the shutdown of ``worker`` has ended: due at once, or lost, by guarantee.

    Unlike a crash it counts for nothing: however often workers are replaced, it runs again.
    """
    run = _read(_running_on(pk, worker))
    if run is None:
        return
    why = f"The worker {worker} was stopped before this run had ended"
    if run.schedule.guarantee == Guarantee.AT_LEAST_ONCE:
        _end_attempt(run, f"{why}; it runs again.", FireStatus.LOST, again_after=timedelta())
    else:
        _end_attempt(run, f"{why}; it may run at most once.", FireStatus.LOST, again_after=None)


def return_to_queue(pk: UUID, attempt: int, wait: timedelta = timedelta(0)) -> None:
    """Record that the task itself asked to run again: its message is on the way, after ``wait``."""
    _run(pk, attempt).update(
        status=FireStatus.DISPATCHED, due_at=database_now() + wait + waits.UNSTARTED_WAIT
    )


def give_back(pk: UUID) -> None:
    """Record that a worker took a fire's first message and could not begin the run."""
    _publish_again(Fire.objects.filter(pk=pk, attempt=0), waits.BROKER_BACKOFF)


def not_known(pk: UUID, error: str) -> None:
    """Record that a worker does not know the task: another one may, for a while."""
    fire = Fire.objects.filter(pk=pk, status__in=NOT_STARTED)
    for publishes in fire.values_list("publishes", flat=True):
        if publishes < waits.UNKNOWN_TRIES:
            _publish_again(fire, waits.UNKNOWN_BACKOFF * 2**publishes, error)
        else:
            _end(fire, FireStatus.FAILED, error=error)


def _publish_again(fire: QuerySet[Fire], delay: timedelta, error: str = "") -> None:
    """Claim a fire anew whose message is spent. The worker may be quicker than the scheduler.

    A scheduler that has still to record its publish finds it counted already.
    """
    values = {"due_at": database_now() + delay, "error": error}
    if not fire.filter(status=FireStatus.DISPATCHED).update(status=FireStatus.CLAIMED, **values):
        fire.filter(status=FireStatus.CLAIMED).update(publishes=F("publishes") + 1, **values)


def cancel(pk: UUID, error: str) -> None:
    """End a fire that no worker has begun, and that shall not run."""
    _end(Fire.objects.filter(pk=pk, status__in=NOT_STARTED), FireStatus.CANCELLED, error=error)


def cancel_due_until(moment: datetime, error: str) -> int:
    """End all fires that were due until a moment and have not ended; return how many."""
    unfinished = Fire.objects.filter(finished_at=None, scheduled_for__lte=moment)
    keys = list(unfinished.values_list("pk", flat=True))
    _end(unfinished, FireStatus.CANCELLED, error=error)
    return len(keys)


def cancel_run(pk: UUID, worker: str, error: str) -> None:
    """End a fire whose run on ``worker`` was told to stop."""
    _end(_running_on(pk, worker), FireStatus.CANCELLED, error=error)


def expire(pk: UUID) -> None:
    """End a fire whose message nobody took in time, or that of its own retry."""
    rows = Fire.objects.filter(pk=pk, status__in=NOT_STARTED)
    _end(rows.filter(attempt=0), FireStatus.SKIPPED_EXPIRED, error="")
    _end(rows, FireStatus.FAILED, error="Nobody took its retry before the message expired.")


def _of_policy(**policy: str) -> Exists:
    """Find fires of schedules with a policy, without a join.

    For a join an update would find its rows by a subquery, which Postgres does not ask again when
    it has waited for another update of the row: two workers would begin one fire.
    """
    return Exists(Schedule.objects.filter(pk=OuterRef("schedule_id"), **policy))


def _as_read(fires: Iterable[Fire]) -> Q:
    """Find fires that no worker has begun, or given back, since they were read."""
    by_state: dict[tuple[int, int], list[UUID]] = defaultdict(list)
    for fire in fires:
        by_state[fire.attempt, fire.publishes].append(fire.pk)
    condition = Q(pk__in=())
    for (attempt, publishes), pks in by_state.items():
        condition |= Q(pk__in=pks, attempt=attempt, publishes=publishes)
    return condition


def _run(pk: UUID, attempt: int) -> QuerySet[Fire]:
    """Find a run. One that was given up as orphaned still counts, until another has begun."""
    return Fire.objects.filter(pk=pk, attempt=attempt, finished_at=None)


def _running_on(pk: UUID, worker: str) -> QuerySet[Fire]:
    return Fire.objects.filter(pk=pk, status=FireStatus.RUNNING, worker=worker[:200])


def _read(run: QuerySet[Fire]) -> Fire | None:
    """Read a run with its policy, and nothing of its schedule that it can do without."""
    return run.select_related("schedule").defer(*UNREAD).first()


def _retry_delay(fire: Fire, error: BaseException) -> tuple[timedelta | None, str]:
    """Return the wait before the next run, ``None`` for no more, and what the error is kept as."""
    schedule = fire.schedule
    if schedule.guarantee == Guarantee.AT_MOST_ONCE:
        return None, text_of(error)
    return retry_wait(
        fire,
        error,
        retries=schedule.max_retries,
        backoff=schedule.retry_backoff_seconds,
        policy=schedule.retry,
        now=database_now(),
    )


def _end_attempt(
    fire: Fire, error: str, otherwise: FireStatus, *, again_after: timedelta | None
) -> None:
    """End one attempt of a run by ``error``: another follows, or the fire ends ``otherwise``."""
    now = database_now()
    run = _run(fire.pk, fire.attempt)
    values = {"error": error, "history": history_with(fire, error, now)}
    if again_after is None:
        _end(run, otherwise, **values)
    else:
        run.update(status=FireStatus.CLAIMED, due_at=now + again_after, **values)


def _end(rows: QuerySet[Fire], status: FireStatus, **values: Any) -> None:
    """End fires, and let those go that waited for them."""
    ended = list(
        rows.values_list(
            *("schedule_id", "schedule__concurrency_key"),
            *("schedule__failed_in_a_row", "schedule__skipped_in_a_row"),
        ).distinct()
    )
    schedules = {schedule for schedule, *_ in ended}
    keys = {key for _, key, *_ in ended if key}
    if status in FAILURES:
        values["cause"] = cause_of(values.get("error", ""))
    now = database_now()
    if schedules and rows.update(status=status, finished_at=now, due_at=None, **values):
        Fire.objects.filter(schedule__in=schedules, status=FireStatus.WAITING).update(due_at=now)
        if keys:
            waiting = Fire.objects.filter(status=FireStatus.WAITING, finished_at=None)
            waiting.filter(schedule__concurrency_key__in=keys).update(due_at=now)
        has_streak = any(failed or skipped for *_, failed, skipped in ended)
        if has_streak or status not in SUCCESSES:
            streaks.count(schedules, status)
