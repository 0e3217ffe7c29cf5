"""Jobs: schedules that code and the HTTP API keep, beside those that people make in admin.

    from scheduling import jobs

    jobs.register("reports.nightly", build_reports, "0 3 * * *", timezone="Europe/Berlin")

    @jobs.job(cron="*/5 * * * *", timeout=60, retries=3)
    def import_orders() -> None: ...

A job is a django-celery-beat ``PeriodicTask`` with its policy; its name identifies it.
"""

import fnmatch
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from celery import Task, current_app, shared_task
from django.conf import settings
from django.db import transaction
from django_celery_beat.models import PeriodicTask

from scheduling import job_schema
from scheduling.clock import database_now
from scheduling.job_schema import (
    HandlerNotAllowedError,
    InvalidJobError,
    JobError,
    UnknownJobError,
)
from scheduling.job_storage import Definition, store
from scheduling.models import Fire, FireStatus, Schedule
from scheduling.preview import upcoming_fires

__all__ = [
    "HandlerNotAllowedError",
    "InvalidJobError",
    "JobError",
    "UnknownJobError",
    "allow",
    "allowed_handlers",
    "define",
    "duplicate",
    "job",
    "next_fires",
    "pause",
    "register",
    "register_declared",
    "remove",
    "resume",
    "run_now",
    "schema",
]

logger = logging.getLogger(__name__)

When = str | int | float | timedelta | datetime | dict[str, Any]

_allowed: set[str] = set()
_declared: dict[str, Definition] = {}


def allow(*handlers: Task | str) -> None:
    """Put tasks on the allow-list; the setting ``SCHEDULING_ALLOWED_TASKS`` (patterns) does too."""
    _allowed.update(_task_name(handler) for handler in handlers)


def allowed_handlers() -> list[str]:
    """Give the names of the tasks that may be scheduled by name."""
    current_app.loader.import_default_modules()
    patterns: Sequence[str] = getattr(settings, "SCHEDULING_ALLOWED_TASKS", ())
    matching = {
        name for name in current_app.tasks for pattern in patterns if fnmatch.fnmatch(name, pattern)
    }
    return sorted(_allowed | matching)


def schema() -> dict[str, Any]:
    """Give the JSON Schema of a job definition, with the handlers allowed at this moment."""
    return job_schema.schema(allowed_handlers())


def define(definition: Definition) -> PeriodicTask:
    """Create or replace the job that a JSON definition (see ``schema()``) names.

    Raises ``HandlerNotAllowedError``, or ``InvalidJobError`` saying what does not fit.
    """
    job_schema.check(definition, allowed_handlers())
    return store(definition)


def register(
    name: str, handler: Task | str, schedule: When, *, timezone: str = "UTC", **options: Any
) -> PeriodicTask:
    """Create or replace the job ``name``; doing it again changes nothing.

    ``handler`` is a Celery task, or the name of an allowed one. ``schedule`` is a crontab line
    (in ``timezone``), seconds or a ``timedelta`` between fires, a moment to fire once, or the
    ``schedule`` of a JSON definition. ``options`` are the other keys of ``schema()``: ``args``,
    ``kwargs``, ``timeout``, ``retries``, ``retry_backoff``, ``guarantee``, ``misfire``, …;
    durations are seconds or ``timedelta``.

    Raises ``HandlerNotAllowedError`` or ``InvalidJobError``.
    """
    if isinstance(handler, Task):
        allow(handler)
    return define(_definition(name, handler, schedule, timezone, options))


def job(
    *,
    cron: str | None = None,
    every: float | timedelta | None = None,
    timezone: str = "UTC",
    name: str | None = None,
    **options: Any,
) -> Callable[[Callable[..., Any]], Task]:
    """Make a function a task and a job; registered when migrations or a scheduler start.

    Once it exists, people may change it in admin: only what changes in the code is written again.
    To stop it for good pause it; a deleted one comes back. Raises ``InvalidJobError`` unless it
    has either ``cron`` or ``every``.
    """
    when = cron if cron is not None else every
    if when is None or (cron is not None and every is not None):
        raise InvalidJobError("A job needs either cron= or every=.")

    def declare(function: Callable[..., Any]) -> Task:
        task = function if isinstance(function, Task) else shared_task(function)
        allow(task)
        definition = _definition(name or task.name, task, when, timezone, options)
        _declared[definition["name"]] = definition
        return task

    return declare


