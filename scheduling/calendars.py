"""Holidays of one's own: files of iCalendar (RFC 5545) in the folder ``SCHEDULING_CALENDARS``.

A day is a holiday that an event of the file lies on; see ``calendar_events``.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

from scheduling import calendar_events, configuration
from scheduling.calendar_events import Series
from scheduling.recurrence import ImpossibleSchedule

LARGEST = 1_000_000
"""Bytes of a file."""
DAY = timedelta(days=1)

Stamp = tuple[int, int]
"""When a file was changed, in nanoseconds, and its size in bytes."""


@dataclass(frozen=True)
class Calendar:
    """The holidays of a file: those of single days, and those that come again."""

    days: Mapping[date, str]
    again: tuple[Series, ...]

    @property
    def is_empty(self) -> bool:
        """Return whether no event of the file takes place, so that no day is a holiday."""
        return not self.days and not self.again

    def get(self, day: date) -> str | None:
        """Return the name of the holiday on a local day."""
        if day in self.days:
            return self.days[day]
        return next((series.name for series in self.again if series.covers(day)), None)

    def holidays(self, begin: date, days: int) -> list[tuple[date, str]]:
        """Return the holidays among the ``days`` days from ``begin`` on, with their names."""
        named = ((day, self.get(day)) for day in (begin + number * DAY for number in range(days)))
        return [(day, name) for day, name in named if name is not None]


_replaced: ContextVar[Mapping[str, Calendar]] = ContextVar("replaced", default={})  # noqa: B039 -- never changed in place


@contextmanager
def replaced(name: str, calendar: Calendar) -> Iterator[None]:
    """Have this thread read another calendar under a name while the block runs."""
    token = _replaced.set({**_replaced.get(), name: calendar})
    try:
        yield
    finally:
        _replaced.reset(token)


class Watch:
    """Notices the calendars whose files have changed since it looked last; at first all have."""

    def __init__(self) -> None:
        self._seen: dict[str, Stamp] = {}

    def look(self, told: Callable[[set[str]], object]) -> None:
        """Call ``told`` with the names of those that changed; where it raises, again next time."""
        current = stamps()
        changed = {name for name, stamp in current.items() if self._seen.get(name) != stamp}
        if changed:
            told(changed)
        self._seen = current


def stamps() -> dict[str, Stamp]:
    """Return the calendars that there are, each with its file's stamp; none without a folder."""
    folder = _folder()
    if folder is None:
        return {}
    by_name: dict[str, Stamp] = {}
    for path in sorted(folder.glob("*.ics")):
        try:
            seen = path.stat()
        except OSError:
            continue  # it went as the folder was read: there is no such calendar
        by_name[path.stem] = (seen.st_mtime_ns, seen.st_size)
    return by_name


def read(name: str) -> Calendar:
    """Return the calendar in the file ``NAME.ics``, as it is now.

    Raises ``ImpossibleSchedule`` if there is none, or it cannot be read.
    """
    if (other := _replaced.get().get(name)) is not None:
        return other
    folder = _folder()
    if folder is None:
        raise ImpossibleSchedule("SCHEDULING_CALENDARS names no folder of calendars.")
    path = folder / f"{name}.ics"
    try:
        stat = path.stat()
        if stat.st_size > LARGEST:
            raise ImpossibleSchedule(f"The calendar {name!r} is larger than {LARGEST} bytes.")
        return _read(path, stat.st_mtime_ns)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ImpossibleSchedule(f"The calendar {name!r} cannot be read: {why}.") from None


def parse(name: str, content: bytes) -> Calendar:
    """Read a calendar from the content of a file. Raises ``ImpossibleSchedule``."""
    if len(content) > LARGEST:
        raise ImpossibleSchedule(f"The calendar {name!r} is larger than {LARGEST} bytes.")
    try:
        days, series = calendar_events.read(content, name)
    except ImpossibleSchedule as error:
        raise ImpossibleSchedule(f"The calendar {name!r}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = type(error).__name__
        raise ImpossibleSchedule(f"The calendar {name!r} is not iCalendar ({why}).") from None
    return Calendar(days, tuple(series))


def _folder() -> Path | None:
    folder = str(configuration.read("SCHEDULING_CALENDARS", ""))
    return Path(folder) if folder else None


@lru_cache(maxsize=16)
def _read(path: Path, _changed: int) -> Calendar:
    return parse(path.stem, path.read_bytes())
