"""Rules that need more than a crontab of five plain fields. Pure.

Crontab lines with ``L``, ``LW``, ``6#3``, ``5L``, a field of seconds, or Vixie cron's "or" of the
days are parsed by cronsim, ``L-2`` and ``15W`` here, iCalendar's RRULE by dateutil, holidays by the
``holidays`` library. The rules for clock changes are ``recurrence``'s.
"""

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from cronsim import CronSim, CronSimError
from dateutil.rrule import DAILY

from scheduling import calendars
from scheduling.occurrences import Occurrences
from scheduling.recurrence import HORIZON_YEARS, ImpossibleSchedule, LocalRule, Recurrence

if TYPE_CHECKING:
    from holidays import HolidayBase

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)
DAYS_LOOKED_BACK = 366
LONGEST_ROLL = 31
"""Days that a due time is moved at most from a holiday."""
MOST_SKIPPED = 4000
"""Due times in a row that a window or a calendar may leave out: more, and it is never due."""
HORIZON = timedelta(days=366 * HORIZON_YEARS)
"""How far ahead a due time may be that a window or a calendar lets through."""


SPECIAL_DAY = re.compile(r"L-(\d|[12]\d|30)|([1-9]|[12]\d|3[01])W", re.IGNORECASE)
"""``L-2``: two days before the month's last; ``15W``: the weekday nearest to the 15th."""


@dataclass(frozen=True)
class CronLine(LocalRule):
    """A crontab line of five fields or six, as cronsim reads it.

    Days of the month *and* of the week must match, or one of them with ``any_day``. Raises
    ``ImpossibleSchedule``.
    """

    line: str
    zone: tzinfo
    any_day: bool = False

    def __post_init__(self) -> None:
        if self._parsed is None:
            raise ImpossibleSchedule(f"The crontab line {self.line!r} cannot be read.")

    @cached_property
    def _parsed(self) -> CronSim:
        """The line; the days of the month that only this module reads are left out."""
        return self._read(self._plain_days or "*")

    @cached_property
    def _special_days(self) -> tuple[str, ...]:
        return tuple(day for day in self._days if SPECIAL_DAY.fullmatch(day))

    @cached_property
    def _plain_days(self) -> str:
        return ",".join(day for day in self._days if not SPECIAL_DAY.fullmatch(day))

    @property
    def _days(self) -> list[str]:
        fields = self.line.split()
        return fields[-3].split(",") if len(fields) > 3 else []

    @cached_property
    def _any_day_of_month(self) -> CronSim:
        return self._read("*")

    def _read(self, days: str) -> CronSim:
        fields = self.line.split()
        line = " ".join([*fields[:-3], days, *fields[-2:]]) if len(fields) > 3 else self.line
        try:
            parsed = CronSim(line, datetime(2000, 1, 1))  # noqa: DTZ001 -- local, naive
        except CronSimError as error:
            raise ImpossibleSchedule(f"{self.line!r}: {error}.") from error
        parsed.day_and = parsed.day_and or not self.any_day
        return parsed

    def _matches(self, day: date) -> bool:
        if not self._special_days:
            return bool(self._parsed.match_day(day))
        is_special = any(_is_special(special_day, day) for special_day in self._special_days)
        is_weekday = bool(self._any_day_of_month.match_day(day))
        if self.any_day and self.line.split()[-1] != "*":
            return is_special or bool(self._parsed.match_day(day))
        is_plain = bool(self._plain_days) and bool(self._parsed.match_day(day))
        return is_plain or (is_special and is_weekday)

    @property
    def _runs_every_hour(self) -> bool:
        return len(self._parsed.hours) == 24

    @cached_property
    def _times_of_day(self) -> tuple[time, ...]:
        parsed = self._parsed
        return tuple(
            time(hour, minute, second)
            for hour in sorted(parsed.hours)
            for minute in sorted(parsed.minutes)
            for second in sorted(parsed.seconds)
        )

    def _local_times(self, start: datetime) -> Iterator[datetime]:
        day, end = start.date(), date(min(start.year + HORIZON_YEARS, date.max.year), 1, 1)
        while day < end:
            if day.month not in self._parsed.months:
                day = _next_month(day)
                continue
            if self._matches(day):
                for time_of_day in self._times_of_day:
                    if (moment := datetime.combine(day, time_of_day)) >= start:
                        yield moment
            day += DAY


