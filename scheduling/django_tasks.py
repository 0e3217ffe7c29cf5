"""A backend of Django's tasks (``django.tasks``, and its backport for Django 5.2).

    TASKS = {"default": {"BACKEND": "scheduling.django_tasks.Backend"}}

A task that is enqueued is a fire: a row of the caller's transaction, which the schedulers publish
once it is committed and due, and a Celery worker runs. All that holds of fires holds of it: lost
messages are published again, a dead worker's runs are repeated, and one that fails is kept as a
failed run. One schedule stands for all calls of a function; it carries their policy.
"""

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast
from uuid import UUID

import django
from celery import current_app
from celery.result import AsyncResult
from django.core import checks
from django.utils.module_loading import import_string

from scheduling import bulk, chosen_backend, job_storage
from scheduling.clock import database_now
from scheduling.models import Fire, Origin, Schedule
from scheduling.tasks import call_task
from scheduling.terms import MISFIRE_CAP_LIMIT, FireStatus, Misfire

if TYPE_CHECKING or django.VERSION >= (6, 0):
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import (
        DEFAULT_TASK_QUEUE_NAME,
        Task,
        TaskContext,
        TaskError,
        TaskResult,
        TaskResultStatus,
    )
    from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued, task_finished, task_started
else:
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import (
        DEFAULT_TASK_QUEUE_NAME,
        Task,
        TaskContext,
        TaskError,
        TaskResult,
        TaskResultStatus,
    )
    from django_tasks.exceptions import InvalidTaskError as InvalidTask
    from django_tasks.exceptions import TaskResultDoesNotExist
    from django_tasks.signals import task_enqueued, task_finished, task_started

P = ParamSpec("P")
R = TypeVar("R")

SPREAD = 1_000_000
"""Microseconds over which the calls of one moment are spread: a due time has one fire."""
NEVER = 24 * 60 * 60
"""The seconds of an interval that never comes: the schedule of a function is paused."""
STATUSES: dict[str, TaskResultStatus] = {
    FireStatus.WAITING: TaskResultStatus.READY,
    FireStatus.CLAIMED: TaskResultStatus.READY,
    FireStatus.DISPATCHED: TaskResultStatus.READY,
    FireStatus.RUNNING: TaskResultStatus.RUNNING,
    FireStatus.SUCCEEDED: TaskResultStatus.SUCCESSFUL,
}
"""What a fire's status is to Django; every other one is ``FAILED``."""


