"""A row's fault ends that row: the boundary around work on one of many.

Any exception, of any class, costs the row that it came from, and the others go on in the same
round. What concerns everybody passes: an outage (``outages``), Celery's control flow, and the end
of the process. Of an exception only its class and its place in the code are kept and logged: its
text may hold a recipient or content.

A database may answer for one row what a server that is out answers for each: a trigger raises
"disk full", or a page is damaged. Such an error is a row's if the database is well right after it.
"""

import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from celery.exceptions import (
    SoftTimeLimitExceeded,
    TaskPredicate,
    WorkerShutdown,
    WorkerTerminate,
)

from scheduling import outages

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 10.0  # seconds of a part of a round that raised
_OF_SIGNALS = frozenset(-(256 - number) for number in signal.valid_signals())
"""The codes with which a pool's process exits that was told to (``billiard.common``)."""
FRAMES = 3  # of the code's places that a fault names, the innermost last
KEYS_LOGGED = 5  # rows that one log line names
TRIES = 3  # of one row whose error looks like an outage, before it counts as the row's
PAUSE = 0.1  # seconds between these tries
MANY = 5  # rows that all fault by what looks like an outage: it concerns everybody


class ExitRaised(Exception):
    """Somebody's code has raised what ends a process, a generator or a coroutine.

    Such as ``SystemExit``, ``KeyboardInterrupt``, ``GeneratorExit`` and asyncio's
    ``CancelledError``. It costs that code's row alone, like any other exception.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(f"{kind} was raised; its process goes on.")
        self.kind = kind


class Fault(NamedTuple):
    """What went wrong with one row: in which stage of the work, and where in the code."""

    stage: str
    error: str
    """The exception's class."""
    place: str
    """Modules and lines, the innermost last: ``shop.tasks:87 > jinja2.runtime:12``."""


def concerns_everybody(error: BaseException) -> bool:
    """Return whether an exception is not one row's: an outage, Celery's control flow, an exit."""
    if not isinstance(error, Exception) or isinstance(error, TaskPredicate | SoftTimeLimitExceeded):
        return True
    return outages.is_outage(error) and not is_of_a_row(error)


@contextmanager
def contained() -> Iterator[None]:
    """Raise ``ExitRaised`` where the block, somebody's code, raises what would end the process.

    A process that is told to end still does: signals come to its main thread. So does a copy of
    the process that the block has forked.
    """
    process = os.getpid()
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        if os.getpid() != process or _is_told_to_end(error):
            raise
        raise ExitRaised(type(error).__name__) from error


def _is_told_to_end(error: BaseException) -> bool:
    """Return whether a handler of a signal has raised this."""
    if threading.current_thread() is not threading.main_thread():
        return False
    if isinstance(error, KeyboardInterrupt):
        return signal.getsignal(signal.SIGINT) is signal.default_int_handler
    is_celerys = isinstance(error, WorkerShutdown | WorkerTerminate)
    return is_celerys or (isinstance(error, SystemExit) and error.code in _OF_SIGNALS)


_verdicts: "WeakKeyDictionary[BaseException, bool]" = WeakKeyDictionary()
_asks: list[Callable[[BaseException], bool]] = []


def ask_by(ask: Callable[[BaseException], bool]) -> None:
    """Have ``ask`` judge whether what looks like an outage is the fault of a row.

    It is asked once for each exception, right after it was raised, in its thread.
    """
    _asks[:] = [ask]


def is_of_a_row(error: BaseException) -> bool:
    """Return whether an error that looks like an outage is a row's: others can be worked on."""
    if not outages.is_outage(error):
        return False
    if error not in _verdicts:
        _verdicts[error] = any(ask(error) for ask in _asks)
    return _verdicts[error]


def fault_of(error: BaseException, stage: str) -> Fault:
    """Describe an exception without its text."""
    raised = error.__cause__ if isinstance(error, ExitRaised) and error.__cause__ else error
    frames = [
        f"{frame.f_globals.get('__name__', '?')}:{line}"
        for frame, line in traceback.walk_tb(raised.__traceback__)
    ]
    kind = error.kind if isinstance(error, ExitRaised) else type(error).__name__
    return Fault(stage, kind, " > ".join(frames[-FRAMES:]))


def each(
    rows: Iterable[T], work: Callable[[T], R], *, stage: str, key: Callable[[T], object]
) -> tuple[list[R], list[tuple[T, Fault]]]:
    """Work on each row by itself; return the results, and the rows that faulted.

    ``key`` names a row in the log. Raises what concerns everybody.
    """
    results = []
    faults = []
    errors: list[Exception] = []
    for row in rows:
        try:
            results.append(work(row))
        except Exception as error:
            if concerns_everybody(error):
                raise
            faults.append((row, fault_of(error, stage)))
            errors.append(error)
    if not results:
        _raise_of_all(errors)
    log_faults(faults, key)
    return results, faults


