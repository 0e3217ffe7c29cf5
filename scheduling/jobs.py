"""Jobs: schedules that code and the HTTP API keep, beside those that people make in admin.

    from scheduling import jobs

    jobs.register("reports.nightly", build_reports, "0 3 * * *", timezone="Europe/Berlin")

    @jobs.job(cron="*/5 * * * *", timeout=60, retries=3)
    def import_orders() -> None: ...

Its name identifies a job. Where jobs are kept, the setting ``SCHEDULING_BACKEND`` says; with
``database`` a job is a django-celery-beat ``PeriodicTask`` with its policy.
"""

import fnmatch
import logging
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Unpack
from uuid import UUID

from celery import Task, current_app, shared_task

from scheduling import chosen_backend, configuration, isolation, job_schema
from scheduling.arguments import InvalidArguments, validates
from scheduling.job_options import JobOptions
from scheduling.job_schema import (
    HandlerNotAllowed,
    InvalidJob,
    JobError,
    JobExists,
    UnknownJob,
)
from scheduling.kept.documents import REGISTERED, Definition, Fire, Job
from scheduling.retries import strategy as retry_strategy

__all__ = [
    "HandlerNotAllowed",
    "InvalidArguments",
    "InvalidJob",
    "JobError",
    "JobExists",
    "UnknownJob",
    "allow",
    "allowed_handlers",
    "backfill",
    "check",
    "declared",
    "define",
    "fires",
    "get",
    "job",
    "names",
    "next_fires",
    "pause",
    "register",
    "register_declared",
    "remove",
    "resume",
    "retry_strategy",
    "run_now",
    "schema",
    "validates",
]

logger = logging.getLogger(__name__)

When = str | int | float | timedelta | datetime | dict[str, Any]

_OLD_NAMES: dict[str, type[JobError]] = {
    "HandlerNotAllowedError": HandlerNotAllowed,
    "InvalidArgumentsError": InvalidArguments,
    "InvalidJobError": InvalidJob,
    "JobExistsError": JobExists,
    "UnknownJobError": UnknownJob,
}

_allowed: set[str] = set()
_declared: dict[str, Definition] = {}


def __getattr__(name: str) -> type[JobError]:
    """Return an exception by its old name, which works until 0.3, with a warning."""
    if name not in _OLD_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = _OLD_NAMES[name]
    text = f"scheduling.jobs.{name} is now scheduling.jobs.{new.__name__}"
    warnings.warn(text, DeprecationWarning, stacklevel=2)
    return new


def allow(*handlers: Task | str) -> None:
    """Put tasks on the allow-list; the setting ``SCHEDULING_ALLOWED_TASKS`` (patterns) does too."""
    _allowed.update(_task_name(handler) for handler in handlers)


def is_allowed(task: str) -> bool:
    """Return whether a task may be scheduled by name, also one that only workers know."""
    patterns = configuration.read_list("SCHEDULING_ALLOWED_TASKS")
    return task in _allowed or any(fnmatch.fnmatchcase(task, pattern) for pattern in patterns)


def allowed_handlers() -> list[str]:
    """Return the names of the tasks that may be scheduled by name."""
    current_app.loader.import_default_modules()
    return sorted({*_allowed, *filter(is_allowed, current_app.tasks)})


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a job definition, with the handlers allowed at this moment."""
    return job_schema.schema(allowed_handlers())


def define(
    definition: Definition, *, previous: Definition | None = None, is_new: bool = False
) -> Job:
    """Create or replace the job that a JSON definition (see ``schema()``) names.

    With ``previous`` only what differs from it is written. Raises ``HandlerNotAllowed``,
    ``InvalidJob`` saying what does not fit, ``InvalidArguments`` naming the argument
    that the task would refuse, and ``JobExists`` if it shall be new.
    """
    check(definition)
    return chosen_backend.current().save(definition, previous=previous, is_new=is_new)


def check(definition: Definition) -> None:
    """Raise ``HandlerNotAllowed`` or ``InvalidJob`` for what does not fit the schema."""
    job_schema.check(definition, allowed_handlers())


def register(
    name: str,
    handler: Task | str,
    schedule: When,
    *,
    timezone: str = "UTC",
    **options: Unpack[JobOptions],
) -> Job:
    """Create or replace the job ``name``; doing it again changes nothing.

    ``handler`` is a Celery task, or the name of an allowed one. ``schedule`` is a crontab line
    (in ``timezone``), seconds or a ``timedelta`` between fires, a moment to fire once, or the
    ``schedule`` of a JSON definition. ``options`` are those of ``JobOptions``.

    Raises ``HandlerNotAllowed`` or ``InvalidJob``.
    """
    if isinstance(handler, Task):
        allow(handler)
    definition = _definition(name, handler, schedule, timezone, options)
    check(definition)
    return chosen_backend.current().save(definition, origin=REGISTERED)


def job(
    *,
    cron: str | None = None,
    every: float | timedelta | None = None,
    timezone: str = "UTC",
    name: str | None = None,
    **options: Unpack[JobOptions],
) -> Callable[[Callable[..., Any]], Task]:
    """Make a function a task and a job; registered when migrations or a scheduler start.

    Once it exists, people may change it in admin: only what changes in the code is written again.
    To stop it for good pause it; a deleted one comes back. Raises ``InvalidJob`` unless it
    has either ``cron`` or ``every``.
    """
    when = cron if cron is not None else every
    if when is None or (cron is not None and every is not None):
        raise InvalidJob("A job needs either cron= or every=.")

    def declare(function: Callable[..., Any]) -> Task:
        task = function if isinstance(function, Task) else shared_task(function)
        allow(task)
        definition = _definition(name or task.name, task, when, timezone, options)
        _declared[definition["name"]] = definition
        return task

    return declare


def declared() -> set[str]:
    """Return the names of the jobs that ``@jobs.job`` declares in this process's code."""
    return {*_declared}


