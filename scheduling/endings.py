"""What each way to end a run means for its fire; docs/guarantees.md has the same as a table.

A run's own process ends it in one place, ``task_postrun``, which Celery sends however the task
ended. Where that process is gone, the worker's main process tells.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NoReturn
from uuid import UUID

import celery
from celery import signals, states
from celery.exceptions import Retry, TimeLimitExceeded, WorkerLostError

from scheduling import outages, sessions
from scheduling.chosen_backend import ledger_of, now_of
from scheduling.heartbeat import Heartbeat, Run
from scheduling.messages import FIRE_HEADER

logger = logging.getLogger(__name__)

TERMINATED = -(256 - signal.SIGTERM)
"""The code with which a pool's process exits that was told to (``billiard.common``)."""

RUN = "scheduling_run"
"""The attribute of a task's request that holds its ``Run``, once it has begun."""
LAST_WRITES_SECONDS = 5.0
"""Seconds for which a process that ends tries to write the ends of its runs in an outage."""

heartbeat = Heartbeat()

_worker = ""
"""The name of this process' worker, as ``Task.request.hostname`` has it."""
_process = 0
"""The id of this process of the worker, which a copy that a task makes by ``os.fork`` has not."""


def connect() -> None:
    """Have Celery's signals followed in this process; called when Django is ready."""
    signals.celeryd_init.connect(_on_init, weak=False)
    signals.worker_process_init.connect(_on_process_init, weak=False)
    signals.task_postrun.connect(_on_postrun, weak=False)
    signals.task_internal_error.connect(_on_internal_error, weak=False)
    signals.task_failure.connect(_on_failure, weak=False)
    signals.task_revoked.connect(_on_revoked, weak=False)
    signals.task_unknown.connect(_on_unknown, weak=False)
    signals.worker_process_shutdown.connect(_on_process_end, weak=False)
    signals.worker_shutdown.connect(_on_process_end, weak=False)
    signals.task_rejected.connect(_on_rejected, weak=False)


def fire_of(task: celery.Task) -> UUID | None:
    """Return the fire that a task's current request belongs to.

    A task that the scheduled one calls inherits its headers, but has an id of its own; one that
    replaces it has even its id.
    """
    request = task.request
    value = getattr(request, FIRE_HEADER, None)
    if not value or value != request.id or request.replaced_task_nesting:
        return None
    return _uuid(value)


def ending(fire: UUID, attempt: int, state: str | None, result: Any) -> Callable[[], None]:
    """Return what writes the end of a run, from the state and result that Celery gives it."""
    match state:
        case states.SUCCESS:
            return partial(ledger_of(fire).succeed, fire, attempt)
        case states.FAILURE:
            return partial(ledger_of(fire).fail, fire, attempt, result)
        case states.RETRY:
            return partial(ledger_of(fire).return_to_queue, fire, attempt, wait=_wait(fire, result))
        case states.REJECTED if result.requeue:
            return partial(ledger_of(fire).return_to_queue, fire, attempt)
        case states.REJECTED:
            return partial(ledger_of(fire).fail, fire, attempt, result)
        case states.IGNORED:
            return partial(ledger_of(fire).leave, fire, attempt)
    return _broken_off(fire, attempt, sys.exc_info()[1])


def _broken_off(fire: UUID, attempt: int, error: BaseException | None) -> Callable[[], None]:
    """Return what writes the end of a run that Celery has no state for."""
    if isinstance(error, SystemExit) and error.code == TERMINATED:
        return _nothing  # whoever ended this process says why, or its heartbeat is missed
    if not isinstance(error, Exception):  # SystemExit and the like: its process ends with it
        return partial(ledger_of(fire).orphan, fire, attempt, error or SystemExit())
    # The task had ended, and how could not be stored.
    cause = error.__context__ or error
    if isinstance(cause, Retry):
        return partial(ledger_of(fire).return_to_queue, fire, attempt, wait=_wait(fire, cause))
    return partial(ledger_of(fire).fail, fire, attempt, cause)


def _nothing() -> None:
    """Write nothing."""


