"""When a schedule will fire: computed from its row as it stands, without touching any state."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from copy import copy
from datetime import datetime

from django_celery_beat.models import PeriodicTask

from scheduling import future, planning, rules
from scheduling.changes import count_from, next_fire, plan_next, timetable_for
from scheduling.clock import database_now
from scheduling.models import Change, Schedule
from scheduling.recurrence import ImpossibleSchedule
from scheduling.rule_documents import Rule, recurrence_of
from scheduling.timetable import Timetable

UNSAVED = -1
"""The key of a rule that has no row yet, so that it counts as one."""


def upcoming_fires(task: PeriodicTask, count: int = 5) -> list[datetime]:
    """Return the next moments at which a schedule fires; none if it is paused or cannot fire."""
    rows = Schedule.objects.in_bulk([task.pk])
    return _upcoming([task], rows, unseen([task.pk]), count)[task.pk]


def unseen(keys: Sequence[int]) -> set[int]:
    """Return which of these schedules have a change that no scheduler has seen yet."""
    noted = Change.objects.filter(periodic_task_id__in=keys)
    return {*noted.values_list("periodic_task_id", flat=True)}


def next_fires(
    tasks: Sequence[PeriodicTask], rows: Mapping[int, Schedule], changed: Collection[int]
) -> dict[int, datetime | None]:
    """Return when each schedule fires next, also those that have ``changed`` since their plan.

    ``rows`` are the schedules' rows by key, so far as there are any. Asks two queries at most.
    """
    unplanned = [task for task in tasks if task.pk not in rows or task.pk in changed]
    next_fires = {key: row.next_fire_at for key, row in rows.items()}
    upcoming = _upcoming(unplanned, rows, changed, 1) if unplanned else {}
    return next_fires | {key: next(iter(moments), None) for key, moments in upcoming.items()}


def _upcoming(
    tasks: Sequence[PeriodicTask],
    rows: Mapping[int, Schedule],
    changed: Collection[int],
    count: int,
) -> dict[int, list[datetime]]:
    """Return the next moments at which each schedule fires, in two queries."""
    now = database_now()
    timetables: dict[int, Timetable] = {}
    since: dict[int, datetime] = {}
    for task in tasks:
        row = rows.get(task.pk)
        is_quarantined = row is not None and row.quarantined_at is not None
        if not task.enabled or (is_quarantined and task.pk not in changed):
            continue
        schedule = _copy_of(row, task)
        with suppress(ImpossibleSchedule):
            timetables[task.pk] = _plan(schedule, now)
            since[task.pk] = _counted_from(schedule, now)
    fired = future.fired_early(since)
    return {task.pk: [] for task in tasks} | {
        key: _next_of(timetable, since[key], fired.get(key, ()), count)
        for key, timetable in timetables.items()
    }


def _counted_from(schedule: Schedule, now: datetime) -> datetime:
    """Return after which moment a planned schedule fires next.

    One that is overdue fires at once, and then from now on; any other as it is planned.
    """
    answered, due_at = schedule.answered_until, schedule.next_fire_at
    is_ahead = answered is not None and due_at is not None and due_at > now
    return answered if answered is not None and is_ahead else now


def _next_of(
    timetable: Timetable, since: datetime, fired: Collection[datetime], count: int
) -> list[datetime]:
    due = timetable.upcoming(since, count + len(fired))
    return [timetable.fire_time(moment) for moment in due if moment not in fired][:count]


def fires_of(
    rule: Rule, count: int = 5, *, start: datetime | None = None, expires: datetime | None = None
) -> list[datetime]:
    """Return the next moments at which a rule that no schedule has yet would fire.

    Raises ``ImpossibleSchedule`` if it is broken or will never be due.
    """
    now = database_now()
    timetable = Timetable(recurrence_of(rule, start or now), start=start, expires=expires)
    if timetable.after(now) is None:
        raise ImpossibleSchedule("It will never be due.")
    return timetable.upcoming(now, count)


def fires_if(
    task: PeriodicTask,
    document: Rule,
    count: int = 5,
    *,
    start: datetime | None = None,
    expires: datetime | None = None,
) -> list[datetime]:
    """Return the next moments at which a schedule would fire if this were its rule from now on.

    Raises ``ImpossibleSchedule`` if it is broken or will never be due.
    """
    now, changed = database_now(), copy(task)
    rule = rules.row_of(document)
    rule.pk = UNSAVED
    for kind in (*rules.KINDS, rules.field_of(rule)):
        setattr(changed, kind, rule if kind == rules.field_of(rule) else None)
    changed.start_time, changed.expires, changed.enabled = start, expires, True
    schedule = _copy_of_schedule(changed)
    schedule.recurrence = rules.own_of(document, rule)
    count_from(schedule, now)
    schedule.next_fire_at = next_fire(schedule, now)
    return _next_of(timetable_for(schedule), _counted_from(schedule, now), (), count)


def refuse_impossible(task: PeriodicTask) -> None:
    """Raise ``ImpossibleSchedule`` if a task's rule is broken or will never be due.

    ``RuleEnded`` is raised for one that was due once.
    """
    _counted(task)


def refuse_ended(task: PeriodicTask) -> None:
    """Raise ``RuleEnded`` if a task that is resumed will not be due any more.

    Raises ``ImpossibleSchedule`` as ``refuse_impossible`` does.
    """
    schedule = _counted(task)
    assert schedule.answered_until is not None  # noqa: S101 -- set by count_from
    planning.refuse_ended(timetable_for(schedule), schedule.answered_until)


def _counted(task: PeriodicTask) -> Schedule:
    schedule, now = _copy_of_schedule(task), database_now()
    count_from(schedule, now)
    next_fire(schedule, now)
    return schedule


def planned(
    task: PeriodicTask, now: datetime, row: Schedule | None = None
) -> tuple[Schedule, Timetable]:
    """Plan a copy of the task's schedule, as a scheduler would at this moment.

    ``row`` is the schedule's, where it was read before.
    """
    schedule = _copy_of_schedule(task) if row is None else _copy_of(row, task)
    return schedule, _plan(schedule, now)


def _plan(schedule: Schedule, now: datetime) -> Timetable:
    count_from(schedule, now)
    plan_next(schedule, now)
    return timetable_for(schedule)


def _copy_of_schedule(task: PeriodicTask) -> Schedule:
    return _copy_of(Schedule.objects.filter(pk=task.pk).first(), task)


def _copy_of(row: Schedule | None, task: PeriodicTask) -> Schedule:
    schedule = copy(row or Schedule(pk=task.pk))
    schedule.periodic_task = task
    return schedule
