"""The per-task rate limit of ``send_notification``: notifications sent, per worker process.

Celery counts messages, and keeps those that must wait in the worker's memory, where they fill its
prefetch. Here whoever claims rows asks first how many it may claim, so the limit is kept by
whichever message rows are released; rows that are not claimed stay due in the database. One
memory, made before the pool forks, serves a worker's main process, which takes changes by remote
control, and its children, which claim.
"""

import fcntl
import mmap
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery.utils.log import get_logger
from celery.utils.time import rate
from celery.worker import strategy

from notifications.core import routing

logger = get_logger(__name__)

BURST = 0.1  # seconds whose notifications may go at once
URGENT = 1.0  # seconds by which urgent ones may run ahead of the limit
_STATE = struct.Struct("dd")  # notifications per second (0: no limit), the time that is used up


class SharedRate:
    """A rate that several processes keep together (GCRA, one timestamp).

    A process that dies while it holds the lock frees it: it is a file's record lock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 -- it lives as long as the process
        self._file.truncate(_STATE.size)
        self._memory = mmap.mmap(self._file.fileno(), _STATE.size)
        self._thread = threading.Lock()
        self._clock = clock

    def set(self, per_second: float) -> None:
        """Change the rate; 0 means no limit."""
        with self._lock():
            _STATE.pack_into(self._memory, 0, per_second, self._clock())

    def take(self, wanted: int, *, urgent: bool = False) -> int:
        """Return how many of ``wanted`` may go now, and count them."""
        if not _STATE.unpack_from(self._memory)[0]:
            return wanted
        with self._lock():
            per_second, used_up = _STATE.unpack_from(self._memory)
            if not per_second:
                return wanted
            now = self._clock()
            used_up = max(used_up, now)
            allowed = min(wanted, _room(per_second, used_up, now, urgent=urgent))
            _STATE.pack_into(self._memory, 0, per_second, used_up + allowed / per_second)
            return allowed

    def has_room(self, *, urgent: bool = False) -> bool:
        """Return whether one might go now, without counting it."""
        per_second, used_up = _STATE.unpack_from(self._memory)
        return not per_second or _room(per_second, used_up, self._clock(), urgent=urgent) > 0

    def give_back(self, count: int) -> None:
        """Return what was counted and did not go."""
        if count and _STATE.unpack_from(self._memory)[0]:
            with self._lock():
                per_second, used_up = _STATE.unpack_from(self._memory)
                if per_second:
                    _STATE.pack_into(self._memory, 0, per_second, used_up - count / per_second)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with self._thread:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)


def _room(per_second: float, used_up: float, now: float, *, urgent: bool) -> int:
    """Return how many may go at ``now``."""
    burst = max(BURST, 1 / per_second) + (URGENT if urgent else 0.0)
    # A hair more: what a division leaves over is not a notification that has to wait.
    return max(0, int((now + burst - max(used_up, now)) * per_second + 1e-6))


def is_urgent(queue: str) -> bool:
    """Return whether a queue is one of high priority."""
    return queue.endswith(f".{routing.PRIORITIES[0]}")


SEND = SharedRate()


class Limited:
    """The ``rate_limit`` of a task whose runs count at the claim; it may be set at any time.

    Remote control sets it in a worker's main process, as Celery's own.
    """

    def __init__(self, shared: SharedRate, text: str) -> None:
        self._shared = shared
        self._text: str | float | None = text
        shared.set(rate(text))

    def __get__(self, task: Any, owner: Any = None) -> str | float | None:
        """Return the rate as it was written, like ``5/s``."""
        return self._text

    def __set__(self, task: Any, text: str | float | None) -> None:
        """Change it for this worker. Raises ``ValueError`` for what is not a rate."""
        self._shared.set(rate(text))
        self._text = text


class _WithoutBuckets:
    """A worker's consumer that limits no rate by itself."""

    disable_rate_limits = True

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


def at_the_claim(task: Any, app: Any, consumer: Any, **options: Any) -> Any:
    """Celery's strategy for a task whose rate limit holds where it claims, not before."""
    return strategy.default(task, app, _WithoutBuckets(consumer), **options)


def dropped_without_room(task: Any, app: Any, consumer: Any, **options: Any) -> Any:
    """Celery's strategy for a message that stands for due rows: without room for one it is done.

    The rows stay due, and the sweep releases them again. No slot of the pool is taken.
    """
    handle = strategy.default(task, app, consumer, **options)

    def handler(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **more: Any) -> Any:
        queue = str(message.delivery_info.get("routing_key", ""))
        if SEND.has_room(urgent=is_urgent(queue)):
            return handle(message, body, ack, reject, callbacks, **more)
        return ack(logger, consumer.connection_errors)

    return handler
