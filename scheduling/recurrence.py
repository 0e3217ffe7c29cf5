"""When a rule is due next. Pure: no clock, no database; all moments are aware, results are UTC.

Rules for a zone's clock changes:

- A local time that a spring change skips is due once, right after the gap.
- A local time that autumn repeats is due once, the first time round, for rules that name hours;
  each time round for rules that run in every hour.

Days follow Celery's crontab: day of month *and* day of week *and* month must match.
"""

import calendar
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cached_property
from itertools import pairwise
from typing import Protocol

from celery import schedules

HORIZON_YEARS = 41  # 29 February on a given weekday can be 40 years away (2072 to 2112)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
LONGEST_CHANGE = timedelta(hours=3)  # no zone has moved its clock further since 2000


class ImpossibleSchedule(ValueError):
    """A rule that is never due or cannot be read; the message says why, ``field`` names its key."""

    def __init__(self, message: str = "", *, field: str = "schedule") -> None:
        super().__init__(message)
        self.field = field


class RuleEnded(ImpossibleSchedule):
    """A rule that was due once and never will be again."""


class Recurrence(Protocol):
    """A rule that says when something is due."""

    def after(self, moment: datetime) -> datetime | None:
        """Return the first due time strictly after ``moment``; ``None`` if there is none."""
        ...


@dataclass(frozen=True)
class Interval:
    """Due at ``origin``, and every ``period`` before and after it. Elapsed time: no zone."""

    period: timedelta
    origin: datetime

    def __post_init__(self) -> None:
        if self.period <= timedelta(0):
            raise ImpossibleSchedule(f"The interval {self.period} is not above zero.")

    def after(self, moment: datetime) -> datetime:
        """Return the first due time after ``moment``; ``None`` if there is none."""
        periods = (moment - self.origin) // self.period + 1
        return (self.origin + periods * self.period).astimezone(UTC)

    def last(self, moment: datetime) -> datetime:
        """Return the last due time that is not after ``moment``."""
        periods = (moment - self.origin) // self.period
        return (self.origin + periods * self.period).astimezone(UTC)


@dataclass(frozen=True)
class Once:
    """Due once."""

    at: datetime

    def after(self, moment: datetime) -> datetime | None:
        """Return the first due time after ``moment``; ``None`` if there is none."""
        return self.at.astimezone(UTC) if self.at > moment else None


@dataclass(frozen=True)
class Solar:
    """Due at an event of the sun, e.g. ``sunset``, at a place.

    An event that comes within a second of ``moment`` counts as that moment: computed from another
    moment the same event differs by up to a tenth of a second, and must not be due twice.
    """

    event: str
    latitude: float
    longitude: float

    def after(self, moment: datetime) -> datetime:
        """Ask Celery's solar schedule, as seen from a second after ``moment``.

        Raises ``ImpossibleSchedule`` for an event or a place that there is not.
        """
        seen_from = moment + SECOND
        try:
            rule = schedules.solar(
                self.event, self.latitude, self.longitude, nowfun=lambda: seen_from
            )
            due: datetime = seen_from + rule.remaining_estimate(seen_from)
        except (ValueError, TypeError, OverflowError, RuntimeError) as error:
            raise ImpossibleSchedule(str(error)) from error
        return due.astimezone(UTC)


class LocalRule(ABC):
    """Due at local times in ``zone``; the rules for a zone's clock changes are here."""

    zone: tzinfo

    def after(self, moment: datetime) -> datetime | None:
        """Return the first due time after ``moment``; ``None`` if there is none."""
        local = moment.astimezone(self.zone).replace(tzinfo=None, microsecond=0)
        if self._runs_every_hour and self._clock_changes_near(moment):
            # A repeated hour comes round again: look back over it.
            return self._first_instant(local - LONGEST_CHANGE, moment)
        return self._first_instant(local, moment)

    @property
    @abstractmethod
    def _runs_every_hour(self) -> bool: ...

    @abstractmethod
    def _local_times(self, start: datetime) -> Iterator[datetime]:
        """Return matching local times, naive and in order, from ``start`` on."""

    def _clock_changes_near(self, moment: datetime) -> bool:
        offsets = {
            (moment + shift).astimezone(self.zone).utcoffset()
            for shift in (-LONGEST_CHANGE, LONGEST_CHANGE)
        }
        return len(offsets) > 1

    def _first_instant(self, local: datetime, moment: datetime) -> datetime | None:
        """Return the first instant after ``moment``, looking at local times from ``local`` on."""
        repeated: datetime | None = None
        for candidate in self._local_times(local):
            first, second = self._instants(candidate)
            if first > moment:
                return min(first, repeated) if repeated else first
            if second > moment and self._runs_every_hour:
                repeated = min(second, repeated) if repeated else second
        return repeated

    def _instants(self, local: datetime) -> tuple[datetime, datetime]:
        """Return the instants at which the clock shows ``local``: equal, unless it is repeated."""
        early = local.replace(tzinfo=self.zone, fold=0)
        late = local.replace(tzinfo=self.zone, fold=1)
        first = early.astimezone(UTC)
        if early.utcoffset() == late.utcoffset():
            return first, first
        second = late.astimezone(UTC)
        if first < second:
            return first, second
        end_of_gap = self._end_of_gap(second, first)
        return end_of_gap, end_of_gap

    def _end_of_gap(self, before: datetime, beyond: datetime) -> datetime:
        """Find the change between two instants, to the minute."""
        offset = before.astimezone(self.zone).utcoffset()
        while beyond - before > MINUTE:
            middle = before + (beyond - before) // MINUTE // 2 * MINUTE
            if middle.astimezone(self.zone).utcoffset() == offset:
                before = middle
            else:
                beyond = middle
        return beyond