def halving(
    rows: Sequence[T],
    work: Callable[[list[T]], object],
    *,
    stage: str | Callable[[], str],
    key: Callable[[T], object],
) -> list[tuple[T, Fault]]:
    """Work on all rows at once; where that raises, on each half, down to the rows that fault.

    For work on many that happens wholly or not at all, such as a transaction, or that passes over
    what it did before: one row of 500 that faults costs 18 more calls. Work of several stages
    gives a function that names the present one. Return the rows that faulted. Raises what
    concerns everybody.
    """
    faults = []
    errors: list[Exception] = []
    parts = [list(rows)] if rows else []
    while parts:
        part = parts.pop()
        try:
            if len(part) == 1 and len(errors) < MANY:
                tried(partial(work, part))
            else:
                work(part)
        except Exception as error:
            if concerns_everybody(error):
                raise
            if len(part) == 1:
                name = stage if isinstance(stage, str) else stage()
                faults.append((part[0], fault_of(error, name)))
                errors.append(error)
            else:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
    if len(faults) == len(rows):
        _raise_of_all(errors)
    log_faults(faults, key)
    return faults


def tried(call: Callable[[], R]) -> R:
    """Call for one row, and again where its error looks like an outage that is over by now.

    Not again if the call has used up what it may take. What ``call`` did before it raised must do
    no harm when it is done once more.
    """
    for _ in range(TRIES - 1):
        began = time.monotonic()
        try:
            return call()
        except Exception as error:
            is_spent = outages.used_its_bound(error, time.monotonic() - began)
            if is_spent or not is_of_a_row(error):
                raise
            time.sleep(PAUSE)
    return call()


def _raise_of_all(errors: Sequence[Exception]) -> None:
    """Raise what looks like an outage if it met all of many rows: then none of them is at fault."""
    if len(errors) >= MANY and all(map(outages.is_outage, errors)):
        _verdicts[errors[-1]] = False
        raise errors[-1]


class Part(Generic[R]):
    """One of several works of a round that is done again and again.

    Where it raises, it waits for a while, and the other works of the round go on. Raises what
    concerns everybody.
    """

    def __init__(self, name: str, work: Callable[[], R], otherwise: R) -> None:
        self._name = name
        self._work = work
        self._otherwise = otherwise
        self._failures = 0
        self._waits_until = 0.0

    def __call__(self) -> R:
        """Do the work; return ``otherwise`` where it raised, or waits after that."""
        if time.monotonic() < self._waits_until:
            return self._otherwise
        try:
            result = self._work()
        except Exception as error:
            if concerns_everybody(error):
                raise
            backoff = min(FIRST_BACKOFF * 2**self._failures, LONGEST_BACKOFF)
            self._failures = min(self._failures + 1, 10)
            self._waits_until = time.monotonic() + backoff
            fault = fault_of(error, self._name)
            logger.error(  # noqa: TRY400 -- a traceback has the exception's text
                "%s in %s, tried again in %s s, at %s",
                fault.error,
                self._name,
                backoff,
                fault.place,
            )
            return self._otherwise
        self._failures = 0
        return result


@contextmanager
def aside(stage: str) -> Iterator[None]:
    """Log what this block raises, and go on: work beside the rows', such as counting them.

    Raises what concerns everybody.
    """
    try:
        yield
    except Exception as error:
        if concerns_everybody(error):
            raise
        log_aside(error, stage)


def log_aside(error: Exception, stage: str) -> None:
    """Log what work beside the rows' raised, without the exception's text."""
    fault = fault_of(error, stage)
    said = "%s in stage %s, which no row depends on, at %s"
    logger.error(said, fault.error, fault.stage, fault.place)


def log_faults(faults: Iterable[tuple[T, Fault]], key: Callable[[T], object]) -> None:
    """Log one line per kind of fault, with the keys of a few of its rows."""
    by_kind: dict[Fault, list[object]] = {}
    for row, fault in faults:
        by_kind.setdefault(fault, []).append(key(row))
    for fault, keys in by_kind.items():
        named = ", ".join(map(str, keys[:KEYS_LOGGED]))
        logger.error(
            "%s in stage %s; rows that failed by it: %d (%s), at %s",
            *(fault.error, fault.stage, len(keys), named, fault.place),
        )
