"""Writes what several threads have to write at the same time in one transaction.

A commit costs the same for one row and for a hundred. So while one thread writes, those that come
meanwhile gather, and one of them writes for all of them; a thread that comes alone writes at once
and waits for nobody. Each returns only after the commit that its row is in.

Nobody pays for another's row. A group that fails, for whatever reason, was rolled back: then each
of its threads writes its own alone, unless the group has used up what a statement may take. And
nobody waits for long while another thread's transaction waits for a lock: after ``PATIENCE`` a
thread writes its own alone.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock
from typing import Generic, TypeVar

import structlog

from scheduling import isolation, outages

log = structlog.get_logger(__name__)

T = TypeVar("T")

MOST = 100  # that one transaction writes
PATIENCE = 0.05  # seconds


class _Place(Generic[T]):
    """One thread's place: what it has to write, and what it is woken for."""

    __slots__ = ("failure", "is_written", "item", "leads", "wakes")

    def __init__(self, item: T) -> None:
        self.item = item
        self.leads = False  # woken to write for a group
        self.is_written = False  # woken because a group has written it
        self.failure: Exception | None = None  # of the group, after which nothing is tried again
        self.wakes = Lock()
        self.wakes.acquire()


class Groups(Generic[T]):
    """Groups of what threads of this process write: ``write`` takes them in a transaction."""

    def __init__(self, write: Callable[[Sequence[T]], None]) -> None:
        self._write = write
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # who writes may stay behind

    def _reset(self) -> None:
        self._lock = Lock()
        self._is_busy = False
        self._waiting: deque[_Place[T]] = deque()

    def write(self, item: T) -> bool:
        """Have an item written and committed; return whether it was.

        False: a group could not, or not soon. The caller writes it alone, and gets its own error.
        """
        place = _Place(item)
        with self._lock:
            if self._is_busy:
                self._waiting.append(place)
            else:
                self._is_busy = place.leads = True
        if not place.leads and not place.wakes.acquire(timeout=PATIENCE):
            with self._lock, suppress(ValueError):  # taken meanwhile: somebody wakes it
                self._waiting.remove(place)
                return False
            place.wakes.acquire()
        if place.failure is not None:
            raise place.failure
        return self._lead(place) if place.leads else place.is_written

    def _lead(self, place: _Place[T]) -> bool:
        with self._lock:
            others = [self._waiting.popleft() for _ in range(min(MOST - 1, len(self._waiting)))]
        written = False
        began = time.monotonic()
        try:
            self._write([place.item, *(other.item for other in others)])
            written = True
        except Exception as error:
            if outages.used_its_bound(error, time.monotonic() - began):
                for other in others:
                    other.failure = error
                raise
            if not others:
                raise
            fault = isolation.fault_of(error, "insert")
            log.info(
                "group_written_one_by_one",
                rows=len(others) + 1,
                error=fault.error,
                place=fault.place,
            )
        finally:
            self._hand_over()
            for other in others:
                other.is_written = written
                other.wakes.release()
        return written

    def _hand_over(self) -> None:
        """Have the first of those that wait write for the next group."""
        with self._lock:
            if self._waiting:
                following = self._waiting.popleft()
                following.leads = True
                following.wakes.release()
            else:
                self._is_busy = False
