"""Gives back the fires that a worker's shutdown interrupts, so that nobody waits for a heartbeat.

A worker that is told to stop, and whose grace is over, cancels what still runs. Celery then calls
``Request.cancel`` in the worker's main process; the child that ran the fire is killed. Once it is
gone, the fire is due again at once, or ends, by its guarantee.
"""

import logging
import os
import time
from threading import Thread
from typing import Any, NamedTuple
from uuid import UUID

from celery.worker import request

from scheduling import outages, sessions
from scheduling.chosen_backend import ledger_of
from scheduling.messages import FIRE_HEADER

logger = logging.getLogger(__name__)

LONGEST_DEATH = 5.0
"""Seconds to wait for killed children. One that lives on keeps its fire: its heartbeat goes on."""
LOOK_EVERY = 0.05
"""Seconds."""


class Interrupted(NamedTuple):
    """A run that was cancelled: its fire, the worker's name and the child's process id."""

    fire: UUID
    worker: str
    pid: int


class OutOfMemory(RuntimeError):
    """A run that raised ``MemoryError`` in its child process."""


_interrupted: list[Interrupted] = []


class Request(request.Request):  # type: ignore[misc]  # celery is untyped
    """A message in a worker's hands; notes when the worker's shutdown cancels its run."""

    def on_failure(self, exc_info: Any, *args: Any, **options: Any) -> Any:
        """Take a run that was out of memory as failed. Celery would end the whole worker."""
        error = exc_info.exception
        if isinstance(getattr(error, "exc", error), MemoryError):
            exc_info.exception = OutOfMemory("The run was out of memory.")
        return super().on_failure(exc_info, *args, **options)

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:  # noqa: FBT001, FBT002 -- celery's signature
        """Cancel the run. Writes nothing: it is called inside a signal handler."""
        is_fire = self.request_dict.get(FIRE_HEADER) == self.id
        if is_fire and self.time_start:
            _interrupted.append(Interrupted(UUID(self.id), self.hostname, self.worker_pid))
        super().cancel(pool, signal, emit_retry)


def on_shutting_down(*, how: str, **_: Any) -> None:
    """Give back what was cancelled; receives ``worker_shutting_down``.

    In a thread, for the signal may have come in the midst of a query of the main thread. Python
    waits for the thread's end before the process ends.
    """
    if how == "Cold" and _interrupted:
        Thread(target=_give_back, args=(tuple(_interrupted),), name="give-back").start()
        _interrupted.clear()


def _give_back(runs: tuple[Interrupted, ...]) -> None:
    deadline = time.monotonic() + LONGEST_DEATH
    try:
        for run in runs:
            if _is_gone(run.pid, deadline):
                ledger_of(run.fire).interrupt(run.fire, run.worker)
    except Exception as error:
        if not outages.is_outage(error):
            raise
        logger.warning("Fires wait for their heartbeat to time out: %s", type(error).__name__)
    finally:
        sessions.close()


def _is_gone(pid: int, deadline: float) -> bool:
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_EVERY)