@dataclass(frozen=True)
class RecurrenceRule(LocalRule):
    """An RRULE of RFC 5545, counted from ``begin``, a moment of whole seconds, in the zone.

    Nothing is due before ``begin``, or after an UNTIL that is a moment.

    Raises ``ImpossibleSchedule`` for one that cannot be read, or that is due each second.
    """

    text: str
    zone: tzinfo
    begin: datetime

    def __post_init__(self) -> None:
        _ = self._occurrences

    @cached_property
    def _occurrences(self) -> Occurrences:
        local = self.begin.astimezone(self.zone).replace(tzinfo=None)
        return Occurrences(self.text, local)

    @property
    def _runs_every_hour(self) -> bool:
        return self._occurrences.frequency > DAILY

    def after(self, moment: datetime) -> datetime | None:
        """Return the first due time after ``moment``; ``None`` if there is none."""
        begin, until = self.begin, self._occurrences.until
        due = super().after(begin - INSTANT if moment < begin else moment)
        return None if due is None or (until is not None and due > until) else due

    def _local_times(self, start: datetime) -> Iterator[datetime]:
        return self._occurrences.since(start)

    def _instants(self, local: datetime) -> tuple[datetime, datetime]:
        first, second = super()._instants(local)
        # ``begin`` is in the second of two equal hours: the first is before it.
        return (second, second) if first < self.begin else (first, second)


@dataclass(frozen=True)
class Window:
    """The due times of a rule that lie between two times of day, the first of them included.

    A window whose end is before its begin lasts over midnight.
    """

    rule: Recurrence
    begin: time
    end: time
    zone: tzinfo

    def after(self, moment: datetime) -> datetime | None:
        """Return the first due time after ``moment`` that lies in the window."""
        asked = moment
        for _ in range(MOST_SKIPPED):
            due = self.rule.after(moment)
            if due is None or due - asked > HORIZON:
                return None
            local = due.astimezone(self.zone)
            if self._holds(local.time()):
                return due
            # No due time before the window opens is of use.
            opens = datetime.combine(local.date(), self.begin, self.zone)
            if opens <= local:
                opens = datetime.combine(local.date() + DAY, self.begin, self.zone)
            moment = max(due, opens.astimezone(UTC) - timedelta(microseconds=1))
        return None

    def _holds(self, at: time) -> bool:
        if self.begin <= self.end:
            return self.begin <= at < self.end
        return at >= self.begin or at < self.end


