"""Turns noted changes into ``next_fire_at``: the only place that reads a schedule anew."""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter

from django_celery_beat.models import PeriodicTask

from scheduling import bulk, transactions
from scheduling.clock import database_now
from scheduling.models import Change, Schedule
from scheduling.recurrence import ImpossibleScheduleError
from scheduling.timetable import INSTANT, Timetable, rule_text, timetable_of

logger = logging.getLogger(__name__)

BATCH = 200
STATE_FIELDS = (
    "next_fire_at",
    "answered_until",
    "rule",
    "paused_at",
    "quarantined_at",
    "quarantine_reason",
)
_state = attrgetter("periodic_task_id", *STATE_FIELDS)


def apply_changes(now: datetime, limit: int = BATCH) -> int:
    """Recompute the schedules of up to ``limit`` noted changes; give their number.

    Many schedulers may do so at once: each change is taken by one of them.
    """
    with transactions.brief():
        changes = list(Change.objects.select_for_update(skip_locked=True).order_by("pk")[:limit])
        changed_at = {change.periodic_task_id: change.changed_at for change in changes}
        schedules = _locked_schedules(changed_at)
        # Read the tasks only now: a lock was waited for, and they may have changed meanwhile.
        for schedule, task in _with_tasks(schedules):
            schedule.periodic_task = task
            refresh(schedule, changed_at[task.pk], now)
        save_state(schedules)
        Change.objects.filter(pk__in=[change.pk for change in changes]).delete()
    return len(changes)


def refresh(schedule: Schedule, changed_at: datetime, now: datetime) -> None:
    """Compute a schedule's state from its task, as of a change at ``changed_at``. Saves nothing."""
    task = schedule.periodic_task
    schedule.quarantined_at, schedule.quarantine_reason = None, ""
    if not task.enabled:
        schedule.paused_at = schedule.paused_at or changed_at
        schedule.next_fire_at = None
        return
    try:
        count_from(schedule, changed_at)
        schedule.paused_at = None
        plan_next(schedule, now)
    except Exception as error:  # noqa: BLE001 - the boundary: one broken row stops no other
        quarantine(schedule, error, now)


def plan_next(schedule: Schedule, now: datetime) -> None:
    """Set ``next_fire_at`` from ``answered_until``.

    Raises ``ImpossibleScheduleError`` if the rule is broken or will never be due.
    """
    timetable = timetable_for(schedule)
    answered_until = schedule.answered_until
    assert answered_until is not None  # noqa: S101 - set by count_from before
    due = timetable.after(answered_until)
    if due is not None:
        schedule.next_fire_at = timetable.fire_time(due)
    elif timetable.expires is not None and timetable.expires >= now:
        # Look again when it has expired, to disable the task then and not before.
        schedule.next_fire_at = timetable.expires + INSTANT
    elif timetable.is_over(now) or schedule.periodic_task.clocked_id:
        schedule.next_fire_at = None
    else:
        raise ImpossibleScheduleError("It will never be due.")


def timetable_for(schedule: Schedule) -> Timetable:
    """Read the timetable of a schedule with its policy's jitter."""
    assert schedule.answered_until is not None  # noqa: S101 - set by count_from before
    return timetable_of(
        schedule.periodic_task,
        origin=schedule.answered_until,
        jitter_seconds=schedule.jitter_seconds,
    )


def quarantine(schedule: Schedule, error: Exception, now: datetime) -> None:
    """Set a schedule aside with its reason until it is changed. Saves nothing."""
    schedule.next_fire_at = None
    schedule.quarantined_at = now
    schedule.quarantine_reason = str(error) or type(error).__name__
    if not isinstance(error, ImpossibleScheduleError):
        schedule.quarantine_reason = f"{type(error).__name__}: {error}"
    logger.error("Schedule %s is quarantined: %s", schedule.pk, schedule.quarantine_reason)


def set_aside(schedule: Schedule, error: Exception) -> None:
    """Quarantine a schedule that another scheduler may be moving on at this moment."""
    quarantine(schedule, error, database_now())
    Schedule.objects.filter(pk=schedule.pk).update(
        next_fire_at=None,
        quarantined_at=schedule.quarantined_at,
        quarantine_reason=schedule.quarantine_reason,
    )


def save_state(schedules: Iterable[Schedule]) -> None:
    """Save what the schedulers own of these rows, and nothing of a person's policy."""
    bulk.update(Schedule, STATE_FIELDS, [_state(schedule) for schedule in schedules])


def count_from(schedule: Schedule, changed_at: datetime) -> None:
    """Set ``answered_until``: from where the next due time is counted. Saves nothing."""
    task = schedule.periodic_task
    rule = rule_text(task)
    before, was = schedule.answered_until, schedule.rule
    schedule.rule = rule
    if task.clocked_id:
        # Due even if it is past already; the ledger knows whether it has fired.
        clocked_time: datetime = task.clocked.clocked_time
        if before != clocked_time:
            schedule.answered_until = clocked_time - INSTANT
    elif schedule.paused_at is not None:
        if before is None or not schedule.catch_up_on_resume:
            schedule.answered_until = changed_at
    elif before is None:
        schedule.answered_until = task.last_run_at or min(task.date_changed, changed_at)
    elif rule != was:
        schedule.answered_until = _start_of_new_rule(task, before, changed_at)


def _start_of_new_rule(task: PeriodicTask, before: datetime, changed_at: datetime) -> datetime:
    """A changed rule counts from its change; an interval keeps time with its last due time."""
    if not task.interval_id or before > changed_at:
        return changed_at
    period: timedelta = task.interval.schedule.run_every
    if period <= timedelta(0):
        return changed_at  # refused by plan_next
    return before + (changed_at - before) // period * period


def _locked_schedules(task_ids: Iterable[int]) -> Sequence[Schedule]:
    """Lock the schedules of these tasks, in one order so that no two wait for each other."""
    ids = sorted(PeriodicTask.objects.filter(pk__in=task_ids).values_list("pk", flat=True))
    Schedule.objects.bulk_create([Schedule(pk=pk) for pk in ids], ignore_conflicts=True)
    return list(Schedule.objects.select_for_update().filter(pk__in=ids).order_by("pk"))


def _with_tasks(schedules: Sequence[Schedule]) -> Iterable[tuple[Schedule, PeriodicTask]]:
    tasks = PeriodicTask.objects.select_related("interval", "crontab", "solar", "clocked").in_bulk(
        [schedule.pk for schedule in schedules]
    )
    return [(schedule, tasks[schedule.pk]) for schedule in schedules if schedule.pk in tasks]