def register_declared() -> None:
    """Register the jobs that ``@jobs.job`` declares, leaving people's edits as they are.

    One that cannot be registered is logged, and stops no other.
    """
    isolation.each(
        _declared.items(),
        lambda item: _register_or_refuse(*item),
        stage="registering declared jobs",
        key=lambda item: item[0],
    )


def _register_or_refuse(name: str, definition: Definition) -> None:
    try:
        job_schema.check(definition, [definition["handler"]])
        chosen_backend.current().declare(definition)
    except InvalidArguments as error:  # its task would refuse it
        # Without a traceback: the error says it all.
        logger.error("The job %r of the code is refused at %s: %s", name, error.field, error)  # noqa: TRY400 -- as said above


def pause(name: str) -> None:
    """Pause a job until ``resume``. Raises ``UnknownJob``."""
    chosen_backend.current().pause(name)


def resume(name: str) -> None:
    """Resume a job; its policy says what becomes of the pause.

    Raises ``UnknownJob``, or ``InvalidJob`` for one that is not due any more.
    """
    chosen_backend.current().resume(name)


def remove(name: str) -> None:
    """Delete a job and its fires, readable or not. Raises ``UnknownJob``."""
    chosen_backend.current().remove(name)


def run_now(name: str) -> UUID:
    """Fire a job once, now, paused or not, whatever its condition; return the fire's id.

    A scheduler publishes it; with a database, once the transaction is committed. While an earlier
    run goes on, the job's overlap policy holds: the fire may wait, or be skipped. Raises
    ``UnknownJob``.
    """
    return chosen_backend.current().run_now(name)


def backfill(
    name: str,
    since: datetime,
    until: datetime,
    *,
    pace: timedelta = timedelta(0),
    dry_run: bool = False,
) -> list[tuple[datetime, datetime]]:
    """Run a job for the due times from ``since`` until before ``until`` that have no fire.

    Return each with the moment at which it is run, one each ``pace``; with ``dry_run`` nothing
    else happens. Where overlaps are not allowed, each waits for the one before, too. A task reads
    the due time it runs for in ``self.request.headers["scheduled_for"]``. Doing it again runs
    nothing again. Raises ``UnknownJob``, or ``InvalidJob`` naming the field.
    """
    return chosen_backend.current().backfill(name, since, until, pace=pace, dry_run=dry_run)


def next_fires(name: str, count: int = 5) -> list[datetime]:
    """Return the next moments at which a job fires; none if it is paused or quarantined.

    Raises ``UnknownJob``.
    """
    return chosen_backend.current().next_fires(name, count)


def get(name: str) -> Job:
    """Return a job as it stands. Raises ``UnknownJob``."""
    return chosen_backend.current().job(name)


def names() -> list[str]:
    """Return the names of all jobs, in order."""
    return chosen_backend.current().names()


def fires(name: str, limit: int = 100) -> list[Fire]:
    """Return what became of a job's due times, the latest first. Raises ``UnknownJob``."""
    return chosen_backend.current().fires(name, limit)


def _task_name(handler: Task | str) -> str:
    return handler if isinstance(handler, str) else str(handler.name)


def _definition(
    name: str, handler: Task | str, schedule: When, timezone: str, options: Mapping[str, Any]
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
