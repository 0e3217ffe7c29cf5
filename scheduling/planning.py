"""From where a schedule counts, and when it fires next: pure decisions of every backend."""

from datetime import datetime, timedelta

from scheduling.recurrence import ImpossibleSchedule, RuleEnded
from scheduling.timetable import INSTANT, Timetable

LOOKED_BACK = timedelta(days=3660)
"""A rule that was due within this time, and never will be again, has ended."""

ENDED = "It has ended, and will not be due again."


def next_fire(
    timetable: Timetable, answered_until: datetime, now: datetime, *, is_moment: bool
) -> datetime | None:
    """Return when a schedule that has answered until then fires next; ``None``: never again.

    ``is_moment`` tells that its rule is one moment. Raises ``ImpossibleSchedule`` for any
    other rule that will never be due: ``RuleEnded`` for one that was due once.
    """
    due = timetable.after(answered_until)
    if due is not None:
        return timetable.fire_time(due)
    if timetable.expires is not None and timetable.expires >= now:
        # Look again when it has expired, to disable it then and not before.
        return timetable.expires + INSTANT
    if timetable.is_over(now) or is_moment:
        return None
    if timetable.after(answered_until - LOOKED_BACK) is not None:
        raise RuleEnded(ENDED)
    raise ImpossibleSchedule("It will never be due.")


def refuse_ended(timetable: Timetable, answered_until: datetime) -> None:
    """Raise ``RuleEnded`` for a schedule that has answered until then and is not due again.

    Its moment has passed, its expiry has, or its rule has no due time before its expiry.
    """
    if timetable.after(answered_until) is None:
        raise RuleEnded(ENDED)


def passed_by(timetable: Timetable, answered_until: datetime, now: datetime) -> datetime:
    """Return from where a schedule counts whose calendar was changed before it was due.

    What the changed calendar would have had due by now is not made up.
    """
    passed = timetable.newest(answered_until, now - timetable.jitter, 1)
    return passed[-1] if passed else answered_until


def after_pause(before: datetime | None, *, catches_up: bool, resumed_at: datetime) -> datetime:
    """Return from where a paused schedule counts that is resumed."""
    return resumed_at if before is None or not catches_up else before


def start_of_new_rule(before: datetime, changed_at: datetime, period: timedelta | None) -> datetime:
    """Return from where a changed rule counts: from its change.

    An interval of this ``period`` keeps time with its last due time.
    """
    if period is None or period <= timedelta(0) or before > changed_at:
        return changed_at
    return before + (changed_at - before) // period * period
