"""Tells the ledger, from a worker process, which of its runs are alive."""

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from threading import Event, Lock, Thread
from typing import NamedTuple
from uuid import UUID

from scheduling import isolation, outages, sessions, threads, waits
from scheduling.chosen_backend import ledger_of
from scheduling.kept.protocol import Ledger

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Seconds between two tries in an outage: short, so that a run is heard soon after its end."""


class Run(NamedTuple):
    """A run of a fire: the number of its attempt, from 1. Number 0 stands for no run at all."""

    fire: UUID
    attempt: int


class Heartbeat:
    """The runs of this process, and the thread that beats for them while there are any.

    A run of which the end is not written yet counts as alive: nobody else may run its fire.
    """

    def __init__(self) -> None:
        self._runs: set[Run] = set()
        self._ends: dict[Run, Callable[[], None]] = {}
        self._lock = Lock()
        self._thread: Thread | None = None
        self._wake = Event()

    def add(self, run: Run) -> None:
        """Beat for a run from now on."""
        with self._lock:
            self._runs.add(run)
            self._ensure_thread()
        self._wake.set()

    def has(self, fire: UUID) -> bool:
        """Return whether a run of this fire in this process has not ended, or not in the ledger."""
        with self._lock:
            return any(run.fire == fire for run in self._runs)

    def end(self, run: Run, write: Callable[[], None]) -> None:
        """Write the end of a run, in an outage as soon as that is over.

        Raises what ``write`` raises that is not an outage.
        """
        try:
            sessions.write(write)
        except Exception as error:
            if not outages.is_outage(error):
                self._remove(run)
                raise
            logger.warning(
                "The end of fire %s is written later: %s", run.fire, type(error).__name__
            )
            sessions.close()
            with self._lock:
                self._ends[run] = write
                self._ensure_thread()
            self._wake.set()
        else:
            self._remove(run)

    def write_ends(self, seconds: float) -> None:
        """Write what is still to be written, for so many seconds at most: this process ends."""
        deadline = time.monotonic() + seconds
        while self._ends and time.monotonic() < deadline:
            if not self._write_ends():
                time.sleep(RETRY_SECONDS / 4)

    def _remove(self, run: Run) -> None:
        with self._lock:
            self._runs.discard(run)
            self._ends.pop(run, None)
            if not self._runs and not self._ends:
                self._wake.clear()

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threads.lasting("fire-heartbeat", self._beat)
            self._thread.start()

    def _beat(self) -> None:
        pause = Event()
        seconds = waits.HEARTBEAT_INTERVAL.total_seconds()
        while True:
            if not self._wake.is_set():
                sessions.close()
            self._wake.wait()
            pause.wait(min(RETRY_SECONDS, seconds) if self._ends else seconds)
            seconds = waits.HEARTBEAT_INTERVAL.total_seconds()
            with self._lock:
                runs = set(self._runs)
            # First what keeps other workers from these runs.
            if runs and not self._guarded(partial(_beat, runs)):
                seconds = RETRY_SECONDS
            self._write_ends()

    def _write_ends(self) -> bool:
        """Try to write each end that was kept back; return whether none is left."""
        with self._lock:
            ends = dict(self._ends)
        for run, write in ends.items():
            self._guarded(partial(self.end, run, write))
        return not self._ends

    def _guarded(self, write: Callable[[], None]) -> bool:
        """Return whether a write raised nothing."""
        try:
            write()
        except Exception as error:  # noqa: BLE001 -- the boundary: the next beat is due in any case
            if sessions.outage_rest(error) is None:
                fault = isolation.fault_of(error, "heartbeat")
                # No traceback: the text of an error may quote a row.
                logger.error("A heartbeat failed: %s at %s", fault.error, fault.place)  # noqa: TRY400 -- a traceback may hold content
                sessions.close()
            return False
        return True


def _beat(runs: Iterable[Run]) -> None:
    """Tell each ledger which of its runs are alive."""
    by_ledger: dict[int, tuple[Ledger, list[Run]]] = {}
    for run in runs:
        ledger = ledger_of(run.fire)
        by_ledger.setdefault(id(ledger), (ledger, []))[1].append(run)
    for ledger, its_runs in by_ledger.values():
        ledger.beat(its_runs)
