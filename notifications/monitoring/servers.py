"""Whether the database and the broker do what a request needs: asked in one way by all who ask."""

import time
from collections.abc import Callable
from threading import Lock

from django.db import connection

from notifications.core import routing
from notifications.queueing import publisher
from scheduling import outages, watch
from scheduling.outages import Outage

PROBE_EVERY = 1.0  # seconds


class Probe:
    """A question to a server, asked once a second however often it is put."""

    def __init__(self, ask: Callable[[], Outage | None]) -> None:
        self._ask = ask
        self._lock = Lock()
        self._until = 0.0
        self._outage: Outage | None = None

    def outage(self) -> Outage | None:
        """Return why the server does not do its work now, or ``None``."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._outage = self._ask()
                self._until = time.monotonic() + PROBE_EVERY
            return self._outage

    def forget(self) -> None:
        """Ask at the next call."""
        self._until = 0.0


def _refused() -> Outage | None:
    """Write, and leave nothing behind."""
    outage = watch.refusal()
    if outage is not None:
        watch.database.saw(outage)
    return outage


def _broker_refused() -> Outage | None:
    try:
        publisher.probe()
        publisher.depths([routing.JOBS_QUEUE])
    except Exception as error:  # noqa: BLE001 -- a probe: what it raises is the answer
        return outages.of(error) or Outage(
            outages.BROKER, publisher.NO_ANSWER, type(error).__name__
        )
    return None


_database = Probe(_refused)
_broker = Probe(_broker_refused)


def database() -> Outage | None:
    """Return why the database takes no write now; what this process met before counts, too.

    A known outage may be over for the session that this thread has. Where it has none, nothing is
    asked: to connect may take long.
    """
    if watch.database.outage is None:
        return _database.outage()
    if connection.connection is not None:
        watch.database.ask_here()
    return watch.database.outage


def broker() -> Outage | None:
    """Return why the broker takes no message now."""
    return _broker.outage()


def forget() -> None:
    """Ask both at the next call."""
    _database.forget()
    _broker.forget()
