"""Keeps a job's definition in django-celery-beat's tables, and its policy beside them."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django_celery_beat.models import PeriodicTask

from scheduling import preview, rules
from scheduling.job_schema import InvalidJobError
from scheduling.models import Guarantee, Misfire, Overlap, Schedule
from scheduling.recurrence import ImpossibleScheduleError

Definition = dict[str, Any]
Fields = dict[str, tuple[str, Any]]

NO_RULE = {"interval": None, "crontab": None, "clocked": None, "solar": None}

# Key of a definition -> (field of the row, what an absent key means).
TASK_FIELDS: Fields = {
    "handler": ("task", None),
    "args": ("args", []),
    "kwargs": ("kwargs", {}),
    "description": ("description", ""),
    "start": ("start_time", None),
    "expires": ("expires", None),
    "one_off": ("one_off", False),
    "queue": ("queue", None),
    "priority": ("priority", None),
    "message_expires": ("expire_seconds", None),
}
POLICY_FIELDS: Fields = {
    "misfire": ("misfire", Misfire.LATEST),
    "misfire_cap": ("misfire_cap", 10),
    "grace": ("grace_seconds", None),
    "overlap": ("overlap", Overlap.ALLOW),
    "jitter": ("jitter_seconds", 0),
    "guarantee": ("guarantee", Guarantee.AT_LEAST_ONCE),
    "timeout": ("timeout_seconds", None),
    "retries": ("max_retries", 0),
    "retry_backoff": ("retry_backoff_seconds", 10),
    "catch_up_on_resume": ("catch_up_on_resume", False),
    "condition": ("condition", ""),
}


def store(
    definition: Definition, *, previous: Definition | None = None, by_code: bool = False
) -> PeriodicTask:
    """Create the job, or bring it in line with its definition, in one transaction.

    With ``previous`` only the keys that differ from it are written. Rows that are in line already
    are left alone. Raises ``InvalidJobError``.
    """
    keys = _keys_to_write(definition, previous)
    try:
        with transaction.atomic():
            task = _store_task(definition, keys)
            schedule, _ = Schedule.objects.get_or_create(periodic_task=task)
            values = _values(definition, POLICY_FIELDS, keys)
            if by_code:
                values["definition"] = definition
            _update(schedule, values)
            schedule.clean_fields()
            schedule.clean()
            preview.refuse_impossible(task)
    except (ValidationError, ImpossibleScheduleError) as error:
        raise InvalidJobError(f"{definition['name']}: {_text(error)}") from error
    return task


def _keys_to_write(definition: Definition, previous: Definition | None) -> set[str]:
    if previous is None:
        # A job that somebody paused stays paused, unless the definition says otherwise.
        return {*TASK_FIELDS, *POLICY_FIELDS, "schedule", *({"enabled"} & definition.keys())}
    keys = definition.keys() | previous.keys()
    return {key for key in keys if definition.get(key) != previous.get(key)}


def _store_task(definition: Definition, keys: set[str]) -> PeriodicTask:
    name = definition["name"]
    task = PeriodicTask.objects.select_for_update().filter(name=name).first()
    values = _values(definition, TASK_FIELDS, keys)
    if "enabled" in keys:
        values["enabled"] = definition.get("enabled", True)
    if "schedule" in keys:
        row = rules.keep(rules.row_of(definition["schedule"]))
        values |= NO_RULE | {rules.field_of(row): row}
    if "at" in definition["schedule"]:
        values["one_off"] = True
    if task is None:
        task = PeriodicTask(name=name, **values)
        task.save()
        return task
    _update(task, values)
    return task


def _values(definition: Definition, fields: Fields, keys: Iterable[str]) -> dict[str, Any]:
    """Give the row's values for the keys to be written."""
    return {
        field: _to_row(field, definition.get(key, default))
        for key, (field, default) in fields.items()
        if key in keys
    }


def _to_row(field: str, value: Any) -> Any:
    if field in {"args", "kwargs"}:
        return json.dumps(value)
    if field in {"start_time", "expires"} and value is not None:
        return rules.moment_of(value)
    return value


def _update(row: models.Model, values: Mapping[str, Any]) -> None:
    """Save a row if it differs from ``values``."""
    different = {field: value for field, value in values.items() if getattr(row, field) != value}
    for field, value in different.items():
        setattr(row, field, value)
    if isinstance(row, Schedule):
        row.save(update_fields=different)  # the other fields belong to the schedulers
    elif different:
        row.save()


def _text(error: Exception) -> str:
    """Say what is wrong, under the names that a definition has for the fields."""
    if not isinstance(error, ValidationError):
        return str(error)
    if not hasattr(error, "error_dict"):
        return "; ".join(error.messages)
    keys = {field: key for key, (field, _) in (TASK_FIELDS | POLICY_FIELDS).items()}
    return "; ".join(
        f"{keys.get(field, field)}: {' '.join(messages)}"
        for field, messages in error.message_dict.items()
    )