class Backend(BaseTaskBackend):
    """Keeps tasks as fires. A task's queue is one of Celery's; "default" is that of jobs."""

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = False

    def validate_task(self, task: "Task[..., Any]") -> None:
        """Raise ``InvalidTask`` for what this backend cannot run, and a queue that is not there."""
        super().validate_task(task)
        if task.queue_name != DEFAULT_TASK_QUEUE_NAME and task.queue_name not in _queues():
            raise InvalidTask(
                f"Celery has no queue {task.queue_name!r}: it has {', '.join(sorted(_queues()))}."
            )

    def enqueue(
        self, task: "Task[P, R]", args: Iterable[Any], kwargs: dict[str, Any]
    ) -> "TaskResult[P, R]":
        """Keep a call of a task, and return its result. Raises ``TypeError`` unless it is JSON."""
        self.validate_task(task)
        path = task.module_path
        values = json.loads(json.dumps({"path": path, "args": list(args), "kwargs": kwargs}))
        call = {"kwargs": values}
        if task.queue_name != DEFAULT_TASK_QUEUE_NAME:
            call["queue"] = task.queue_name
        fire = _insert(_schedule_of(path), call, task.run_after)
        result = self._result(task, fire)
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> "TaskResult[..., Any]":
        """Return what became of a call. Raises ``TaskResultDoesNotExist``."""
        try:
            rows = Fire.objects.filter(pk=UUID(result_id), call__isnull=False)
            fire = rows.get()
            call = fire.call or {}
            task = cast("Task[..., Any]", import_string(call["kwargs"]["path"]))
        except (ValueError, Fire.DoesNotExist, ImportError) as error:
            raise TaskResultDoesNotExist(result_id) from error
        queue = call.get("queue", DEFAULT_TASK_QUEUE_NAME)
        return self._result(task.using(queue_name=queue, backend=self.alias), fire)

    def run(self, task: "Task[..., Any]", id_: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call a task in a worker, and return what it returns, as JSON.

        Raises what the task raises, and ``TypeError`` for what JSON does not have.
        """
        result = self.get_result(id_)
        task_started.send(type(self), task_result=result)
        before = (TaskContext(task_result=result),) if task.takes_context else ()
        ended = TaskResultStatus.FAILED
        try:
            returned = json.loads(json.dumps(task.call(*before, *args, **kwargs)))
            ended = TaskResultStatus.SUCCESSFUL
        finally:
            object.__setattr__(result, "status", ended)
            task_finished.send(type(self), task_result=result)
        return returned

    def check(self, **options: Any) -> list[checks.CheckMessage]:
        """Return what keeps this backend from working."""
        problems = list(super().check(**options))
        if chosen_backend.name() != "database":
            problems.append(
                checks.Error(
                    "scheduling.django_tasks needs SCHEDULING_BACKEND=database.",
                    hint="A task is kept in the transaction that enqueues it.",
                    id="scheduling.E001",
                )
            )
        problems += [
            checks.Error(
                f"TASKS[{self.alias!r}] names the queue {name!r}, which Celery does not have.",
                hint=f"Known queues: {', '.join(sorted(_queues()))}.",
                id="scheduling.E002",
            )
            for name in sorted(self.queues - {DEFAULT_TASK_QUEUE_NAME} - _queues())
        ]
        return problems

    def _result(self, task: "Task[P, R]", fire: Fire) -> "TaskResult[P, R]":
        status = STATUSES.get(fire.status, TaskResultStatus.FAILED)
        call = (fire.call or {})["kwargs"]
        workers = [attempt["worker"] for attempt in fire.history or []]
        if fire.worker and len(workers) < fire.attempt:
            workers.append(fire.worker)
        result = TaskResult(
            task=task,
            id=str(fire.pk),
            status=status,
            enqueued_at=_made_at(fire.pk),
            started_at=fire.started_at,
            finished_at=fire.finished_at,
            last_attempted_at=fire.started_at,
            args=call["args"],
            kwargs=call["kwargs"],
            backend=self.alias,
            errors=_errors(fire) if status == TaskResultStatus.FAILED else [],
            worker_ids=workers,
        )
        if status == TaskResultStatus.SUCCESSFUL:
            object.__setattr__(result, "_return_value", AsyncResult(str(fire.pk)).result)
        return result


def _queues() -> set[str]:
    return {*current_app.amqp.queues}


def _schedule_of(path: str) -> int:
    """Return the key of the schedule that stands for the calls of a function."""
    name = f"task {path}"[:200]
    schedule = (
        Schedule.objects.filter(periodic_task__name=name).values_list("pk", flat=True).first()
    )
    if schedule is not None:
        return int(schedule)
    definition = {
        "name": name,
        "handler": call_task.name,
        "description": "The calls of a task of Django's, which its project enqueues.",
        "schedule": {"every": NEVER},
        "enabled": False,
        # Each failed call is one of its own to replay.
        "misfire": Misfire.ALL.value,
        "misfire_cap": MISFIRE_CAP_LIMIT,
    }
    return int(job_storage.store(definition, origin=Origin.REGISTER).pk)


def _insert(schedule: int, call: dict[str, Any], run_after: datetime | None) -> Fire:
    now = database_now()
    when = now if run_after is None else run_after.astimezone(UTC)
    fire = Fire(schedule_id=schedule, fire_at=when, due_at=when, by_hand=True, call=call)
    names = [field.attname for field in Fire._meta.concrete_fields]
    is_new: set[Any] = set()
    while not is_new:
        fire.scheduled_for = when + timedelta(microseconds=random.randrange(SPREAD))  # noqa: S311 -- not a secret
        is_new = bulk.insert_new(Fire, names, [[getattr(fire, name) for name in names]])
    return fire


def _made_at(id_: UUID) -> datetime:
    """Return the moment in an id of version 7 (RFC 9562, 5.7)."""
    return datetime.fromtimestamp((id_.int >> 80) / 1000, UTC)


def _errors(fire: Fire) -> list[TaskError]:
    kept = AsyncResult(str(fire.pk))
    raised = kept.result
    kind = type(raised) if isinstance(raised, BaseException) else RuntimeError
    path = f"{kind.__module__}.{kind.__qualname__}"
    return [TaskError(exception_class_path=path, traceback=kept.traceback or fire.error)]
