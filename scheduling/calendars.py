"""Holidays of one's own: files of iCalendar (RFC 5545) in the folder ``SCHEDULING_CALENDARS``.

A day is a holiday that an event of the file lies on, once or by its RRULE.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from scheduling import configuration
from scheduling.occurrences import Occurrences
from scheduling.recurrence import ImpossibleSchedule

DAY = timedelta(days=1)
LARGEST = 1_000_000
"""Bytes of a file."""
LONGEST = 366
"""Days of one event."""


@dataclass(frozen=True)
class Calendar:
    """The holidays of a file: those of single days, and those that come again."""

    days: Mapping[date, str]
    again: tuple[tuple[Occurrences, int, str], ...]

    def get(self, day: date) -> str | None:
        """Return the name of the holiday on a local day."""
        if day in self.days:
            return self.days[day]
        for rule, length, name in self.again:
            days = _days(day - (length - 1) * DAY, length)
            if any(one in _days_in(rule, one.year) for one in days):
                return name
        return None


def read(name: str) -> Calendar:
    """Return the calendar in the file ``NAME.ics``, as it is now.

    Raises ``ImpossibleSchedule`` if there is none, or it cannot be read.
    """
    folder = str(configuration.read("SCHEDULING_CALENDARS", ""))
    if not folder:
        raise ImpossibleSchedule("SCHEDULING_CALENDARS names no folder of calendars.")
    path = Path(folder) / f"{name}.ics"
    try:
        found = path.stat()
        if found.st_size > LARGEST:
            raise ImpossibleSchedule(f"The calendar {name!r} is larger than {LARGEST} bytes.")
        return _read(path, found.st_mtime_ns)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ImpossibleSchedule(f"The calendar {name!r} cannot be read: {why}.") from None


@lru_cache(maxsize=16)
def _read(path: Path, _changed: int) -> Calendar:
    import icalendar  # noqa: PLC0415 -- few processes need it

    days: dict[date, str] = {}
    again: list[tuple[Occurrences, int, str]] = []
    try:
        for event in icalendar.Calendar.from_ical(path.read_bytes()).walk("VEVENT"):
            begin, length = _span(event)
            name = str(event.get("SUMMARY", "")) or path.stem
            if "RRULE" in event:
                text = cast("bytes", event["RRULE"].to_ical()).decode()
                rule = Occurrences(text, datetime.combine(begin, time()))
                _days_in(rule, begin.year)  # refuses a rule whose days take too long to find
                again.append((rule, length, name))
            else:
                days.update(dict.fromkeys(_days(begin, length), name))
    except ImpossibleSchedule as error:
        raise ImpossibleSchedule(f"The calendar {path.stem!r}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = type(error).__name__
        raise ImpossibleSchedule(f"The calendar {path.stem!r} is not iCalendar ({why}).") from None
    return Calendar(days, tuple(again))


@lru_cache(maxsize=1024)
def _days_in(rule: Occurrences, year: int) -> frozenset[date]:
    """Return the days of a year on which an event begins that comes again."""
    end = datetime(year, 12, 31, 23, 59)  # noqa: DTZ001 -- local, naive
    found: set[date] = set()
    for moment in rule.since(datetime(year, 1, 1)):  # noqa: DTZ001 -- as above
        if moment > end:
            break
        found.add(moment.date())
    return frozenset(found)


def _span(event: Any) -> tuple[date, int]:
    """Return the first local day of an event, and how many days it lasts."""
    begin, end = event["DTSTART"].dt, event["DTEND"].dt if "DTEND" in event else None
    first = _day(begin)
    if end is None:
        return first, 1
    last = _day(end) if isinstance(end, datetime) and end.time() != time() else _day(end) - DAY
    return first, min(max((last - first).days + 1, 1), LONGEST)


def _day(moment: date) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _days(begin: date, length: int) -> Iterator[date]:
    return (begin + number * DAY for number in range(length))
