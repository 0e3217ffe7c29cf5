"""Follows a fire on the worker: started once, alive, ended, tried again.

``Task`` is the base of an app's tasks, by ``Celery(…, task_cls="scheduling.execution:Task")``. It
refuses a message whose fire has run already, which is what makes a fire run once although
brokers, and schedulers that die at the wrong moment, deliver a message twice. Tasks of another
class are followed too, but not refused. How a run ends is in ``endings``.
"""

import logging
import tempfile
import time
from datetime import datetime
from functools import partial
from multiprocessing.process import current_process
from typing import Any
from uuid import UUID

import celery
from celery import signals
from celery.concurrency.prefork import TaskPool
from celery.exceptions import Ignore, Reject

from scheduling import endings, interruption, isolation, outages, sessions
from scheduling.chosen_backend import ledger_of, now_of
from scheduling.endings import RUN, fire_of, heartbeat
from scheduling.heartbeat import Run

logger = logging.getLogger(__name__)

OUTAGE_BACKOFF = 1.0
"""Seconds that a slot waits before it gives a message back that it cannot take in an outage."""

_ends_runs = True
"""Whether this worker's pool can end a run that takes too long."""


class UnenforcedTimeout(RuntimeError):
    """A run with a timeout on a worker that could not end it in time."""


class Task(celery.Task):  # type: ignore[misc]  # celery is untyped
    """A task that runs each fire once."""

    abstract = True
    Request = "scheduling.interruption:Request"
    keeps_connection = False
    """Whether its run leaves the database session as it was. Where not, a worker closes it."""

    @classmethod
    def on_bound(cls, app: celery.Celery) -> None:
        """Have runs followed in a process of any app that has such a task."""
        super().on_bound(app)
        connect()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it. What would end the process fails the run alone: others are in its hands, too.

        Celery's own would hide the request from a task that a worker calls.
        """
        with isolation.contained():
            request = self.request_stack.top
            if request is None or request._protected or request.called_directly:  # noqa: SLF001 -- as celery.app.trace does
                return super().__call__(*args, **kwargs)
            request._protected = 1  # noqa: SLF001 -- as above
            return self.run(*args, **kwargs)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Take the fire before the run.

        Raises ``Ignore`` if it is not to be run (again), ``Reject`` if it cannot be taken in an
        outage, and ``UnenforcedTimeout``.
        """
        super().before_start(task_id, args, kwargs)
        fire = fire_of(self)
        if fire is None:
            return
        if not _may_begin(fire, self):
            raise Ignore
        limits = (*(self.request.timelimit or ()), self.time_limit, self.soft_time_limit)
        if any(limits) and not _ends_runs:
            raise UnenforcedTimeout(
                f"The pool of {self.request.hostname} cannot end a run, so its timeout would not "
                "be kept. Let workers with the prefork pool consume this queue, or take the "
                "timeout away."
            )

    def signature_from_request(
        self,
        request: Any = None,
        args: Any = None,
        kwargs: Any = None,
        queue: str | None = None,
        **options: Any,
    ) -> Any:
        """Return the message by which a run asks to run again.

        A fire's expiry is of the message that nobody took, so that of its retry has none.
        """
        message = super().signature_from_request(request, args, kwargs, queue, **options)
        if hasattr(request or self.request, RUN) and "expires" not in options:
            message.options.pop("expires", None)
        return message


def connect() -> None:
    """Have Celery's signals followed in this process; done once."""
    signals.celeryd_init.connect(_make_no_folder, weak=False)
    signals.worker_ready.connect(_on_ready, weak=False)
    signals.task_prerun.connect(_on_prerun, weak=False)
    signals.worker_shutting_down.connect(interruption.on_shutting_down, weak=False)
    endings.connect()


def _may_begin(fire: UUID, task: celery.Task) -> bool:
    """Begin the run, or give the message back to the broker if an outage prevents it."""
    if heartbeat.has(fire):
        logger.info("Fire %s of %s runs in this process; not run again", fire, task.name)
        return False
    now = None
    try:
        now = sessions.write(partial(now_of, fire))
        return _begin(fire, task, now)
    except Exception as error:
        if not outages.is_outage(error):
            raise
        if now is not None:  # it may have begun, although no answer came
            undo = partial(ledger_of(fire).withdraw, fire, _worker_of(task), now)
            heartbeat.end(Run(fire, 0), undo)
        time.sleep(OUTAGE_BACKOFF)
        raise Reject(type(error).__name__, requeue=True) from error


def _begin(fire: UUID, task: celery.Task, now: datetime) -> bool:
    attempt = ledger_of(fire).begin(fire, _worker_of(task), now)
    if attempt is None:
        logger.info("Fire %s of %s is done or running elsewhere; not run again", fire, task.name)
        return False
    run = Run(fire, attempt)
    setattr(task.request, RUN, run)
    heartbeat.add(run)
    return True


def _worker_of(task: celery.Task) -> str:
    return task.request.hostname or ""


def _make_no_folder(**_: Any) -> None:
    """Have billiard put the files that its processes share where temporary files are.

    It unlinks them at once. The folder that it would make for them stays if the worker is killed.
    """
    process: Any = current_process()
    process._config.setdefault("tempdir", tempfile.gettempdir())  # noqa: SLF001 -- as multiprocessing.util does


def _on_ready(sender: Any, **_: Any) -> None:
    global _ends_runs  # noqa: PLW0603 -- a process has one worker
    _ends_runs = isinstance(sender.pool, TaskPool)
    if not _ends_runs:
        logger.warning(
            "The pool of this worker (%s) cannot end a run that takes too long: scheduled tasks "
            "with a timeout fail here, with that reason",
            type(sender.pool).__module__.rpartition(".")[2],
        )


def _on_prerun(sender: celery.Task, **_: Any) -> None:
    fire = None if isinstance(sender, Task) else fire_of(sender)
    if fire is not None:
        _begin(fire, sender, now_of(fire))
