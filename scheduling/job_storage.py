"""Keeps a job's definition in django-celery-beat's tables, and its policy beside them."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC
from functools import partial
from hashlib import blake2b
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError, connection, models, transaction
from django_celery_beat.models import PeriodicTask

from scheduling import arguments, preview, rule_documents, rules, watch
from scheduling.clock import database_now
from scheduling.job_schema import InvalidJob, JobError, JobExists
from scheduling.message_rows import read_json
from scheduling.messages import MalformedMessage
from scheduling.models import Change, Guarantee, Misfire, Origin, Overlap, Schedule
from scheduling.recurrence import ImpossibleSchedule, RuleEnded
from scheduling.rule_documents import moment_of

Definition = dict[str, Any]
UNFIT = (
    *(ValidationError, ImpossibleSchedule, MalformedMessage, DataError),
    *(OverflowError, ValueError, TypeError),  # a moment or number that cannot be computed with
)
"""What a definition raises that fits the schema and cannot be kept all the same."""
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
    "retry": ("retry", None),
    "groups": ("groups", None),
    "concurrency": ("concurrency", 1),
    "concurrency_key": ("concurrency_key", ""),
    "unique_key": ("unique_key", ""),
    "unique_seconds": ("unique_seconds", None),
    "pause_after": ("pause_after", None),
    "catch_up_on_resume": ("catch_up_on_resume", False),
    "condition": ("condition", ""),
}


def store(
    definition: Definition,
    *,
    previous: Definition | None = None,
    origin: Origin = Origin.UNKNOWN,
    is_new: bool = False,
    namespace: str = "",
) -> PeriodicTask:
    """Create the job, or bring it in line with its definition, in one transaction.

    With ``previous`` only the keys that differ from it are written. Rows that are in line already
    are left alone. ``origin`` is noted, where it is known, ``namespace``, where the job is new.
    Raises ``InvalidJob``, of which ``InvalidArguments`` names the argument that the task
    would refuse, and ``JobExists`` if it shall be new.
    """
    return watch.past_brief(
        partial(
            _store,
            definition,
            previous=previous,
            origin=origin,
            is_new=is_new,
            namespace=namespace,
        )
    )


def _store(
    definition: Definition,
    *,
    previous: Definition | None,
    origin: Origin,
    is_new: bool,
    namespace: str,
) -> PeriodicTask:
    keys = _keys_to_write(definition, previous)
    own_values: dict[str, Any] = {"namespace": namespace} if is_new else {}
    if origin:
        own_values |= {"origin": origin, "undeclared_at": None}
    if origin == Origin.JOB:
        own_values["definition"] = definition
    try:
        if _calls_anew(definition):
            handler, kwargs = definition["handler"], definition.get("kwargs", {})
            arguments.check(handler, definition.get("args", []), kwargs)
        if "schedule" in keys:
            _look_for_due_time(definition)  # before anything is locked
        with transaction.atomic():
            _take_name(definition["name"], is_new=is_new)
            rule_documents.refuse_past(definition, _new_moments(definition, keys), database_now())
            is_resumed = _is_resumed(definition)
            may_have_ended = not is_resumed and _goes_on_as_it_was(definition)
            task = _store_task(definition, keys)
            _store_policy(task, definition, keys, own_values)
            read_json(task)
            _refuse_without_due_time(task, is_resumed=is_resumed, may_have_ended=may_have_ended)
    except JobError:
        raise
    except UNFIT as error:
        text = f"{definition['name']}: {_text(error)}"
        raise InvalidJob(text, field=_field_at_fault(error)) from error
    return task


def _store_policy(
    task: PeriodicTask, definition: Definition, keys: set[str], own_values: Mapping[str, Any]
) -> None:
    """Write the policy beside a task, with what no key of the definition says (``own_values``)."""
    schedule, _ = Schedule.objects.get_or_create(periodic_task=task)
    values = {**_values(definition, POLICY_FIELDS, keys), **own_values}
    if "schedule" in keys:
        values["recurrence"] = rules.own_of(definition["schedule"], rules.row_in(task))
    if values.get("recurrence", schedule.recurrence) != schedule.recurrence:
        # No trigger sees it.
        Change.objects.create(periodic_task_id=task.pk, changed_at=database_now())
    _update(schedule, values)
    schedule.clean_fields()
    schedule.clean()


def _refuse_without_due_time(task: PeriodicTask, *, is_resumed: bool, may_have_ended: bool) -> None:
    """Raise ``ImpossibleSchedule`` if the task will not be due again and has to be."""
    try:
        preview.refuse_impossible(task)
    except RuleEnded:
        if not may_have_ended:
            raise
    if is_resumed:
        preview.refuse_ended(task)


def keep_own_rule(task: PeriodicTask, rule: dict[str, Any]) -> None:
    """Keep what a task's row cannot hold of its rule; the schedulers are told of a change."""
    own = rules.own_of(rule, rules.row_in(task))
    with transaction.atomic():
        schedule, _ = Schedule.objects.get_or_create(periodic_task=task)
        if schedule.recurrence != own:
            Change.objects.create(periodic_task_id=task.pk, changed_at=database_now())
            Schedule.objects.filter(pk=task.pk).update(recurrence=own)


