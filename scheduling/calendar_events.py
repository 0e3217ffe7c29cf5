"""The days of the events in a file of iCalendar (RFC 5545). Pure.

DTSTART, DTEND or DURATION, RRULE, RDATE, EXDATE, STATUS are read, and RECURRENCE-ID, which replaces
one occurrence of the event that has its UID. What else changes an event's days is refused.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, cast

from scheduling.occurrences import Occurrences
from scheduling.recurrence import ImpossibleSchedule

DAY = timedelta(days=1)
LONGEST = 366
"""Days of one event."""
END_OF_DAY = time(23, 59, 59)
BEGIN = re.compile(rb"^BEGIN:VEVENT[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
TIMING = {"DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID"}


@dataclass(frozen=True)
class Series:
    """The occurrences of an RRULE, each of some ``days``.

    ``left_out`` has the local times of occurrences that are none; a day stands for all on it.
    """

    rule: Occurrences
    days: int
    name: str
    left_out: frozenset[date]

    def covers(self, day: date) -> bool:
        """Tell whether an occurrence lies on a local day."""
        begins = days_of(day - (self.days - 1) * DAY, self.days)
        return any(begin in begins_in(self, begin.year) for begin in begins)


@dataclass(frozen=True)
class Event:
    """A VEVENT, and the line of the file that it begins in."""

    fields: Any
    line: int

    @property
    def uid(self) -> str:
        """Return the UID; empty: there is none."""
        return str(self.fields.get("UID", ""))

    @property
    def is_cancelled(self) -> bool:
        """Return whether it does not take place."""
        return str(self.fields.get("STATUS", "")).upper() == "CANCELLED"

    @property
    def replaces(self) -> date | None:
        """Return the occurrence that it replaces, or None: it stands for itself."""
        replaced = self.fields.get("RECURRENCE-ID")
        return None if replaced is None else cast("date", replaced.dt)

    def begin(self) -> date:
        """Return the first day of an all-day event, else the moment in the event's zone."""
        return cast("date", self.fields["DTSTART"].dt)

    def days(self) -> int:
        """Return how many local days an occurrence lies on."""
        begin = self.begin()
        end = self._end(begin)
        if _is_before(end, begin):
            raise ImpossibleSchedule("It ends before it begins (DTEND or DURATION).")
        last = _day(end)
        if not isinstance(end, datetime) or end.time() == time():
            last -= DAY
        length = (last - _day(begin)).days + 1
        if length > LONGEST:
            raise ImpossibleSchedule(
                f"It lies on {length} days, and {LONGEST} are the most; make an event of each year."
            )
        return max(length, 1)

    def _end(self, begin: date) -> date:
        if "DURATION" in self.fields:
            return begin + cast("timedelta", self.fields["DURATION"].dt)
        if "DTEND" not in self.fields:
            return begin if isinstance(begin, datetime) else begin + DAY
        return _in_zone_of(begin, self.fields["DTEND"].dt)

    def moments(self, name: str) -> list[date]:
        """Return the dates of RDATE or EXDATE as local times of the event."""
        return [self.local(moment) for moment in _values(self.fields.get(name, []))]

    def local(self, moment: date) -> date:
        """Return a moment in the event's zone, without it; the day, for an all-day event."""
        begin = self.begin()
        if isinstance(begin, datetime) and isinstance(moment, datetime):
            return cast("datetime", _in_zone_of(begin, moment)).replace(tzinfo=None)
        return _day(moment)

    def rule(self) -> Occurrences:
        """Return the occurrences of its RRULE, in local time."""
        recurrence = self.fields["RRULE"].copy()
        if "UNTIL" in recurrence:
            until = self.local(recurrence["UNTIL"][0])
            if not isinstance(until, datetime):
                until = datetime.combine(until, END_OF_DAY)
            recurrence["UNTIL"] = [until]
        begin = self.local(self.begin())
        if not isinstance(begin, datetime):
            begin = datetime.combine(begin, time())
        return Occurrences(cast("bytes", recurrence.to_ical()).decode(), begin)

    def refuse_unreadable(self) -> None:
        """Raise ``ImpossibleSchedule`` for what is broken, or not supported."""
        for name, error in self.fields.errors:
            if name is None or name.upper() in TIMING:
                raise ImpossibleSchedule(f"{name or 'a line'}: {error}.")
        if "DTSTART" not in self.fields:
            raise ImpossibleSchedule("DTSTART is missing.")
        if "EXRULE" in self.fields:
            raise ImpossibleSchedule("EXRULE is not supported; name the days by EXDATE.")
        if isinstance(self.fields.get("RRULE"), list):
            raise ImpossibleSchedule("Two RRULEs are not supported; make an event of each.")
        if "DTEND" in self.fields and "DURATION" in self.fields:
            raise ImpossibleSchedule("It has both DTEND and DURATION.")
        if any(isinstance(value, tuple) for value in _values(self.fields.get("RDATE", []))):
            raise ImpossibleSchedule("RDATE with periods is not supported; name their days.")
        self._refuse_unknown_zones()
        self._refuse_replacing()

    def _refuse_unknown_zones(self) -> None:
        """Refuse a TZID that is read as no zone: its times would be those of any zone."""
        for name in sorted(TIMING & self.fields.keys()):
            several = self.fields[name]
            for field in several if isinstance(several, list) else [several]:
                zone = getattr(field, "params", {}).get("TZID")
                if zone and any(_is_floating(moment) for moment in _moments(field)):
                    raise ImpossibleSchedule(
                        f"{name}: there is no time zone {str(zone)[:60]!r}; name a zone of IANA, "
                        "like Europe/Vienna, or add its VTIMEZONE."
                    )

    def _refuse_replacing(self) -> None:
        if self.replaces is None:
            return
        if "RANGE" in self.fields["RECURRENCE-ID"].params:
            raise ImpossibleSchedule(
                "RECURRENCE-ID with RANGE is not supported; end the event's RRULE by UNTIL, and "
                "make an event of what follows."
            )
        if not self.uid:
            raise ImpossibleSchedule("RECURRENCE-ID needs the UID of the event.")
        if "RRULE" in self.fields or "RDATE" in self.fields:
            raise ImpossibleSchedule("An event with RECURRENCE-ID is one occurrence.")


