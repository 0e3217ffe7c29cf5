"""When a ``PeriodicTask`` is due: its rule, start, expiry and jitter read as one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import Any

from celery.exceptions import ImproperlyConfigured
from celery.schedules import ParseException, crontab
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
)

from scheduling import recurrence
from scheduling.recurrence import ImpossibleScheduleError, Recurrence

RuleRow = Any  # IntervalSchedule, CrontabSchedule, ClockedSchedule or SolarSchedule: all untyped

INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Timetable:
    """The due times of one schedule: those of ``rule`` from ``start`` to ``expires``."""

    rule: Recurrence
    start: datetime | None = None
    expires: datetime | None = None
    jitter: timedelta = timedelta(0)
    jitter_share: float = 0.0

    def after(self, moment: datetime) -> datetime | None:
        """Give the first nominal due time after ``moment``; ``None`` if there is none."""
        due = self.rule.after(self._not_before_start(moment))
        return None if due is None or self._is_past(due) else due

    def fire_time(self, due: datetime) -> datetime:
        """Give the moment at which a due time fires: its jitter later."""
        return due + self.delay(due)

    def delay(self, due: datetime) -> timedelta:
        """Give the jitter of a due time: constant, and below the gap to the next one."""
        if not self.jitter:
            return timedelta(0)
        following = self.rule.after(due)
        room = min(self.jitter, following - due) if following else self.jitter
        return room * self.jitter_share

    def newest(self, after: datetime, until: datetime, count: int) -> list[datetime]:
        """Give the newest ``count`` nominal due times in ``(after, until]``, oldest first."""
        end = min(until, self.expires) if self.expires else until
        return recurrence.newest(self.rule, self._not_before_start(after), end, count)

    def upcoming(self, after: datetime, count: int) -> list[datetime]:
        """Give the next ``count`` nominal due times."""
        due = recurrence.upcoming(self.rule, self._not_before_start(after), count)
        return [moment for moment in due if not self._is_past(moment)]

    def is_over(self, now: datetime) -> bool:
        """Tell whether nothing can be due any more."""
        return self._is_past(now)

    def _not_before_start(self, moment: datetime) -> datetime:
        return max(moment, self.start - INSTANT) if self.start else moment

    def _is_past(self, moment: datetime) -> bool:
        return self.expires is not None and moment > self.expires


def timetable_of(task: PeriodicTask, *, origin: datetime, jitter_seconds: int = 0) -> Timetable:
    """Read a task's timetable. Intervals count from ``origin``, or from the start if it has one.

    Raises ``ImpossibleScheduleError`` for a rule that is missing, unreadable or never due.
    """
    return Timetable(
        rule=_rule_of(task, task.start_time or origin),
        start=task.start_time,
        expires=task.expires,
        jitter=timedelta(seconds=jitter_seconds),
        jitter_share=_share(task.pk) if jitter_seconds else 0.0,
    )


def rule_text(task: PeriodicTask) -> str:
    """Give a task's rule as text; two rules with one text are due at the same times."""
    rule = task.interval or task.crontab or task.solar or task.clocked
    columns = [] if rule is None else rule._meta.concrete_fields[1:]
    words = [type(rule).__name__, *(str(getattr(rule, column.attname)) for column in columns)]
    if task.start_time:
        words.append(f"from {task.start_time.isoformat()}")
    return " ".join(words)


def recurrence_of(rule: RuleRow, origin: datetime) -> Recurrence:
    """Read the row of a rule, saved or not; an interval counts from ``origin``.

    Raises ``ImpossibleScheduleError`` for a rule that is unreadable or never due.
    """
    try:
        if isinstance(rule, IntervalSchedule):
            return recurrence.Interval(timedelta(**{rule.period: rule.every}), origin)
        if isinstance(rule, CrontabSchedule):
            return _crontab(rule)
        if isinstance(rule, ClockedSchedule):
            return recurrence.Once(rule.clocked_time)
        return _solar(rule.event, float(rule.latitude), float(rule.longitude))
    except (ValueError, TypeError, OverflowError, ParseException, ImproperlyConfigured) as error:
        raise ImpossibleScheduleError(str(error)) from error


def shortest_gap(rule: RuleRow, among: int = 10) -> timedelta | None:
    """Give the shortest time between two of a rule's next due times; ``None`` if there is none.

    Raises ``ImpossibleScheduleError`` for a rule that is unreadable or never due.
    """
    now = datetime.now(UTC)
    due = recurrence.upcoming(recurrence_of(rule, now), now, among)
    return min((later - earlier for earlier, later in pairwise(due)), default=None)


def _rule_of(task: PeriodicTask, origin: datetime) -> Recurrence:
    rule = task.interval or task.crontab or task.clocked or task.solar
    if rule is None:
        raise ImpossibleScheduleError("It has no interval, crontab, clocked or solar schedule.")
    return recurrence_of(rule, origin)


def _crontab(row: CrontabSchedule) -> recurrence.Crontab:
    return _parse(
        (row.minute, row.hour, row.day_of_week, row.day_of_month, row.month_of_year), row.timezone
    )


@lru_cache(maxsize=4096)
def _parse(fields: Sequence[str], zone: tzinfo) -> recurrence.Crontab:
    return recurrence.Crontab.from_celery(crontab(*fields), zone)


@lru_cache(maxsize=256)
def _solar(event: str, latitude: float, longitude: float) -> recurrence.Solar:
    return recurrence.Solar(event, latitude, longitude)


def _share(pk: int) -> float:
    """Give a schedule's own constant share of a jitter, in [0, 1)."""
    digest = hashlib.blake2b(str(pk).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
