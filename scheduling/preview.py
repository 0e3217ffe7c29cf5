"""When a schedule will fire: computed from its row as it stands, without touching any state."""

from collections.abc import Sequence
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
    now = database_now()
    if not task.enabled or _is_quarantined(task):
        return []
    try:
        schedule, timetable = planned(task, now)
    except ImpossibleSchedule:
        return []
    answered, due_at = schedule.answered_until, schedule.next_fire_at
    # One that is overdue fires at once, and then from now on; any other as it is planned.
    is_ahead = answered is not None and due_at is not None and due_at > now
    after = answered if answered is not None and is_ahead else now
    fired = future.early(task.pk, after)
    due = timetable.upcoming(after, count + len(fired))
    return [timetable.fire_time(moment) for moment in due if moment not in fired][:count]


def unseen(keys: Sequence[int]) -> set[int]:
    """Return which of these schedules have a change that no scheduler has seen yet."""
    noted = Change.objects.filter(periodic_task_id__in=keys)
    return {*noted.values_list("periodic_task_id", flat=True)}


def next_fire_at(
    task: PeriodicTask, schedule: Schedule | None, changed: set[int]
) -> datetime | None:
    """Return when a schedule fires next, also one that has ``changed`` and is not planned anew."""
    if schedule is not None and task.pk not in changed:
        return schedule.next_fire_at
    return next(iter(upcoming_fires(task, 1)), None)


def _is_quarantined(task: PeriodicTask) -> bool:
    """Return whether it rests with a fault, and nobody has changed it since."""
    is_noted = Change.objects.filter(periodic_task_id=task.pk).exists()
    rests = Schedule.objects.filter(pk=task.pk, quarantined_at__isnull=False)
    return not is_noted and rests.exists()


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
    timetable = timetable_for(schedule)
    answered, due_at = schedule.answered_until, schedule.next_fire_at
    is_ahead = answered is not None and due_at is not None and due_at > now
    after = answered if answered is not None and is_ahead else now
    return [timetable.fire_time(moment) for moment in timetable.upcoming(after, count)]


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


def planned(task: PeriodicTask, now: datetime) -> tuple[Schedule, Timetable]:
    """Plan a copy of the task's schedule, as a scheduler would at this moment."""
    schedule = _copy_of_schedule(task)
    count_from(schedule, now)
    plan_next(schedule, now)
    return schedule, timetable_for(schedule)


def _copy_of_schedule(task: PeriodicTask) -> Schedule:
    schedule = copy(Schedule.objects.filter(pk=task.pk).first() or Schedule(pk=task.pk))
    schedule.periodic_task = task
    return schedule
