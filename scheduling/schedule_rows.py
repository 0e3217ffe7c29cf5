"""The timetable of a ``PeriodicTask``, read from django-celery-beat's rows."""

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
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
from scheduling.recurrence import ImpossibleSchedule, Recurrence
from scheduling.rule_documents import Rule
from scheduling.rule_documents import recurrence_of as recurrence_of_rule
from scheduling.timetable import Timetable, share_of

RuleRow = Any  # IntervalSchedule, CrontabSchedule, ClockedSchedule or SolarSchedule: all untyped


def timetable_of(
    task: PeriodicTask, *, origin: datetime, jitter_seconds: int = 0, rule: Rule | None = None
) -> Timetable:
    """Read a task's timetable. Intervals count from ``origin``, or from the start if it has one.

    ``rule`` is one that its row only stands for.

    Raises ``ImpossibleSchedule`` for a rule that is missing, unreadable or never due.
    """
    origin = task.start_time or origin
    return Timetable(
        rule=_rule_of(task, origin) if rule is None else recurrence_of_rule(rule, origin),
        start=task.start_time,
        expires=task.expires,
        jitter=timedelta(seconds=jitter_seconds),
        jitter_share=share_of(task.pk) if jitter_seconds else 0.0,
    )


def rule_text(task: PeriodicTask) -> str:
    """Return a task's rule as text; two rules with one text are due at the same times."""
    rule = task.interval or task.crontab or task.solar or task.clocked
    columns = [] if rule is None else rule._meta.concrete_fields[1:]
    words = [type(rule).__name__, *(str(getattr(rule, column.attname)) for column in columns)]
    if task.start_time:
        words.append(f"from {task.start_time.isoformat()}")
    return " ".join(words)


def recurrence_of(rule: RuleRow, origin: datetime) -> Recurrence:
    """Read the row of a rule, saved or not; an interval counts from ``origin``.

    Raises ``ImpossibleSchedule`` for a rule that is unreadable or never due.
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
        raise ImpossibleSchedule(str(error)) from error


def _rule_of(task: PeriodicTask, origin: datetime) -> Recurrence:
    rule = task.interval or task.crontab or task.clocked or task.solar
    if rule is None:
        raise ImpossibleSchedule("It has no interval, crontab, clocked or solar schedule.")
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
