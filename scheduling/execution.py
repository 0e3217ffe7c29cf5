"""Follows a fire on the worker: started once, alive, ended, tried again.

``Task`` is the base of an app's tasks, by ``Celery(…, task_cls="scheduling.execution:Task")``. It
refuses a message whose fire has run already, which is what makes a fire run once although
brokers, and schedulers that die at the wrong moment, deliver a message twice. Tasks of another
class are followed too, but not refused.
"""

import logging
from typing import Any
from uuid import UUID

import celery
from celery import signals
from celery.exceptions import Ignore, WorkerLostError

from scheduling import ledger
from scheduling.dispatch import FIRE_HEADER
from scheduling.heartbeat import Heartbeat
from scheduling.models import FireStatus

logger = logging.getLogger(__name__)

_heartbeat = Heartbeat()


class Task(celery.Task):  # type: ignore[misc]  # celery is untyped
    """A task that runs each fire once."""

    abstract = True

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Take the fire before the run. Raises ``Ignore`` if it is not to be run (again)."""
        super().before_start(task_id, args, kwargs)
        fire = _fire_of(self)
        if fire is not None and not _begin(fire, self):
            raise Ignore


def connect() -> None:
    """Have Celery's signals followed in this process; called when Django is ready."""
    signals.task_prerun.connect(_on_prerun, weak=False)
    signals.task_success.connect(_on_success, weak=False)
    signals.task_failure.connect(_on_failure, weak=False)
    signals.task_retry.connect(_on_retry, weak=False)
    signals.task_revoked.connect(_on_revoked, weak=False)


def _begin(fire: UUID, task: celery.Task) -> bool:
    attempt = ledger.begin(fire, task.request.hostname or "")
    if attempt is None:
        logger.info("Fire %s of %s is done or running elsewhere; not run again", fire, task.name)
        return False
    _heartbeat.add(fire, attempt)
    return True


def _fire_of(task: celery.Task) -> UUID | None:
    """Give the fire that the current request belongs to."""
    value = getattr(task.request, FIRE_HEADER, None)
    # A task that is called by the scheduled one inherits headers, but has an id of its own.
    return UUID(value) if value and value == task.request.id else None


def _on_prerun(sender: celery.Task, **_: Any) -> None:
    fire = None if isinstance(sender, Task) else _fire_of(sender)
    if fire is not None:
        _begin(fire, sender)


def _on_success(sender: celery.Task, **_: Any) -> None:
    fire = _fire_of(sender)
    attempt = _heartbeat.remove(fire) if fire else None
    if fire is not None and attempt is not None:
        ledger.succeed(fire, attempt)


def _on_failure(task_id: str, exception: BaseException, **_: Any) -> None:
    # Also sent by a worker's main process for a child that was killed: it knows only the id.
    fire = _uuid(task_id)
    if fire is None:
        return
    attempt = _heartbeat.remove(fire)
    if isinstance(exception, WorkerLostError):
        ledger.orphan(fire, exception)
    else:
        ledger.fail(fire, attempt, exception)


def _on_retry(sender: celery.Task, **_: Any) -> None:
    fire = _fire_of(sender)
    attempt = _heartbeat.remove(fire) if fire else None
    if fire is not None and attempt is not None:
        ledger.return_to_queue(fire, attempt)


def _on_revoked(request: Any, *, expired: bool, **_: Any) -> None:
    fire = _uuid(getattr(request, "id", ""))
    if fire is not None:
        status = FireStatus.SKIPPED_EXPIRED if expired else FireStatus.CANCELLED
        ledger.drop(fire, status, error="" if expired else "The task was revoked.")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
