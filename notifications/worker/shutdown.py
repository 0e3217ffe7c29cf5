"""How a worker ends: SIGTERM finishes what is being sent and what runs, a second one hurries.

Celery waits for running tasks without a limit and ignores a second SIGTERM. Here the wait ends
after ``WORKER_SHUTDOWN_GRACE`` seconds, or, if jobs run, when the last of them has reached its
time limit, but after ``WORKER_SHUTDOWN_JOBS_GRACE`` seconds at the latest; or at the second
signal. Then the running tasks are cancelled, their messages go back to the broker, and
``scheduling.interruption`` gives their fires back. A process that even this does not end, for its
main thread is blocked, ends hard a few seconds later: claims and fires come back by their leases.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from billiard.process import active_children
from celery.concurrency import get_implementation
from django.conf import settings

log = structlog.get_logger(__name__)

HARD_AFTER = 10.0
"""Seconds that a cold shutdown may take."""


def limit(how: str, **_: Any) -> None:
    """Put a limit to a warm shutdown that has just begun; receives ``worker_shutting_down``."""
    if how != "Warm":
        _after(HARD_AFTER, _end_hard)
        return
    signal.signal(signal.SIGTERM, lambda *_: _hurry())
    from notifications.queueing import worker_slots  # noqa: PLC0415 -- needs Django's models

    seconds = grace(
        worker_slots.jobs_left(),
        floor=settings.WORKER_SHUTDOWN_GRACE,
        cap=settings.WORKER_SHUTDOWN_JOBS_GRACE,
    )
    _after(seconds, _hurry)


def grace(jobs_left: Iterable[float | None], *, floor: float, cap: float) -> float:
    """Return for how many seconds a worker may go on; ``None`` is a job without a time limit."""
    wanted = (cap if left is None else min(left, cap) for left in jobs_left)
    return max(floor, *wanted, floor)


def refuse_green_pools(sender: Any, **_: Any) -> None:
    """End a worker whose pool cannot be stopped in time; receives ``worker_init``.

    In gevent's and eventlet's pools a running task cannot be cancelled, and what is to be cancelled
    at the end of the grace would be sent by two workers. Raises SystemExit.
    """
    if get_implementation(sender.pool_cls).is_green:
        raise SystemExit(
            "config.E013: The pools gevent and eventlet cannot give back what they are sending "
            "when WORKER_SHUTDOWN_GRACE ends. Leave --pool out: the prefork pool can."
        )


def _hurry() -> None:
    """Begin Celery's cold shutdown in this process, and put a limit to it."""
    _after(HARD_AFTER, _end_hard)
    os.kill(os.getpid(), signal.SIGQUIT)


def _end_hard() -> None:
    """End this process and its pool's, whatever they do."""
    log.error("worker_ended_hard", cold_shutdown_seconds=HARD_AFTER)
    for child in active_children():
        child.terminate()
    os._exit(os.EX_SOFTWARE)


def _after(seconds: float, call: Callable[[], None]) -> None:
    """Call it by then, in a thread of its own that keeps no process from ending."""
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