def read(text: bytes, unnamed: str) -> tuple[dict[date, str], list[Series]]:
    """Return the days of single occurrences with their names, and the series, of a file's events.

    ``unnamed`` is the name of an event without SUMMARY. Raises ``ImpossibleSchedule`` that says in
    which line the event begins; ``ValueError`` for what is not iCalendar.
    """
    events = _events(text)
    days: dict[date, str] = {}
    series: list[Series] = []
    for event in events:
        try:
            event.refuse_unreadable()
            _add(event, events, str(event.fields.get("SUMMARY", "")) or unnamed, days, series)
        except ImpossibleSchedule as error:
            raise ImpossibleSchedule(f"The event in line {event.line}: {error}") from None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            why = type(error).__name__
            raise ImpossibleSchedule(
                f"The event in line {event.line} cannot be read ({why})."
            ) from None
    return days, series


def _events(text: bytes) -> list[Event]:
    import icalendar  # noqa: PLC0415 -- few processes need it

    calendars = icalendar.Calendar.from_ical(text, multiple=True)
    if not any(calendar.name == "VCALENDAR" for calendar in calendars):
        raise ValueError("no VCALENDAR")
    components = [event for calendar in calendars for event in calendar.walk("VEVENT")]
    lines = [text.count(b"\n", 0, begin.start()) + 1 for begin in BEGIN.finditer(text)]
    return [Event(fields, line) for fields, line in zip(components, lines, strict=True)]


def _add(
    event: Event, events: list[Event], name: str, days: dict[date, str], series: list[Series]
) -> None:
    """Add the occurrences of an event that takes place."""
    same = [other for other in events if event.uid and other.uid == event.uid]
    if event.is_cancelled or any(other.is_cancelled and other.replaces is None for other in same):
        return
    length, begin = event.days(), event.local(event.begin())
    left_out = frozenset(event.moments("EXDATE"))
    if event.replaces is None:
        left_out |= {event.local(other.replaces) for other in same if other.replaces is not None}
    begins = [*([] if "RRULE" in event.fields else [begin]), *event.moments("RDATE")]
    for moment in begins:
        if not {moment, _day(moment)} & left_out:
            days.update(dict.fromkeys(days_of(_day(moment), length), name))
    if "RRULE" in event.fields:
        repeated = Series(event.rule(), length, name, left_out)
        begins_in(repeated, begin.year)  # refuses a rule whose days take too long to find
        series.append(repeated)


@lru_cache(maxsize=1024)
def begins_in(series: Series, year: int) -> frozenset[date]:
    """Return the days of a year on which an occurrence begins."""
    end = datetime(year, 12, 31, 23, 59, 59)  # noqa: DTZ001 -- local, naive
    holidays: set[date] = set()
    for moment in series.rule.since(datetime(year, 1, 1)):  # noqa: DTZ001 -- as above
        if moment > end:
            break
        if not {moment, moment.date()} & series.left_out:
            holidays.add(moment.date())
    return frozenset(holidays)


def days_of(begin: date, length: int) -> Iterator[date]:
    """Return ``length`` days from ``begin`` on."""
    return (begin + number * DAY for number in range(length))


def _values(dates: Any) -> Iterator[Any]:
    lists = dates if isinstance(dates, list) else [dates]
    return (moment for values in lists for moment in _moments(values))


def _moments(field: Any) -> list[Any]:
    """Return the values of a field of one time, or of a list of times; none: it has other ones."""
    if hasattr(field, "dts"):
        return [value.dt for value in field.dts]
    return [field.dt] if hasattr(field, "dt") else []


def _is_floating(moment: Any) -> bool:
    return isinstance(moment, datetime) and moment.tzinfo is None


def _is_before(end: date, begin: date) -> bool:
    if not (isinstance(end, datetime) and isinstance(begin, datetime)):
        return _day(end) < _day(begin)
    if end.tzinfo is None or begin.tzinfo is None:
        return end.replace(tzinfo=None) < begin.replace(tzinfo=None)
    return end.astimezone(UTC) < begin.astimezone(UTC)


def _in_zone_of(begin: date, moment: date) -> date:
    """Return a moment in the zone of an event's begin, if both have one."""
    if not (isinstance(begin, datetime) and isinstance(moment, datetime)):
        return moment
    if begin.tzinfo is None or moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(begin.tzinfo)
    except OverflowError:  # "for ever": 99991231T235959Z, which is in the year 10000 further east
        return moment.replace(tzinfo=begin.tzinfo)


def _day(moment: date) -> date:
    return moment.date() if isinstance(moment, datetime) else moment
