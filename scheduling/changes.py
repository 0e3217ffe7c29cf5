"""Turns noted changes into ``next_fire_at``: the only place that reads a schedule anew."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter

from django_celery_beat.models import PeriodicTask

from scheduling import bulk, future, planning, rules
from scheduling.models import Change, Schedule
from scheduling.passing_over import CHANGES
from scheduling.quarantine import isolated, mark, quarantine
from scheduling.recurrence import RuleEnded
from scheduling.schedule_rows import rule_text, timetable_of
from scheduling.timetable import INSTANT, Timetable

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
    """Recompute the schedules of up to ``limit`` noted changes; return their number.

    Many schedulers may do so at once: each change is taken by one of them.
    """

    def take(among: Sequence[int] | None) -> Sequence[int]:
        noted = Change.objects.select_for_update(skip_locked=True).order_by("pk")
        if among is not None:
            noted = noted.filter(pk__in=among)
        return list(noted.values_list("pk", flat=True)[:limit])

    return len(isolated(take, partial(_apply, now=now), _blame, stage=CHANGES))


def _apply(keys: Sequence[int], now: datetime) -> list[int]:
    changed_at = dict(
        Change.objects.filter(pk__in=keys).values_list("periodic_task_id", "changed_at")
    )
    schedules = locked_schedules(changed_at)
    # Read the tasks only now: a lock was waited for, and they may have changed meanwhile.
    planned = with_tasks(schedules)
    answered = future.answered(planned, now)
    for schedule in planned:
        noted_at = changed_at[schedule.pk]
        if noted_at > now + future.TOLERANCE:
            noted_at = now  # by a clock that was ahead
        refresh(schedule, noted_at, now, answered.get(schedule.pk))
    save_state(schedules)
    Change.objects.filter(pk__in=keys).delete()
    return list(keys)


def _blame(key: int, error: Exception) -> None:
    """Quarantine the schedule of a change that cannot be applied."""
    change = Change.objects.filter(pk=key)
    for task_id in change.values_list("periodic_task_id", flat=True):
        quarantine(task_id, error)
    change.delete()


def refresh(
    schedule: Schedule, changed_at: datetime, now: datetime, answered: datetime | None
) -> None:
    """Compute a schedule's state from its task, as of a change at ``changed_at``. Saves nothing.

    ``answered`` is given of one that is ahead of ``now``; see ``future.answered``.
    """
    task = schedule.periodic_task
    schedule.quarantined_at, schedule.quarantine_reason = None, ""
    try:
        if answered is not None:
            schedule.answered_until = future.in_phase(schedule, answered)
        if not task.enabled:
            schedule.paused_at = schedule.paused_at or changed_at
            schedule.next_fire_at = None
            return
        count_from(schedule, changed_at)
        schedule.paused_at = None
        plan_next(schedule, now)
    except Exception as error:  # noqa: BLE001 -- the boundary: one broken row stops no other
        mark(schedule, error, now)


def plan_next(schedule: Schedule, now: datetime, *, has_fired: bool = False) -> None:
    """Set ``next_fire_at`` from ``answered_until``; of a rule that has ended there is none.

    A rule that ``has_fired`` may be over. Raises ``ImpossibleSchedule`` if the rule is broken
    or never due, or its policy is unknown.
    """
    try:
        schedule.next_fire_at = next_fire(schedule, now, has_fired=has_fired)
    except RuleEnded:
        schedule.next_fire_at = None


def next_fire(schedule: Schedule, now: datetime, *, has_fired: bool = False) -> datetime | None:
    """Return when a schedule fires next, as ``plan_next`` does.

    Raises ``RuleEnded``, too.
    """
    schedule.refuse_unknown_policy()
    timetable = timetable_for(schedule)
    answered_until = schedule.answered_until
    assert answered_until is not None  # noqa: S101 -- set by count_from before
    return planning.next_fire(
        timetable,
        answered_until,
        now,
        is_moment=has_fired or bool(schedule.periodic_task.clocked_id),
    )


def timetable_for(schedule: Schedule) -> Timetable:
    """Read the timetable of a schedule with its policy's jitter."""
    assert schedule.answered_until is not None  # noqa: S101 -- set by count_from before
    return timetable_of(
        schedule.periodic_task,
        origin=schedule.answered_until,
        jitter_seconds=schedule.jitter_seconds,
        rule=rules.own_rule(schedule.periodic_task, schedule.recurrence),
    )


def save_state(schedules: Iterable[Schedule]) -> None:
    """Save what the schedulers own of these rows, and nothing of a person's policy."""
    bulk.update(Schedule, STATE_FIELDS, [_state(schedule) for schedule in schedules])


def count_from(schedule: Schedule, changed_at: datetime) -> None:
    """Set ``answered_until``: from where the next due time is counted. Saves nothing."""
    task = schedule.periodic_task
    own = rules.own_rule(task, schedule.recurrence)
    rule = rule_text(task) if own is None else f"{rule_text(task)} {json.dumps(own)}"
    before, was = schedule.answered_until, schedule.rule
    schedule.rule = rule
    if task.clocked_id:
        # Due even if it is past already; the ledger knows whether it has fired.
        clocked_time: datetime = task.clocked.clocked_time
        if before != clocked_time:
            schedule.answered_until = clocked_time - INSTANT
    elif schedule.paused_at is not None:
        schedule.answered_until = planning.after_pause(
            before, catches_up=schedule.catch_up_on_resume, resumed_at=changed_at
        )
    elif before is None:
        schedule.answered_until = task.last_run_at or min(task.date_changed, changed_at)
    elif rule != was:
        period = task.interval.schedule.run_every if task.interval_id else None
        schedule.answered_until = planning.start_of_new_rule(before, changed_at, period)


def locked_schedules(task_ids: Iterable[int]) -> Sequence[Schedule]:
    """Lock the schedules of these tasks, in one order so that no two wait for each other."""
    ids = sorted(PeriodicTask.objects.filter(pk__in=task_ids).values_list("pk", flat=True))
    Schedule.objects.bulk_create([Schedule(pk=pk) for pk in ids], ignore_conflicts=True)
    return list(Schedule.objects.select_for_update().filter(pk__in=ids).order_by("pk"))


def with_tasks(schedules: Iterable[Schedule]) -> Sequence[Schedule]:
    """Return the schedules their tasks; return those whose task is still there."""
    tasks = PeriodicTask.objects.select_related("interval", "crontab", "solar", "clocked").in_bulk(
        [schedule.pk for schedule in schedules]
    )
    kept_schedules = [schedule for schedule in schedules if schedule.pk in tasks]
    for schedule in kept_schedules:
        schedule.periodic_task = tasks[schedule.pk]
    return kept_schedules
