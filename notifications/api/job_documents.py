"""A job as the API shows it: the definition that would make it, and how it stands."""

import json
from typing import Any

from django_celery_beat.models import PeriodicTask

from scheduling import rules
from scheduling.job_storage import POLICY_FIELDS, TASK_FIELDS
from scheduling.models import Schedule


def definition_of(task: PeriodicTask) -> dict[str, Any]:
    """Write the definition of a job down, without what is as it would be anyway."""
    policy = Schedule.objects.filter(pk=task.pk).first()
    definition = {"name": task.name, "schedule": rules.rule_of(task), "enabled": task.enabled}
    for fields, row in ((TASK_FIELDS, task), (POLICY_FIELDS, policy)):
        for key, (column, default) in fields.items():
            value = _plain(column, getattr(row, column, default))
            if value != default:
                definition[key] = value
    return definition


def _plain(column: str, value: Any) -> Any:
    if column in ("args", "kwargs"):
        return json.loads(value)
    return value.isoformat() if hasattr(value, "isoformat") else value
