"""How long a statement is waited for: as long as its server lives.

A server whose processes stand still, or whose machine does, keeps its connections open and says
nothing. No timeout of a session ends this, for the server itself keeps those, nor do keepalives
where its kernel still answers. So a statement that waits for ``PATIENCE`` has its server asked for
another connection: one that gives none within ``CONNECT`` is silent, and the statement ends. A
server that answers may take as long as it likes, for a report or a migration.

Behind a pooler the pooler answers, whatever its server does. So who must answer somebody else in
time says how long its statements may take (``answered_within``, ``bound_statements``): what takes
longer ends with ``ServerSilent``, too. The slow statements of one call of the web have a bound
together (``one_call``): each may stay within its own, and the caller waits for all.

An attempt to connect that is given up is closed at once, and while the server is known to be
silent this process has one attempt open at most: a server that goes on has to serve each.
"""

import math
import os
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any, NoReturn, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

from scheduling.waiting_statements import statement_waits

T = TypeVar("T")

PATIENCE = 2.0
LONGEST_PATIENCE = 30.0
"""Seconds; each further look at the server comes after twice the time, at most after so long."""
CONNECT = 3
CANCEL = 1.0
"""Seconds to wait for the server to take the order to end a statement."""
BACKOFF = 1.0
"""Seconds for which a server that was found silent is not asked anew."""
TURN = 0.5
"""Seconds to wait for another thread's attempt to connect to a server that was silent."""


class ServerSilent(psycopg.OperationalError):
    """The server answers neither a statement nor a new connection."""


class StatementsTookTooLong(psycopg.errors.QueryCanceled):
    """The slow statements of one call have taken together what they may, and were ended."""


