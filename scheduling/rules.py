"""Converts a schedule's rule between JSON, the rows of django-celery-beat, and English."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils.timezone import localtime
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from scheduling.rule_documents import (
    WRAPPING,
    Rule,
    cron_fields,
    is_plain,
    length_of,
    moment_of,
    zone_of,
)
from scheduling.schedule_rows import RuleRow

STAND_IN = {"minute": "0", "hour": "0"}
"""The crontab row of a rule that no row can hold: daily at midnight."""
PERIODS = (
    (timedelta(days=1), IntervalSchedule.DAYS),
    (timedelta(hours=1), IntervalSchedule.HOURS),
    (timedelta(minutes=1), IntervalSchedule.MINUTES),
    (timedelta(seconds=1), IntervalSchedule.SECONDS),
    (timedelta(microseconds=1), IntervalSchedule.MICROSECONDS),
)


def row_of(rule: Rule) -> RuleRow:
    """Make the row of a rule, without saving it. Raises ``InvalidJob``."""
    if ("cron" in rule or "rrule" in rule) and not is_plain(
        {k: rule[k] for k in rule if k not in WRAPPING}
    ):
        return CrontabSchedule(**STAND_IN, timezone=zone_of(rule))
    kind = next(kind for kind in _ROWS if kind in rule)
    return _ROWS[kind](rule)


def own_of(rule: Rule, row: RuleRow) -> dict[str, Any] | None:
    """Return what is kept of a rule beside the row that stands for it; ``None`` of a plain one."""
    return None if is_plain(rule) else {"rule": rule, "beside": _RULES[type(row)](row)}


def own_rule(task: PeriodicTask, own: dict[str, Any] | None) -> Rule | None:
    """Return the rule that a task's row only stands for.

    ``None`` if there is none, or somebody has changed the row since.
    """
    if own is None or own["beside"] != rule_of(task):
        return None
    rule: Rule = own["rule"]
    return rule


def keep(row: RuleRow) -> RuleRow:
    """Find a saved row with these values, of which there may be several, or save this one.

    Raises ``ValidationError`` for values that the row's fields refuse.
    """
    columns = row._meta.concrete_fields[1:]
    values = {column.attname: getattr(row, column.attname) for column in columns}
    twin = type(row)._default_manager.filter(**values).first()  # noqa: SLF001 -- Django's name
    if twin is not None:
        return twin
    row.full_clean()
    row.save()
    return row


def field_of(row: RuleRow) -> str:
    """Return the field of a ``PeriodicTask`` that holds such a row."""
    return _FIELDS[type(row)]


def rule_of(task: PeriodicTask) -> Rule:
    """Write down the rule of a task; empty if it has none."""
    row = row_in(task)
    return _RULES[type(row)](row) if row is not None else {}


def row_in(task: PeriodicTask) -> RuleRow | None:
    """Return the row that says when a task is due."""
    row: RuleRow | None = task.scheduler
    return row


def words(row: RuleRow) -> str:
    """Say a rule in English, e.g. ``At 09:00 AM, only on Monday Europe/Rome``."""
    if isinstance(row, CrontabSchedule):
        return str(row.human_readable)
    if isinstance(row, ClockedSchedule):
        return f"Once, on {localtime(row.clocked_time):%a %d %b %Y at %H:%M:%S %Z}"
    text = str(row)
    return text[:1].upper() + text[1:]


def document_words(rule: Rule) -> str:
    """Say a rule that no row can hold: as it was written, with what leaves out or moves times."""
    kind = next(kind for kind in ("cron", "rrule", "every", "at", "solar") if kind in rule)
    text = f"Every {rule[kind]} seconds" if kind == "every" else str(rule[kind])
    zone = rule.get("timezone", "UTC")
    others = [f"{key}: {_text(rule[key])}" for key in rule if key not in (kind, "timezone")]
    return "; ".join([f"{text} {zone}", *others])


def _text(value: Any) -> str:
    return " to ".join(value) if isinstance(value, list) else str(value)


def _crontab(rule: Rule) -> CrontabSchedule:
    fields = cron_fields(rule)
    names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    return CrontabSchedule(**dict(zip(names, fields, strict=True)), timezone=zone_of(rule))


def _interval(rule: Rule) -> IntervalSchedule:
    length = length_of(rule)
    unit, period = next((unit, name) for unit, name in PERIODS if not length % unit)
    return IntervalSchedule(every=length // unit, period=period)


def _clocked(rule: Rule) -> ClockedSchedule:
    return ClockedSchedule(clocked_time=moment_of(rule["at"], field="schedule.at"))


def _solar(rule: Rule) -> SolarSchedule:
    return SolarSchedule(
        event=rule["solar"], latitude=str(rule["latitude"]), longitude=str(rule["longitude"])
    )


_ROWS: dict[str, Callable[[Rule], RuleRow]] = {
    "cron": _crontab,
    "every": _interval,
    "at": _clocked,
    "solar": _solar,
}
_FIELDS: dict[type[RuleRow], str] = {
    CrontabSchedule: "crontab",
    IntervalSchedule: "interval",
    ClockedSchedule: "clocked",
    SolarSchedule: "solar",
}
KINDS = tuple(_FIELDS.values())
"""The fields of a ``PeriodicTask`` of which one has its rule."""
_RULES: dict[type[RuleRow], Callable[[Any], Rule]] = {
    CrontabSchedule: lambda row: {
        "cron": f"{row.minute} {row.hour} {row.day_of_month} {row.month_of_year} {row.day_of_week}",
        "timezone": str(row.timezone),
    },
    IntervalSchedule: lambda row: {"every": row.schedule.run_every.total_seconds()},
    ClockedSchedule: lambda row: {"at": row.clocked_time.isoformat()},
    SolarSchedule: lambda row: {
        "solar": row.event,
        "latitude": float(row.latitude),
        "longitude": float(row.longitude),
    },
}
