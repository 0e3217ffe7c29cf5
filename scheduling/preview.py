"""When a schedule will fire: computed from its row as it stands, without touching any state."""

from copy import copy
from datetime import datetime

from django_celery_beat.models import PeriodicTask

from scheduling.changes import count_from, plan_next, timetable_for
from scheduling.clock import database_now
from scheduling.models import Schedule
from scheduling.recurrence import ImpossibleScheduleError
from scheduling.timetable import RuleRow, Timetable, recurrence_of


def upcoming_fires(task: PeriodicTask, count: int = 5) -> list[datetime]:
    """Give the next moments at which a schedule fires; none if it is paused or impossible."""
    now = database_now()
    if not task.enabled:
        return []
    try:
        timetable = _planned(task, now)
    except ImpossibleScheduleError:
        return []
    return [timetable.fire_time(due) for due in timetable.upcoming(now, count)]


def fires_of(
    rule: RuleRow, count: int = 5, *, start: datetime | None = None, expires: datetime | None = None
) -> list[datetime]:
    """Give the next moments at which a rule that no schedule has yet would fire.

    Raises ``ImpossibleScheduleError`` if it is broken or will never be due.
    """
    now = database_now()
    timetable = Timetable(recurrence_of(rule, start or now), start=start, expires=expires)
    if timetable.after(now) is None:
        raise ImpossibleScheduleError("It will never be due.")
    return timetable.upcoming(now, count)


def refuse_impossible(task: PeriodicTask) -> None:
    """Raise ``ImpossibleScheduleError`` if a task's rule is broken or will never be due."""
    _planned(task, database_now())


def _planned(task: PeriodicTask, now: datetime) -> Timetable:
    """Plan a copy of the task's schedule, as a scheduler would at this moment."""
    schedule = copy(Schedule.objects.filter(pk=task.pk).first() or Schedule(pk=task.pk))
    schedule.periodic_task = task
    count_from(schedule, now)
    plan_next(schedule, now)
    return timetable_for(schedule)
