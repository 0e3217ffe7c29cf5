"""What an RRULE of RFC 5545 is due at, in local time, found in a bounded number of steps. Pure.

dateutil looks for the next occurrence until the year 9999, which can take it hours, and for ever
with an INTERVAL of 0. Here INTERVAL is checked before dateutil reads it, the search begins near the
moment that is asked for, and its steps are counted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import NoReturn

from dateutil import parser
from dateutil.rrule import DAILY, HOURLY, MINUTELY, MONTHLY, WEEKLY, rrule, rrulestr

from scheduling.recurrence import ImpossibleSchedule

FIELD = "schedule.rrule"
MOST_STEPS = 100_000
"""Steps of dateutil's and occurrences that one search may take: about a second."""
LARGEST_INTERVAL = 1_000_000
LARGEST_COUNT = 10_000
LONGEST = 1000
"""Characters of a rule."""
MOST_POSITIONS = 12
"""Positions in BYSETPOS: dateutil walks a whole period for each."""
PART = re.compile(r"(?:^|[;:\s])(INTERVAL|COUNT|BYSETPOS|BYSECOND)=([^;\s]*)")
UNTIL = re.compile(r"(?:^|[;:\s])UNTIL=([^;\s]*)")
LAST_LOCAL = datetime.max  # noqa: DTZ901 -- local, naive
FURTHEST_AHEAD = timedelta(days=1)
"""No zone's local time is further ahead of UTC."""
LENGTHS = {
    WEEKLY: timedelta(weeks=1),
    DAILY: timedelta(days=1),
    HOURLY: timedelta(hours=1),
    MINUTELY: timedelta(minutes=1),
}


class Steps(int):
    """An INTERVAL that counts how often dateutil adds it; raises ``ImpossibleSchedule``."""

    left = MOST_STEPS

    def __radd__(self, other: int) -> int:
        self.spend()
        return other + int(self)

    def __mul__(self, other: int) -> int:
        self.spend()
        return int(self) * other

    def spend(self) -> None:
        """Count one step."""
        self.left -= 1
        if self.left < 0:
            raise ImpossibleSchedule(
                "The RRULE is never due, or finding out when takes too many steps.", field=FIELD
            )


@dataclass(frozen=True)
class Occurrences:
    """The occurrences of an RRULE that counts from ``begin``, a local time.

    An UNTIL that is a moment bounds them loosely: who knows the zone leaves out what is due later.

    Raises ``ImpossibleSchedule`` for one that cannot be read, or that is due each second.
    """

    text: str
    begin: datetime

    def __post_init__(self) -> None:
        text = self.text.upper()
        if "DTSTART" in text:
            _refuse("An RRULE begins at the job's start: leave DTSTART out.")
        if len(text) > LONGEST:
            _refuse(f"An RRULE has {LONGEST} characters at most.")
        parts = {name: values.split(",") for name, values in PART.findall(text)}
        _refuse_outside("INTERVAL", parts.get("INTERVAL", ["1"]), LARGEST_INTERVAL)
        _refuse_outside("COUNT", parts.get("COUNT", ["1"]), LARGEST_COUNT)
        if len(parts.get("BYSETPOS", [])) > MOST_POSITIONS:
            _refuse(f"BYSETPOS has {MOST_POSITIONS} positions at most.")
        if self.frequency > MINUTELY or len(parts.get("BYSECOND", [])) > 1:
            _refuse("An RRULE is due once a minute at most.")

    @property
    def frequency(self) -> int:
        """Return dateutil's number for FREQ."""
        return int(self._parsed._freq)  # type: ignore[attr-defined]  # noqa: SLF001 -- there is no public name

    @cached_property
    def until(self) -> datetime | None:
        """Return the UNTIL that is a moment, in UTC; None: there is none, or it is a local time.

        RFC 5545, 3.3.10, asks for UTC where the begin has a zone.
        """
        values = UNTIL.findall(self.text.upper())
        try:
            until = parser.parse(values[-1]) if values else None
            return until.astimezone(UTC) if until is not None and until.tzinfo else None
        except (ValueError, OverflowError) as error:
            raise ImpossibleSchedule(f"The RRULE {self.text!r}: {error}.", field=FIELD) from error

    def since(self, start: datetime) -> Iterator[datetime]:
        """Return the occurrences from ``start`` on, in order.

        Raises ``ImpossibleSchedule`` if the next takes too many steps.
        """
        steps = Steps(self._interval)
        rule = self._parsed.replace(dtstart=self._near(start), interval=steps)
        try:
            for moment in rule:
                steps.spend()
                if moment >= start:
                    yield moment
        except ImpossibleSchedule:
            raise
        except (ValueError, TypeError, OverflowError) as error:  # dateutil's: an empty rule
            raise ImpossibleSchedule(f"The RRULE {self.text!r}: {error}.", field=FIELD) from error

    @cached_property
    def _interval(self) -> int:
        return int(self._parsed._interval)  # type: ignore[attr-defined]  # noqa: SLF001 -- as above

    @cached_property
    def _parsed(self) -> rrule:
        try:
            parsed = rrulestr(self.text, dtstart=self.begin, ignoretz=True)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise ImpossibleSchedule(f"The RRULE {self.text!r}: {error}.", field=FIELD) from error
        if not isinstance(parsed, rrule):
            _refuse("It must be one RRULE.")
        if self.until is None:
            return parsed
        until = self.until.replace(tzinfo=None)
        return parsed.replace(until=until + min(FURTHEST_AHEAD, LAST_LOCAL - until))

    def _near(self, start: datetime) -> datetime:
        """Return where a search may begin: whole periods after ``begin``, and before ``start``."""
        begin, frequency = self.begin, self.frequency
        is_counted = self._parsed._count is not None  # type: ignore[attr-defined]  # noqa: SLF001 -- as above
        if is_counted or start <= begin:
            return begin
        if frequency in LENGTHS:
            period = LENGTHS[frequency] * self._interval
            return begin + max((start - begin) // period - 1, 0) * period
        if begin.day > 28:  # not in each month
            return begin
        period_months = self._interval * (1 if frequency == MONTHLY else 12)
        first = begin.year * 12 + begin.month - 1
        passed = start.year * 12 + start.month - 1 - first
        months = first + max(passed // period_months - 1, 0) * period_months
        return begin.replace(year=months // 12, month=months % 12 + 1)


def _refuse_outside(name: str, values: list[str], largest: int) -> None:
    for value in values:
        if not (value.isascii() and value.isdigit() and 1 <= int(value) <= largest):
            _refuse(f"{name} is a whole number from 1 to {largest}, not {value!r}.")


def _refuse(text: str) -> NoReturn:
    raise ImpossibleSchedule(text, field=FIELD)