@dataclass(frozen=True)
class Crontab(LocalRule):
    """Due at each local time in ``zone`` that matches all five sets (Sunday is 0)."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days_of_month: frozenset[int]
    months: frozenset[int]
    days_of_week: frozenset[int]
    zone: tzinfo

    @classmethod
    def from_celery(cls, rule: schedules.crontab, zone: tzinfo) -> "Crontab":
        """Take the sets that Celery's own parser found."""
        return cls(
            minutes=frozenset(rule.minute),
            hours=frozenset(rule.hour),
            days_of_month=frozenset(rule.day_of_month),
            months=frozenset(rule.month_of_year),
            days_of_week=frozenset(rule.day_of_week),
            zone=zone,
        )

    @cached_property
    def _runs_every_hour(self) -> bool:
        return len(self.hours) == 24

    @cached_property
    def _times_of_day(self) -> tuple[time, ...]:
        return tuple(
            time(hour, minute) for hour in sorted(self.hours) for minute in sorted(self.minutes)
        )

    def _local_times(self, start: datetime) -> Iterator[datetime]:
        """Return matching local times from ``start`` on."""
        for day in self._days(start.date()):
            times = self._times_of_day
            if day == start.date():
                times = times[bisect_left(times, start.time()) :]
            for time_of_day in times:
                yield datetime.combine(day, time_of_day)

    def _days(self, start: date) -> Iterator[date]:
        for year in range(start.year, start.year + HORIZON_YEARS):
            for month in sorted(self.months):
                if (year, month) >= (start.year, start.month):
                    yield from self._days_of(year, month, start)

    def _days_of(self, year: int, month: int, start: date) -> Iterator[date]:
        _, length = calendar.monthrange(year, month)
        for number in sorted(self.days_of_month):
            if number > length:
                return
            day = date(year, month, number)
            if day >= start and day.isoweekday() % 7 in self.days_of_week:
                yield day


def latest(rule: Recurrence, after: datetime, until: datetime) -> datetime | None:
    """Return the last due time in ``(after, until]``, in about log2(seconds between) steps."""
    due = rule.after(after)
    if due is None or due > until:
        return None
    nothing_due_after = until
    while following := rule.after(due):
        if following > until:
            break
        due = following
        middle = due + (nothing_due_after - due) / 2
        leap = rule.after(middle)
        if leap is not None and leap <= until:
            due = leap
        else:
            nothing_due_after = middle
    return due


def newest(rule: Recurrence, after: datetime, until: datetime, count: int) -> list[datetime]:
    """Return the newest ``count`` due times in ``(after, until]``, oldest first."""
    dues: list[datetime] = []
    end = until
    while len(dues) < count and (due := latest(rule, after, end)):
        dues.append(due)
        end = due - timedelta(microseconds=1)
    return dues[::-1]


def upcoming(rule: Recurrence, after: datetime, count: int) -> list[datetime]:
    """Return the next ``count`` due times after ``after``."""
    dues: list[datetime] = []
    moment = after
    while len(dues) < count and (due := rule.after(moment)):
        dues.append(due)
        moment = due
    return dues


def shortest_gap(rule: Recurrence, after: datetime, among: int = 10) -> timedelta | None:
    """Return the shortest time between two of a rule's next due times; ``None``: there is none."""
    due = upcoming(rule, after, among)
    return min((later - earlier for earlier, later in pairwise(due)), default=None)
