"""Tells the ledger, from a worker process, which of its runs are alive."""

import logging
from threading import Event, Lock, Thread
from uuid import UUID

from django.db import connection

from scheduling import ledger

logger = logging.getLogger(__name__)


class Heartbeat:
    """The runs of this process, and the thread that beats for them while there are any."""

    def __init__(self) -> None:
        self._runs: dict[UUID, int] = {}
        self._lock = Lock()
        self._thread: Thread | None = None
        self._wake = Event()

    def add(self, fire: UUID, attempt: int) -> None:
        """Beat for a run from now on."""
        with self._lock:
            self._runs[fire] = attempt
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._beat, name="fire-heartbeat", daemon=True)
                self._thread.start()
        self._wake.set()

    def remove(self, fire: UUID) -> int | None:
        """Stop beating for a run; give its number, or ``None`` if it is not of this process."""
        with self._lock:
            attempt = self._runs.pop(fire, None)
            if not self._runs:
                self._wake.clear()
        return attempt

    def _beat(self) -> None:
        pause = Event()
        while True:
            self._wake.wait()
            pause.wait(ledger.HEARTBEAT_INTERVAL.total_seconds())
            with self._lock:
                runs = list(self._runs)
            if runs:
                self._tell(runs)

    def _tell(self, runs: list[UUID]) -> None:
        try:
            ledger.beat(runs)
        except Exception:
            logger.exception("The heartbeat of %s runs failed", len(runs))
            connection.close()
