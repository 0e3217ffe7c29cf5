"""Which due times move if a calendar has other holidays. Pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from itertools import islice
from operator import itemgetter

from scheduling import calendars
from scheduling.calendar_rules import DAY, LONGEST_ROLL, BusinessDays
from scheduling.calendars import Calendar
from scheduling.timetable import INSTANT, Timetable

MOST = 1000
"""Moves that are given of one schedule."""
MOST_DUE = 20_000
"""Due times of one schedule that are looked at, from the earliest day on."""


@dataclass(frozen=True, slots=True)
class Move:
    """A due time that goes from ``before`` to ``after``.

    Without ``before`` it is a new one, without ``after`` it is left out.
    """

    before: datetime | None
    after: datetime | None


def moves(
    timetable: Timetable, name: str, calendar: Calendar, since: datetime, days: int
) -> list[Move]:
    """Return what moves within ``days`` after ``since`` if ``calendar`` stands under this name.

    In the order of time, ``MOST`` at most. Raises ``ImpossibleSchedule`` if the calendar that
    stands there now cannot be read.
    """
    rule = timetable.rule
    if not isinstance(rule, BusinessDays) or rule.calendar != name:
        return []
    nominal = _Nominal(timetable, rule)
    begin = since.astimezone(rule.zone).date() - LONGEST_ROLL * DAY
    span = [begin + number * DAY for number in range(days + 2 * LONGEST_ROLL)]
    old_free = {day for day in span if rule.free(day)}
    with calendars.replaced(name, calendar):
        new_free = {day for day in span if rule.free(day)}
    changed = old_free ^ new_free
    if rule.roll == "skip":
        affected = sorted(changed)
    else:  # a free day near a changed one may roll elsewhere
        near = {day + n * DAY for day in changed for n in range(-LONGEST_ROLL, LONGEST_ROLL + 1)}
        affected = sorted(changed | (near & (old_free | new_free)))
    due = [*islice((moment for day in affected for moment in nominal.on(day)), MOST_DUE)]
    old = {moment: nominal.fires(moment) for moment in due}
    with calendars.replaced(name, calendar):
        new = {moment: nominal.fires(moment) for moment in due}
        lost = {*old.values()} - {*new.values()}
        gone = {moment for moment in lost if moment is not None and not nominal.is_due(moment)}
    won = {*new.values()} - {*old.values()}
    added = {moment for moment in won if moment is not None and not nominal.is_due(moment)}
    pairs = {
        (was if was in gone else None, now if now in added else None)
        for was, now in ((old[moment], new[moment]) for moment in due)
    }
    timed = [(min(filter(None, pair)), Move(*pair)) for pair in pairs if any(pair)]
    until = since + days * DAY
    ordered = sorted((pair for pair in timed if since < pair[0] <= until), key=itemgetter(0))
    return [move for _, move in ordered[:MOST]]


@dataclass(frozen=True, slots=True)
class _Nominal:
    """The due times of a rule before its calendar leaves out or moves them."""

    limits: Timetable
    rule: BusinessDays

    def on(self, day: date) -> list[datetime]:
        """Return those of a local day, ``MOST`` at most."""
        midnights = (
            datetime.combine(local_day, time(), self.rule.zone) for local_day in (day, day + DAY)
        )
        begin, end = (midnight.astimezone(UTC) for midnight in midnights)
        return Timetable(self.rule.rule).between(begin, end, MOST)

    def fires(self, due: datetime) -> datetime | None:
        """Return when it fires; ``None`` if it is left out, or moved out of its limits."""
        moved, begin, end = self.rule.moved(due), self.limits.start, self.limits.expires
        if moved is None or (begin is not None and moved < begin):
            return None
        return None if end is not None and moved > end else moved

    def is_due(self, moment: datetime) -> bool:
        """Tell whether the rule itself is due at a moment, on a day that is not free."""
        if self.rule.free(moment.astimezone(self.rule.zone).date()):
            return False
        return self.rule.rule.after(moment - INSTANT) == moment