@dataclass(frozen=True)
class BusinessDays:
    """The due times of a rule, but for those on holidays, and with ``weekends`` on weekends.

    A weekend is the country's, as the ``holidays`` library has it; without one, Saturday and
    Sunday.

    ``roll`` says what becomes of one there: ``skip``, or its time of day on the ``next`` or
    ``previous`` day that is none. ``country`` is like ``DE`` or ``DE-BY``, ``calendar`` the name of
    a file (``calendars``).
    """

    rule: Recurrence
    zone: tzinfo
    country: str = ""
    calendar: str = ""
    weekends: bool = False
    roll: str = "skip"

    def after(self, moment: datetime) -> datetime | None:
        """Return the first due time after ``moment``, moved where it has to be."""
        reach = timedelta(0) if self.roll == "skip" else LONGEST_ROLL * DAY
        seen = moment - (reach if self.roll == "next" else timedelta(0))
        best: datetime | None = None
        for _ in range(MOST_SKIPPED):
            due = self.rule.after(seen)
            if due is None or due - moment > HORIZON or (best is not None and due > best + reach):
                return best
            moved = self.moved(due)
            if moved is not None and moved > moment and (best is None or moved < best):
                best = moved
                if self.roll == "skip":
                    return best
            # The others of a day that is left out are left out, too.
            seen = max(due, self._end_of_day(due) - INSTANT) if self.roll == "skip" else due
        return best

    def _end_of_day(self, moment: datetime) -> datetime:
        tomorrow = moment.astimezone(self.zone).date() + DAY
        return datetime.combine(tomorrow, time(), self.zone).astimezone(UTC)

    def free(self, day: date) -> str:
        """Return why a local day is free: the holiday's name, ``weekend``; empty: it is not."""
        weekend = "weekend" if self.weekends and self._is_weekend(day) else ""
        return self.holiday(day) or weekend

    def _is_weekend(self, day: date) -> bool:
        """Tell whether a local day is of the country's weekend; without one, Saturday or Sunday."""
        if not self.country:
            return day.weekday() >= 5
        days = _calendar(self.country)
        _ = days.get(day)  # reads the year, and with it the weekend days that are worked
        return days.is_weekend(day) and not days.is_working_day(day)

    def holiday(self, day: date) -> str:
        """Return the name of the holiday on a local day; empty: it is none."""
        if self.country and (name := _calendar(self.country).get(day)):
            return str(name)
        return (calendars.read(self.calendar).get(day) or "") if self.calendar else ""

    def left_out(self, after: datetime, until: datetime) -> list[tuple[datetime, str]]:
        """Return what holidays have left out in ``(after, until)``, oldest first.

        That is the first due time of each such day, with the holiday's name, of the newest
        ``LONGEST_ROLL`` holidays within a year.
        """
        moments: list[tuple[datetime, str]] = []
        day, first = until.astimezone(self.zone).date(), after.astimezone(self.zone).date()
        for number in range(min((day - first).days + 1, DAYS_LOOKED_BACK)):
            local = day - number * DAY
            name = self.holiday(local)
            due = self._first_on(local, after) if name else None
            if due is not None and due < until and self.moved(due) is None:
                moments.append((due, name))
        return moments[:LONGEST_ROLL][::-1]

    def moved_from(self, due: datetime) -> list[tuple[date, str]]:
        """Return the free days whose due times were moved to ``due``, each with its reason."""
        days: list[tuple[date, str]] = []
        step = {"next": -DAY, "previous": DAY}.get(self.roll)
        if step is None:
            return days
        local = due.astimezone(self.zone).replace(tzinfo=None)
        for number in range(1, LONGEST_ROLL + 1):
            before = local + number * step
            name = self.free(before.date())
            if not name:
                break
            at = before.replace(tzinfo=self.zone).astimezone(UTC)
            if self.rule.after(at - INSTANT) == at:
                days.append((before.date(), name))
        return days

    def _first_on(self, day: date, after: datetime) -> datetime | None:
        """Return the first due time of the rule on a local day, if it comes after ``after``."""
        midnight = datetime.combine(day, time(), self.zone).astimezone(UTC)
        due = self.rule.after(midnight - INSTANT)
        if due is None or due <= after or due.astimezone(self.zone).date() != day:
            return None
        return due

    def moved(self, due: datetime) -> datetime | None:
        """Return when a due time of the rule fires: where it was moved to; ``None``: left out."""
        local = due.astimezone(self.zone)
        if not self.free(local.date()):
            return due
        if self.roll == "skip":
            return None
        step = DAY if self.roll == "next" else -DAY
        day = local.date()
        for _ in range(LONGEST_ROLL):
            day += step
            if not self.free(day):
                at = local.replace(tzinfo=None, year=day.year, month=day.month, day=day.day)
                return at.replace(tzinfo=self.zone).astimezone(UTC)
        return None


def check_country(country: str) -> None:
    """Raise ``ImpossibleSchedule`` if no holidays of a country, like ``DE-BY``, are known."""
    _calendar(country)


def holiday_on(day: date, country: str) -> str:
    """Return the name of a country's holiday on a day; empty: it is none."""
    return str(_calendar(country).get(day) or "")


@lru_cache(maxsize=64)
def _calendar(country: str) -> "HolidayBase":
    """Return a country's holidays and weekend. Raises ``ImpossibleSchedule`` for an unknown one."""
    import holidays  # noqa: PLC0415 -- 0.15 s and 11 MB that few processes need

    code, _, subdivision = country.partition("-")
    try:
        # Without a language, the names would be in that of the process's LANG.
        return holidays.country_holidays(code, subdiv=subdivision or None, language="en_US")
    except (NotImplementedError, KeyError) as error:
        raise ImpossibleSchedule(f"No holidays of {country!r} are known.") from error


def _is_special(special: str, day: date) -> bool:
    """Tell whether a local day is an ``L-2`` or a ``15W`` of its month."""
    last = monthrange(day.year, day.month)[1]
    if special[0] in "Ll":
        return day.day == last - int(special[2:])
    wanted = int(special[:-1])
    if wanted > last:
        return False
    weekday = day.replace(day=wanted).weekday()
    if weekday == 5:
        wanted += 2 if wanted == 1 else -1
    elif weekday == 6:
        wanted += -2 if wanted == last else 1
    return day.day == wanted


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)
