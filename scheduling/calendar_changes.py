"""Plans anew the schedules whose calendar's file was changed."""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial

from scheduling import planning, rules
from scheduling.changes import (
    BATCH,
    locked_schedules,
    plan_next,
    refresh,
    save_state,
    timetable_for,
    with_tasks,
)
from scheduling.models import Schedule
from scheduling.quarantine import isolated, quarantine
from scheduling.recurrence import ImpossibleSchedule

STAGE = "planning by a changed calendar"


def replan(calendars: Collection[str], now: datetime) -> None:
    """Plan the schedules that go by one of these calendars anew.

    What is due is left to a tick, which reads the calendar as it is. A schedule in quarantine is
    tried again.
    """
    named = Schedule.objects.filter(recurrence__rule__calendar__in=sorted(calendars))
    keys = list(named.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        work = partial(_replan, calendars=calendars, now=now)
        isolated(partial(_among, batch), work, quarantine, stage=STAGE)


def _among(batch: Sequence[int], among: Sequence[int] | None) -> Sequence[int]:
    """Lock the rows of a batch, or those ``among`` it that are still there."""
    rows = Schedule.objects.select_for_update().filter(pk__in=batch if among is None else among)
    return list(rows.order_by("pk").values_list("pk", flat=True))


def _replan(keys: Sequence[int], calendars: Collection[str], now: datetime) -> list[int]:
    rows = with_tasks(locked_schedules(keys))
    changed = [row for row in rows if _is_replanned(row, calendars, now)]
    save_state(changed)
    return [row.pk for row in changed]


def _is_replanned(schedule: Schedule, calendars: Collection[str], now: datetime) -> bool:
    """Set a schedule's plan as its calendar is now; tell whether it is another one."""
    task = schedule.periodic_task
    own = rules.own_rule(task, schedule.recurrence)
    if not task.enabled or own is None or own.get("calendar") not in calendars:
        return False
    if schedule.quarantined_at is not None:
        refresh(schedule, now, now, None)
        return True
    planned = schedule.next_fire_at
    if schedule.answered_until is None or (planned is not None and planned <= now):
        return False
    try:
        timetable = timetable_for(schedule)
    except ImpossibleSchedule:
        return False  # it is told when it is due, unless the file is mended by then
    schedule.answered_until = planning.passed_by(timetable, schedule.answered_until, now)
    plan_next(schedule, now)
    return bool(schedule.next_fire_at != planned)
