"""Writes that the background has no database connection for, done by a slot over its own.

The thread of ``background`` keeps on trying to record what it sent. Where the database has no
connection left for it, a slot that has one does the write in its stead.
"""

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from threading import Condition
from typing import Any

from scheduling import watch


class PostedWrites:
    """The write that one thread waits for, until another does it. ``changed`` tells of each."""

    def __init__(self, changed: Condition) -> None:
        self._changed = changed
        self._posted: tuple[Callable[[], Any], Future[Any]] | None = None

    @property
    def waits(self) -> bool:
        """Whether a write is posted that nobody does yet."""
        return self._posted is not None

    def post(self, call: Callable[[], Any], seconds: float) -> Future[Any] | None:
        """Wait for so many seconds; return what becomes of a call that another thread has begun."""
        future: Future[Any] = Future()
        with self._changed:
            self._posted = call, future
            self._changed.notify_all()
        wait_for([future], seconds)
        if future.cancel():
            self._posted = None
            return None
        return future

    def write_next(self) -> bool:
        """Do the write that waits, over this thread's connection; return whether there was one."""
        with self._changed:
            posted, self._posted = self._posted, None
        if posted is None:
            return False
        call, future = posted
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001 -- raised again where it is waited for
                watch.database_outage(error)  # judged here, on the session that met it
                future.set_exception(error)
        return True
