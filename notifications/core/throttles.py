"""Throttles: which of a recipient's notifications go now, as a value.

Periods follow each other from the first notification on, or are days of the calendar. Each has
``limit`` places.
"""

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo


class Rest(StrEnum):
    """What becomes of those that find no place."""

    WAIT = "wait"  # for the next period that has a place
    DROP = "drop"
    DIGEST = "digest"  # together, when the period ends


class Use(NamedTuple):
    """The places that were given since a period's begin."""

    since: datetime
    used: int


class Place(NamedTuple):
    """When a notification goes: None for now. Without a place it is for the rest."""

    due_at: datetime | None
    is_free: bool


class Period(Protocol):
    """How the periods of a throttle follow each other."""

    def passed(self, since: datetime, now: datetime) -> int:
        """Return how many whole periods have passed since one that began, or was first used."""

    def begin(self, since: datetime, number: int) -> datetime:
        """Return when the period that is so many after it begins."""


class Duration(NamedTuple):
    """So many seconds, counted from the first that they get."""

    seconds: float

    def passed(self, since: datetime, now: datetime) -> int:
        return max(int((now - since).total_seconds() // self.seconds), 0)

    def begin(self, since: datetime, number: int) -> datetime:
        return since + timedelta(seconds=self.seconds * number)


class LocalDay(NamedTuple):
    """A day of the calendar where the recipient is."""

    zone: ZoneInfo

    def passed(self, since: datetime, now: datetime) -> int:
        return max((self._day(now) - self._day(since)).days, 0)

    def begin(self, since: datetime, number: int) -> datetime:
        if not number:
            return since
        day = self._day(since) + timedelta(days=number)
        # Where the clock skips midnight, it is the moment right after the gap.
        return datetime.combine(day, time(), self.zone).astimezone(UTC)

    def _day(self, moment: datetime) -> date:
        return moment.astimezone(self.zone).date()


def current(use: Use, now: datetime, *, limit: int, period: Period) -> Use:
    """Return the use of the period that it is now."""
    if use.used <= 0:
        return Use(now, 0)
    whole = period.passed(use.since, now)
    used = use.used - limit * whole
    if used <= 0:
        return Use(now, 0)
    return Use(period.begin(use.since, whole), used)


def take(
    use: Use, now: datetime, count: int, *, limit: int, period: Period, rest: str
) -> tuple[Use, list[Place]]:
    """Give places to ``count`` notifications; return the use then, and a place for each."""
    since, used = current(use, now, limit=limit, period=period)
    ends = period.begin(since, 1)
    places = []
    for _ in range(count):
        if used < limit:
            places.append(Place(None, is_free=True))
            used += 1
        elif rest == Rest.WAIT:
            places.append(Place(period.begin(since, used // limit), is_free=False))
            used += 1
        else:
            places.append(Place(ends, is_free=False))
    return Use(since, used), places


def until(use: Use, *, limit: int, period: Period) -> datetime:
    """Return when all places that were given are past."""
    return period.begin(use.since, 1 + max(use.used - 1, 0) // limit)
