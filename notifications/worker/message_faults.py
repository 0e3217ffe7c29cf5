"""A message that faults while a worker receives it costs that message, and not the worker.

Celery lets most of what a message's headers can break end the worker's main process, and the broker
delivers the message to the next one; and it logs what it cannot read with all that is in it. Here a
message that cannot be received is rejected, counted by the reason, and logged by its id and the
error's class. An outage of a server is not a message's fault, and is raised.
"""

import re
from collections.abc import Callable
from typing import Any

import structlog
from celery import bootsteps, signals
from celery.app.task import Context
from celery.exceptions import NotRegistered
from celery.worker import state

from notifications import metrics
from scheduling import isolation, outages

log = structlog.get_logger(__name__)

Errors = tuple[type[BaseException], ...]
A_NAME = re.compile(r"[\w.:-]{1,99}")  # what programs call tasks and messages; else it is content


class UnknownMessage(ValueError):
    """A message of no kind that Celery knows."""


def receiving(
    receive: Callable[[Any], Any], connection_errors: Errors, consumer: Any
) -> Callable[[Any], Any]:
    """Return a handler of messages that rejects a message at which ``receive`` raises."""

    def on_message(message: Any) -> Any:
        try:
            return receive(message)
        except Exception as error:
            if _is_outage(error, connection_errors):
                raise
            drop(message, error, "faulted", consumer)

    return on_message


class BeginBoundary(bootsteps.Step):  # type: ignore[misc]  # celery has no types
    """A worker step that rejects a message whose run cannot be given to the pool.

    A run begins when it is received, when a slot becomes free, or by a timer: all of them call
    what this step wraps, before the pool's and the consumer's steps hand it on.
    """

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        begin = worker._process_task  # noqa: SLF001 -- Celery has no other place for it

        def begin_or_reject(request: Any) -> None:
            try:
                begin(request)
            except Exception as error:
                if _is_outage(error, worker.consumer.connection_errors):
                    raise
                state.task_ready(request)
                request.reject(requeue=False)
                _log_and_signal(request.message, error, "faulted", worker.consumer)
                # The slot that was taken for the run; only prefork counts them here.
                if release := getattr(worker, "_quick_release", None):
                    release()

        worker._process_task = begin_or_reject  # noqa: SLF001 -- as above


def _is_outage(error: Exception, connection_errors: Errors) -> bool:
    return outages.is_outage(error) or isinstance(error, connection_errors)


def drop(message: Any, error: Exception, why: str, consumer: Any) -> None:
    """Reject a message for good, and log and count it; ``why`` is the label's value."""
    _reject(message, consumer)
    _log_and_signal(message, error, why, consumer)


def drop_unknown(message: Any, error: Exception, consumer: Any) -> None:
    """Drop a message of a task that this worker does not know, which fails."""
    headers = _headers_of(message)
    payload = headers if "task" in headers else message.payload
    id_, name = str(payload.get("id")), str(payload.get("task"))
    _reject(message, consumer)
    _log(message, error, "unknown_task")
    log.error("message_of_unknown_task", id=_loggable_name(id_), task=_loggable_name(name))
    failure = NotRegistered(name)
    request = Context(
        {"id": id_, "task": name, "root_id": headers.get("root_id")},
        correlation_id=message.properties.get("correlation_id"),
        reply_to=message.properties.get("reply_to"),
    )
    with isolation.aside("unknown task"):
        consumer.app.backend.mark_as_failure(id_, failure, request=request)
    if consumer.event_dispatcher:
        consumer.event_dispatcher.send("task-failed", uuid=id_, exception=type(failure).__name__)
    signals.task_unknown.send(sender=consumer, message=message, exc=error, name=name, id=id_)


def _reject(message: Any, consumer: Any) -> None:
    if not message.acknowledged:
        message.reject_log_error(log, consumer.connection_errors)


def _loggable_name(value: Any) -> str:
    """Return a name as it is, and nothing of what may be content."""
    name = str(value)
    return name if A_NAME.fullmatch(name) else "(not a name)"


def _headers_of(message: Any) -> dict[str, Any]:
    return message.headers if isinstance(message.headers, dict) else {}


def _log_and_signal(message: Any, error: Exception, why: str, consumer: Any) -> None:
    _log(message, error, why)
    signals.task_rejected.send(sender=consumer, message=message, exc=error)


def _log(message: Any, error: Exception, why: str) -> None:
    metrics.dropped(why)
    log.error(
        "message_rejected",
        id=_loggable_name(_headers_of(message).get("id")),
        reason=why,
        error=type(error).__name__,
    )
