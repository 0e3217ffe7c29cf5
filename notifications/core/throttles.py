"""Throttles: which of a recipient's notifications go now, as a value.

Periods follow each other from the first notification on. Each has ``limit`` places.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple


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


def current(use: Use, now: datetime, *, limit: int, period: float) -> Use:
    """Return the use of the period that it is now."""
    if use.used <= 0:
        return Use(now, 0)
    whole = int((now - use.since).total_seconds() // period)
    used = use.used - limit * max(whole, 0)
    if used <= 0:
        return Use(now, 0)
    return Use(use.since + timedelta(seconds=period * max(whole, 0)), used)


def take(
    use: Use, now: datetime, count: int, *, limit: int, period: float, rest: str
) -> tuple[Use, list[Place]]:
    """Give places to ``count`` notifications; return the use then, and a place for each."""
    since, used = current(use, now, limit=limit, period=period)
    ends = since + timedelta(seconds=period)
    places = []
    for _ in range(count):
        if used < limit:
            places.append(Place(None, is_free=True))
            used += 1
        elif rest == Rest.WAIT:
            later = since + timedelta(seconds=period * (used // limit))
            places.append(Place(later, is_free=False))
            used += 1
        else:
            places.append(Place(ends, is_free=False))
    return Use(since, used), places


def until(use: Use, *, limit: int, period: float) -> datetime:
    """Return when all places that were given are past."""
    return use.since + timedelta(seconds=period * (1 + max(use.used - 1, 0) // limit))
