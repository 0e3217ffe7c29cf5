"""What a clock that was ahead has planned, counted anew once it is right again.

A due time is identified by its schedule's rule, for an interval with its phase, and fires once:
whatever the clock showed meanwhile. When the database's clock is set back, each schedule goes on
from the due time that was answered last before, in the same phase. What fired too early stands in
the ledger, and does not fire again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django_celery_beat.models import PeriodicTask

from scheduling import ledger, retries, transactions, waits
from scheduling.models import (
    Change,
    Fire,
    FireStatus,
    Schedule,
    SchedulerProcess,
    WorkerProcess,
)
from scheduling.recurrence import ImpossibleSchedule, Interval
from scheduling.schedule_rows import timetable_of
from scheduling.timetable import INSTANT

TOLERANCE = timedelta(seconds=5)
"""A clock that is corrected by less is not noticed: what it planned is due soon anyway."""
BATCH = 500


def recount(now: datetime) -> int:
    """Have a batch of schedules counted anew that were planned after ``now``; return how many."""
    limit = now + TOLERANCE
    with transactions.brief():
        _look_again(now)
        _enable_again(now, limit)
        for seen in (SchedulerProcess.objects.all(), WorkerProcess.objects.all()):
            seen.filter(seen_at__gt=limit).update(seen_at=now)
        noted = Change.objects.filter(periodic_task_id=OuterRef("pk"))
        # One that fires once stands at its own moment, which may well be to come.
        ahead = Schedule.objects.filter(
            ~Exists(noted),
            answered_until__gt=limit,
            periodic_task__clocked=None,
            quarantined_at=None,
        )
        pks = list(ahead.values_list("pk", flat=True)[:BATCH])
        Change.objects.bulk_create(Change(periodic_task_id=pk, changed_at=now) for pk in pks)
    return len(pks)


def answered(schedules: Iterable[Schedule], now: datetime) -> Mapping[int, datetime]:
    """Return, of the schedules that are ahead of ``now``, until when each has been answered.

    That is where it stood before it answered the first of the due times that are still to come,
    and not before the last one that the ledger has.
    """
    limit = now + TOLERANCE
    ahead = [
        schedule.pk
        for schedule in schedules
        if schedule.answered_until is not None
        and schedule.answered_until > limit
        and not schedule.periodic_task.clocked_id
    ]
    if not ahead:
        return {}
    fires = Fire.objects.filter(schedule=OuterRef("pk"), by_hand=False)
    last = fires.filter(scheduled_for__lte=now).order_by("-scheduled_for").values("scheduled_for")
    early = fires.filter(scheduled_for__gt=now)
    early = early.annotate(since=Coalesce("missed_since", "scheduled_for")).order_by("since")
    rows = Schedule.objects.filter(pk__in=ahead).annotate(
        last=Subquery(last[:1]), early=Subquery(early.values("since")[:1])
    )
    leftovers = {}
    for pk, past, to_come in rows.values_list("pk", "last", "early"):
        before = now if to_come is None else min(now, to_come - INSTANT)
        leftovers[pk] = before if past is None else max(before, past)
    return leftovers


def in_phase(schedule: Schedule, moment: datetime) -> datetime:
    """Return from where a schedule that has answered until ``moment`` goes on: in its phase."""
    task = schedule.periodic_task
    if not task.interval_id or task.start_time or schedule.answered_until is None:
        return moment  # its due times do not hang on what was answered
    try:
        rule = timetable_of(task, origin=schedule.answered_until).rule
    except ImpossibleSchedule:
        return moment  # refused as it is planned
    return rule.last(moment) if isinstance(rule, Interval) else moment


def fired_early(since: Mapping[int, datetime]) -> dict[int, set[datetime]]:
    """Return, by schedule, some of the due times after ``since`` that have fired already."""
    by_moment: dict[datetime, list[int]] = defaultdict(list)
    for schedule_id, moment in since.items():
        by_moment[moment].append(schedule_id)
    wanted = Q(pk__in=())
    for moment, keys in by_moment.items():
        wanted |= Q(schedule__in=keys, scheduled_for__gt=moment)
    fires = Fire.objects.filter(wanted, by_hand=False).order_by("scheduled_for")
    found: dict[int, set[datetime]] = defaultdict(set)
    for key, due in fires.values_list("schedule_id", "scheduled_for")[: BATCH * max(len(since), 1)]:
        found[key].add(due)
    return found


def _look_again(now: datetime) -> None:
    """Look in time at unfinished fires that were to be looked at in that future."""
    unfinished = Fire.objects.filter(due_at__gt=now + TOLERANCE)
    never_begun = unfinished.filter(attempt=0)
    for fires, wait in (
        (unfinished.filter(status=FireStatus.RUNNING), waits.SECOND_LOOK),
        (unfinished.filter(status=FireStatus.WAITING), timedelta(0)),
        (never_begun.filter(status=FireStatus.CLAIMED), waits.LONGEST_UNKNOWN_BACKOFF),
    ):
        fires.filter(due_at__gt=now + wait + TOLERANCE).update(due_at=now + wait)
    _expect_workers_in_time(unfinished.filter(status=FireStatus.DISPATCHED), now)
    _retry_in_time(unfinished.filter(status=FireStatus.CLAIMED, attempt__gt=0), now)


def _expect_workers_in_time(published: QuerySet[Fire], now: datetime) -> None:
    """Have published fires be taken for lost after the wait that each has, and no later."""
    # The message of a task's own retry may have any delay.
    known = published.filter(Q(attempt=0) | Q(started_at__gt=now + TOLERANCE))
    for publishes, attempt in set(known.values_list("publishes", "attempt")):
        wait = waits.unstarted_wait(publishes - 1, attempt)
        late = known.filter(publishes=publishes, attempt=attempt)
        late.filter(due_at__gt=now + wait + TOLERANCE).update(due_at=now + wait)


def _retry_in_time(failed: QuerySet[Fire], now: datetime) -> None:
    """Have failed runs tried again after their backoff, and no later."""
    for fire in failed.select_related("schedule").defer(*ledger.UNREAD)[:BATCH]:
        schedule = fire.schedule
        wait = retries.longest_wait(schedule.retry, schedule.retry_backoff_seconds, fire.attempt)
        late = Fire.objects.filter(pk=fire.pk, status=FireStatus.CLAIMED)
        late.filter(due_at__gt=now + wait + TOLERANCE).update(due_at=now + wait)


def _enable_again(now: datetime, limit: datetime) -> None:
    """Enable the schedules that were disabled as expired, and whose expiry is still to come."""
    too_early = Schedule.objects.filter(
        paused_at__gt=limit,
        paused_at__gte=F("periodic_task__expires"),
        periodic_task__expires__gt=now,
        periodic_task__enabled=False,
    )
    pks = list(too_early.values_list("pk", flat=True)[:BATCH])
    # It was never paused: its phase goes on.
    Schedule.objects.filter(pk__in=pks).update(paused_at=None)
    PeriodicTask.objects.filter(pk__in=pks).update(enabled=True)