def _wait(fire: UUID, retry: Retry) -> timedelta:
    """Return how long the message of a retry is held back by its ETA."""
    when = retry.when
    if isinstance(when, datetime):
        moment = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(moment - now_of(fire), timedelta(0))
    return timedelta(seconds=max(float(when or 0), 0.0))


def _on_init(sender: str, **_: Any) -> None:
    global _worker  # noqa: PLW0603 -- a process has one worker
    _worker = sender
    _on_process_init()


def _on_process_init(**_: Any) -> None:
    global _process  # noqa: PLW0603 -- as above
    _process = os.getpid()


def _end_copy(error: BaseException | None) -> NoReturn:
    """End a copy of this process with its task: the original goes on, with all connections."""
    code = error.code if isinstance(error, SystemExit) else int(error is not None)
    os._exit(code if isinstance(code, int) else int(code is not None))


def _on_postrun(sender: celery.Task, state: str | None, retval: Any, **_: Any) -> None:
    if _worker and os.getpid() != _process:
        _end_copy(sys.exc_info()[1])
    run: Run | None = getattr(sender.request, RUN, None)
    if _worker and not (sender.request.is_eager or getattr(sender, "keeps_connection", False)):
        sessions.clear()
    if run is not None:
        heartbeat.end(run, ending(run.fire, run.attempt, state, retval))


def _on_internal_error(task_id: str, **_: Any) -> None:
    """Give back a fire whose run could not begin, as when its start could not be stored.

    Celery tells of a run, too, that has ended and whose result could not be stored: an end that
    waits for the database must not be replaced.
    """
    fire = _uuid(task_id)
    if fire is not None and not heartbeat.has(fire):
        heartbeat.end(Run(fire, 0), partial(ledger_of(fire).give_back, fire))


def _on_failure(task_id: str, exception: BaseException, **_: Any) -> None:
    """Tell of a process of this worker that is gone with its run. Others end their run themselves.

    Told by the worker's main process, which knows no more than the task's id.
    """
    fire = _uuid(task_id)
    if fire is None or not isinstance(exception, (WorkerLostError, TimeLimitExceeded)):
        return
    attempt = ledger_of(fire).attempt_on(fire, _worker)
    if attempt is None:
        return
    if isinstance(exception, WorkerLostError):
        ledger_of(fire).orphan(fire, attempt, exception)
    else:
        ledger_of(fire).fail(fire, attempt, exception)


def _on_revoked(request: Any, *, terminated: bool, expired: bool, **_: Any) -> None:
    fire = _uuid(getattr(request, "id", ""))
    if fire is None:
        return
    if terminated:
        ledger_of(fire).cancel_run(fire, _worker, "The task was revoked, and its run was ended.")
    elif expired:
        ledger_of(fire).expire(fire)
    else:
        ledger_of(fire).cancel(fire, "The task was revoked.")


def _on_unknown(name: str, message: Any, **_: Any) -> None:
    if fire := _fire_in(message):
        _write(
            partial(
                ledger_of(fire).not_known, fire, f"The worker {_worker} knows no task {name!r}."
            )
        )


def _on_rejected(message: Any, exc: BaseException | None, **_: Any) -> None:
    """End a fire whose message a worker cannot receive: it would be the same the next time."""
    if fire := _fire_in(message):
        why = f"The worker {_worker} cannot receive its message: {type(exc).__name__}"
        _write(partial(ledger_of(fire).refuse, fire, why))


def _fire_in(message: Any) -> UUID | None:
    headers = message.headers if isinstance(message.headers, dict) else {}
    key = headers.get("id")
    if not isinstance(key, str) or key != headers.get(FIRE_HEADER):
        return None
    return _uuid(key)


def _write(write: Callable[[], None]) -> None:
    try:
        write()
    except Exception as error:
        if not outages.is_outage(error):
            raise
        logger.warning("A fire waits to be published again: %s", type(error).__name__)


def _on_process_end(**_: Any) -> None:
    heartbeat.write_ends(LAST_WRITES_SECONDS)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