def _look_for_due_time(definition: Definition) -> None:
    """Raise ``ImpossibleSchedule`` if looking for the rule's next due time takes too long."""
    now, start = database_now(), definition.get("start")
    origin = now if start is None else moment_of(start, field="start")
    rule_documents.recurrence_of(definition["schedule"], origin).after(max(now, origin))


def _new_moments(definition: Definition, keys: set[str]) -> set[str]:
    """Return those of the keys whose moment the job does not have yet."""
    task = PeriodicTask.objects.filter(name=definition["name"]).first()
    new = keys & {"schedule", "expires"}
    if task is None:
        return new
    if rules.rule_of(task) == _as_kept(definition["schedule"]):
        new -= {"schedule"}
    expires = definition.get("expires")
    if expires is not None and task.expires == moment_of(expires, field="expires"):
        new -= {"expires"}
    return new


def _is_resumed(definition: Definition) -> bool:
    paused = PeriodicTask.objects.filter(name=definition["name"], enabled=False)
    return bool(definition.get("enabled")) and paused.exists()


def _goes_on_as_it_was(definition: Definition) -> bool:
    """Return whether there is such a job with this rule already."""
    task = PeriodicTask.objects.filter(name=definition["name"]).first()
    if task is None:
        return False
    kept = Schedule.objects.filter(pk=task.pk).values_list("recurrence", flat=True).first()
    rule = rules.own_rule(task, kept) or rules.rule_of(task)
    return bool(rule == _as_kept(definition["schedule"]))


def _as_kept(rule: dict[str, Any]) -> dict[str, Any]:
    """Return a moment as its row would have it."""
    if "at" not in rule:
        return rule
    return {"at": moment_of(rule["at"], field="schedule.at").astimezone(UTC).isoformat()}


def _calls_anew(definition: Definition) -> bool:
    """Return whether the job will call something that its row does not call yet."""
    values = _values(definition, TASK_FIELDS, ("handler", "args", "kwargs"))
    return not PeriodicTask.objects.filter(name=definition["name"], **values).exists()


def lock(name: str) -> None:
    """Let one at a time make, change or remove the job of this name, until the transaction ends.

    Its rows are locked in the order in which schedulers lock them, so that nobody waits in a
    circle: the policy before the task.
    """
    if connection.vendor != "postgresql":  # SQLite has one writer at a time anyway
        return
    with connection.cursor() as cursor:
        key = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [key])
    tasks = PeriodicTask.objects.filter(name=name).values_list("pk", flat=True)
    for task in tasks:
        policy = Schedule.objects.select_for_update().filter(pk=task)
        policy.values_list("pk", flat=True).first()


def _take_name(name: str, *, is_new: bool) -> None:
    """Let one at a time make or change the job of this name. Raises ``JobExists``."""
    lock(name)
    if is_new and PeriodicTask.objects.filter(name=name).exists():
        raise JobExists(f"There is a job {name!r}.")


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
    """Return the row's values for the keys to be written."""
    return {
        field: _to_row(field, definition.get(key, default), key)
        for key, (field, default) in fields.items()
        if key in keys
    }


def _to_row(field: str, value: Any, key: str) -> Any:
    if field in {"args", "kwargs"}:
        return json.dumps(value)
    if field in {"start_time", "expires"} and value is not None:
        return moment_of(value, field=key)
    return value


def _update(row: models.Model, values: Mapping[str, Any]) -> None:
    """Save a row if it differs from ``values``."""
    different = {field: value for field, value in values.items() if getattr(row, field) != value}
    for field, value in different.items():
        setattr(row, field, value)
    if isinstance(row, Schedule):
        row.save(update_fields=different)  # the other fields belong to the schedulers
    elif different:
        # The others may change meanwhile: a person pauses the job, a scheduler counts its runs.
        row.save(update_fields={*different, "date_changed"})


def _text(error: Exception) -> str:
    """Say what is wrong, under the names that a definition has for the fields."""
    if not isinstance(error, ValidationError):
        known = isinstance(error, (ImpossibleSchedule, MalformedMessage))
        return str(error) if known else f"It cannot be stored ({type(error).__name__}): {error}"
    if not hasattr(error, "error_dict"):
        return "; ".join(error.messages)
    return "; ".join(
        f"{_KEYS.get(field, field)}: {' '.join(messages)}"
        for field, messages in error.message_dict.items()
    )


_KEYS = {field: key for key, (field, _) in (TASK_FIELDS | POLICY_FIELDS).items()}
"""Field of a row -> key of a definition."""


def _field_at_fault(error: Exception) -> str:
    """Return the key of the definition that an error is of.

    The schema has checked each key by itself. What is left is the rule, or its moments: they lead
    out of the calendar, or never occur.
    """
    if isinstance(error, ValidationError) and hasattr(error, "error_dict"):
        return _KEYS.get(next(iter(error.error_dict)), "schedule")
    if isinstance(error, MalformedMessage):
        return _KEYS.get(error.column, error.column)
    return error.field if isinstance(error, ImpossibleSchedule) else "schedule"
