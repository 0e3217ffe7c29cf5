"""A job as the API shows it: the definition that would make it, and how it stands."""

import json
from collections.abc import Callable
from typing import Any

from django_celery_beat.models import PeriodicTask

from scheduling.job_storage import POLICY_FIELDS, TASK_FIELDS
from scheduling.models import Schedule


def definition_of(task: PeriodicTask) -> dict[str, Any]:
    """Write the definition of a job down, without what is as it would be anyway."""
    policy = Schedule.objects.filter(pk=task.pk).first()
    definition = {"name": task.name, "schedule": _rule(task), "enabled": task.enabled}
    for fields, row in ((TASK_FIELDS, task), (POLICY_FIELDS, policy)):
        for key, (column, default) in fields.items():
            value = _plain(column, getattr(row, column, default))
            if value != default:
                definition[key] = value
    return definition


def _rule(task: PeriodicTask) -> dict[str, Any]:
    """Name the rule that says when."""
    return next(
        (write(row) for name, write in _RULES.items() if (row := getattr(task, name)) is not None),
        {},
    )


def _plain(column: str, value: Any) -> Any:
    if column in ("args", "kwargs"):
        return json.loads(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


_RULES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "crontab": lambda row: {
        "cron": f"{row.minute} {row.hour} {row.day_of_month} {row.month_of_year} {row.day_of_week}",
        "timezone": str(row.timezone),
    },
    "interval": lambda row: {"every": row.schedule.run_every.total_seconds()},
    "clocked": lambda row: {"at": row.clocked_time.isoformat()},
    "solar": lambda row: {
        "solar": row.event,
        "latitude": float(row.latitude),
        "longitude": float(row.longitude),
    },
}