class _Silence:
    """When a server of this process was last found silent."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # who holds the lock may stay behind

    def _reset(self) -> None:
        self._lock = Lock()
        self._found_at = float("-inf")
        self._is_known = False

    def refuse(self) -> None:
        """Refuse to connect: raises ``ServerSilent`` if the server was silent a moment ago."""
        if time.monotonic() - self._found_at < BACKOFF:
            raise ServerSilent("the server was silent a moment ago")

    def connect(self, connect: Callable[[], T]) -> T:
        """Call what connects. Raises ``ServerSilent`` if the server does not answer it.

        From then on one thread tries at a time, until a connection is made; others are refused.
        """
        if not self._is_known:
            self.refuse()
            return self._attempt(connect)
        if not self._lock.acquire(timeout=TURN):
            raise ServerSilent("the server is being asked")
        try:
            self.refuse()
            return self._attempt(connect)
        finally:
            self._lock.release()

    def ask(self, connection: "psycopg.Connection[Any]") -> None:
        """Ask the server of a connection for another one. Raises ``ServerSilent``.

        One thread asks at a time; those that waited for it believe it.
        """
        with self._lock:
            self.refuse()
            try:
                address = _address(connection)
                self._attempt(lambda: psycopg.connect(address, connect_timeout=CONNECT)).close()
            except ServerSilent:
                raise
            except psycopg.OperationalError:
                pass  # It refuses us, and so it lives; or it is gone, and the connection breaks.

    def _attempt(self, connect: Callable[[], T]) -> T:
        try:
            made = connect()
        except psycopg.OperationalError as error:
            self._is_known = timed_out(error)
            if not self._is_known:
                raise
            self._found_at = time.monotonic()
            # The driver's frames, which the error keeps alive, hold the connection that was begun.
            traceback.clear_frames(error.__traceback__)
        else:
            self._is_known = False
            return made
        raise ServerSilent("the server is silent")


silence = _Silence()


def timed_out(error: psycopg.OperationalError) -> bool:
    """Return whether the server, or one of several, did not answer an attempt to connect."""
    return "timeout expired" in str(error)  # the driver's class is that of the last attempt


class _Bounds(threading.local):
    """For how long this thread waits for its statements."""

    until = math.inf  # of the monotonic clock
    left = math.inf  # seconds that slow statements may take together

    def exceeded(self, waited: float) -> bool:
        """Return whether a statement that has been waited for so long is to be given up."""
        return waited >= _longest or time.monotonic() >= self.until


_longest = math.inf  # seconds of each statement of this process
_together = math.inf  # seconds of the slow statements of a call
_bounds = _Bounds()


def bound_statements(seconds: float) -> None:
    """Have each statement of this process end after so many seconds; 0: as before."""
    global _longest  # noqa: PLW0603 -- one bound per process
    _longest = seconds or math.inf


def bound_calls(seconds: float) -> None:
    """Have the slow statements of each ``one_call`` take so many seconds together; 0: no bound."""
    global _together  # noqa: PLW0603 -- as above
    _together = seconds or math.inf


@contextmanager
def one_call() -> Iterator[None]:
    """End the slow statements of this block as ``bound_calls`` says; a commit is never broken off.

    Those that answer within a tenth of a second do not count: a long import consists of many.
    Raises ``StatementsTookTooLong``, by way of Django's ``OperationalError``.
    """
    with _left(_together):
        yield


@contextmanager
def _left(seconds: float) -> Iterator[None]:
    before, _bounds.left = _bounds.left, seconds
    try:
        yield
    finally:
        _bounds.left = before


@contextmanager
def answered_within(seconds: float) -> Iterator[None]:
    """End the statements of this block once they have taken so many seconds together."""
    before = _bounds.until
    _bounds.until = min(before, time.monotonic() + seconds)
    try:
        yield
    finally:
        _bounds.until = before


class Connection(psycopg.Connection[Any]):
    """A connection whose statements end with ``ServerSilent`` when the server is silent."""

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        """Run a generator of the driver to its end, as the driver does."""
        return super().wait(self._patiently(gen), *args, **kwargs)

    def commit(self) -> None:
        """Commit, however long that takes: nobody would know whether it was done."""
        with _left(math.inf):
            super().commit()

    def rollback(self) -> None:
        """Roll back, also what has taken too long."""
        with _left(math.inf):
            super().rollback()

    def _set_autocommit(self, value: bool) -> None:  # noqa: FBT001 -- psycopg's
        """Set it, which sends nothing; Django would go on with a connection that is half set."""
        with _left(math.inf):
            super()._set_autocommit(value)

    def _patiently(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Pass on what a generator waits for, and look at the server while nothing comes."""
        began = 0.0
        look_after = PATIENCE
        if _bounds.left <= 0:
            raise StatementsTookTooLong("earlier statements have taken too long")
        try:
            wanted = next(gen)
            while True:
                if not (ready := (yield wanted)):
                    now = time.monotonic()
                    began = began or now
                    if _bounds.exceeded(now - began):
                        self.pgconn.finish()
                        raise ServerSilent("the server has not answered in time")
                    if now - began >= _bounds.left:
                        self._break_off()
                    if now - began >= look_after:
                        self._look(is_first=look_after == PATIENCE)
                        look_after += min(look_after, LONGEST_PATIENCE)
                wanted = gen.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            if began:
                _bounds.left -= time.monotonic() - began

    def _break_off(self) -> NoReturn:
        """End a statement, here and on the server."""
        with suppress(psycopg.Error):
            self.cancel_safe(timeout=CANCEL)
        self.pgconn.finish()
        raise StatementsTookTooLong("the statements of this call have taken too long")

    def _look(self, *, is_first: bool) -> None:
        try:
            silence.ask(self)
        except ServerSilent:
            self.pgconn.finish()  # nobody may wait for the rest of its answer
            raise
        if is_first:
            statement_waits.send(type(self))


def _address(connection: "psycopg.Connection[Any]") -> str:
    """Return where a connection leads to: of several hosts the one that it has reached."""
    info = connection.info
    where = {"host": info.host, "hostaddr": info.hostaddr, "port": str(info.port)}
    rest = {"password": info.password, "target_session_attrs": "any", "options": ""}
    return make_conninfo(**(info.get_parameters() | where | rest))
