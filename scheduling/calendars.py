"""Holidays of one's own: files of iCalendar (RFC 5545) in the folder ``SCHEDULING_CALENDARS``.

A day is a holiday that an event of the file lies on; see ``calendar_events``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

from scheduling import calendar_events, configuration
from scheduling.calendar_events import Series
from scheduling.recurrence import ImpossibleSchedule

LARGEST = 1_000_000
"""Bytes of a file."""


@dataclass(frozen=True)
class Calendar:
    """The holidays of a file: those of single days, and those that come again."""

    days: Mapping[date, str]
    again: tuple[Series, ...]

    def get(self, day: date) -> str | None:
        """Return the name of the holiday on a local day."""
        if day in self.days:
            return self.days[day]
        return next((series.name for series in self.again if series.covers(day)), None)


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
    try:
        days, series = calendar_events.read(path.read_bytes(), path.stem)
    except ImpossibleSchedule as error:
        raise ImpossibleSchedule(f"The calendar {path.stem!r}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = type(error).__name__
        raise ImpossibleSchedule(f"The calendar {path.stem!r} is not iCalendar ({why}).") from None
    return Calendar(days, tuple(series))
