"""Throttles: which of a recipient's notifications go now, as a value.

Periods follow each other from the first notification on, or are days of the calendar. Each has
``limit`` places. Several throttles may count the same notifications, each by its own periods.
"""

from collections.abc import Sequence
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
    """The places that were given since a period's begin.

    The places of the first ``passed`` periods count as used, too: some of them were passed over,
    as another throttle had none.
    """

    since: datetime
    used: int
    passed: int = 0


class Place(NamedTuple):
    """When a notification goes, None for now; and which throttle, by its index, holds it.

    Of several that have it wait it is the one that holds it longest. One that is held and does not
    wait is for the rest.
    """

    due_at: datetime | None
    held_by: int | None = None


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


class Terms(NamedTuple):
    """What a throttle says: so many in each period, and what becomes of the rest."""

    limit: int
    period: Period
    rest: str


def current(use: Use, now: datetime, *, limit: int, period: Period) -> Use:
    """Return the use of the period that it is now."""
    if use.used <= 0:
        return Use(now, 0)
    whole = period.passed(use.since, now)
    used = use.used - limit * whole
    if used <= 0:
        return Use(now, 0)
    return Use(period.begin(use.since, whole), used, max(use.passed - whole, 0))


def take(uses: Sequence[Use], now: datetime, terms: Sequence[Terms]) -> tuple[list[Use], Place]:
    """Count a notification in the periods of all throttles; return the new counts.

    It goes at the first moment at which all of those that have it wait have a place. Each counts it
    in the period of that moment, and passes over earlier places: those that come later go later,
    too. If another one has no place then, it is for the rest of that one, and nobody counts it.
    """
    known = [
        current(use, now, limit=t.limit, period=t.period)
        for use, t in zip(uses, terms, strict=True)
    ]
    both = list(zip(known, terms, strict=True))
    waits = {
        n: t.period.begin(use.since, use.used // t.limit)
        for n, (use, t) in enumerate(both)
        if t.rest == Rest.WAIT and use.used >= t.limit
    }
    goes_at = max([now, *waits.values()])
    periods = [t.period.passed(use.since, goes_at) for use, t in both]
    over = [
        n
        for n, (use, t) in enumerate(both)
        if t.rest != Rest.WAIT and use.used >= t.limit * (periods[n] + 1)
    ]
    if over:
        ends = {n: both[n][1].period.begin(both[n][0].since, periods[n] + 1) for n in over}
        held_by = max(over, key=lambda n: (terms[n].rest == Rest.DROP, ends[n]))
        return known, Place(ends[held_by], held_by)
    counted = [
        _with_one_more(use, t.limit, number) for (use, t), number in zip(both, periods, strict=True)
    ]
    if not waits:
        return counted, Place(None)
    # What is passed over holds nothing: another throttle does until then.
    begins = {
        n: max(now, both[n][1].period.begin(both[n][0].since, known[n].passed)) for n in waits
    }
    return counted, Place(goes_at, max(waits, key=lambda n: (waits[n] - begins[n], waits[n])))


def _with_one_more(use: Use, limit: int, number: int) -> Use:
    """Count one in the period of this number, and pass over the places that are left before."""
    if use.used < limit * number:
        return Use(use.since, limit * number + 1, number)
    return use._replace(used=use.used + 1)


def until(use: Use, *, limit: int, period: Period) -> datetime:
    """Return when all places that were given are past."""
    return period.begin(use.since, 1 + max(use.used - 1, 0) // limit)