def register_declared() -> None:
    """Register the jobs that ``@jobs.job`` declares, leaving people's edits as they are."""
    for name, definition in _declared.items():
        job_schema.check(definition, [definition["handler"]])
        if not PeriodicTask.objects.filter(name=name).exists():
            store(definition, by_code=True)
            continue
        kept = Schedule.objects.filter(periodic_task__name=name, definition__isnull=False).first()
        if kept is None:
            logger.warning("The job %r of the code is kept by hand; left as it is", name)
        elif kept.definition != definition:
            store(definition, previous=kept.definition, by_code=True)


def pause(name: str) -> None:
    """Let a job rest until ``resume``. Raises ``UnknownJobError``."""
    PeriodicTask.objects.filter(pk=_find(name).pk).update(enabled=False)


def resume(name: str) -> None:
    """Let a job go on; its policy says what becomes of the pause. Raises ``UnknownJobError``."""
    PeriodicTask.objects.filter(pk=_find(name).pk).update(enabled=True)


def remove(name: str) -> None:
    """Delete a job and its fires. Raises ``UnknownJobError``."""
    _find(name).delete()


def duplicate(name: str) -> PeriodicTask:
    """Make a paused copy of a job, with its policy. Raises ``UnknownJobError``."""
    task = _find(name)
    policy = Schedule.objects.filter(pk=task.pk).values(*Schedule.POLICY_FIELDS).first()
    with transaction.atomic():
        task.pk, task.name = None, _free_name(name)
        task.enabled, task.total_run_count = False, 0
        task.save()
        Schedule.objects.update_or_create(periodic_task=task, defaults=policy or {})
    return task


def _free_name(name: str) -> str:
    names = (f"{name[:180]} (copy{number})" for number in ("", *(f" {n}" for n in range(2, 1000))))
    return next(free for free in names if not PeriodicTask.objects.filter(name=free).exists())


def run_now(name: str) -> UUID:
    """Fire a job once, now, paused or not, whatever its condition; give the fire's id.

    A scheduler publishes it once the transaction is committed. Raises ``UnknownJobError``.
    """
    return fire_now(_find(name)).pk


def fire_now(task: PeriodicTask) -> Fire:
    """Record a fire by hand, for a scheduler to publish."""
    now = database_now()
    with transaction.atomic():
        schedule, _ = Schedule.objects.get_or_create(periodic_task=task)
        return Fire.objects.create(
            schedule=schedule,
            scheduled_for=now,
            fire_at=now,
            due_at=now,
            status=FireStatus.CLAIMED,
            by_hand=True,
        )


def next_fires(name: str, count: int = 5) -> list[datetime]:
    """Give the next moments at which a job fires; none if it is paused or quarantined.

    Raises ``UnknownJobError``.
    """
    return upcoming_fires(_find(name), count)


def _find(name: str) -> PeriodicTask:
    try:
        return PeriodicTask.objects.get(name=name)
    except PeriodicTask.DoesNotExist:
        raise UnknownJobError(f"There is no job {name!r}.") from None


def _task_name(handler: Task | str) -> str:
    return handler if isinstance(handler, str) else str(handler.name)


def _definition(
    name: str, handler: Task | str, schedule: When, timezone: str, options: dict[str, Any]
) -> Definition:
    definition = {"name": name, "handler": _task_name(handler), **options}
    definition["schedule"] = _schedule(schedule, timezone)
    return {key: _plain(value) for key, value in definition.items() if value is not None}


def _schedule(schedule: When, timezone: str) -> dict[str, Any]:
    if isinstance(schedule, str):
        return {"cron": schedule, "timezone": timezone}
    if isinstance(schedule, datetime):
        return {"at": _plain(schedule)}
    if isinstance(schedule, dict):
        return schedule
    return {"every": _plain(schedule)}


def _plain(value: Any) -> Any:
    """Turn durations and moments into JSON."""
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        return int(seconds) if seconds.is_integer() else seconds
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value
