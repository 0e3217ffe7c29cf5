"""What ticks with the scheduler: other packages register their sweeps here.

Each registered tick runs in a thread of its own with a database connection of its own, so that one
with endless work delays no fire, and a burst of fires delays no sweep. Celery's own tick, which
does the fires, stays in the main thread.
"""

import logging
from collections.abc import Callable
from threading import Event, Thread

from django.db import connections

from scheduling import isolation, outages, watch
from scheduling.liveness import pulse

logger = logging.getLogger(__name__)

Tick = Callable[[], float | None]

DEFAULT_INTERVAL = 0.5
MAX_BACKOFF = 10.0
LONG_REST = 5.0
"""Seconds. A tick that rests so long connects anew after it: a database that hangs answers no
connection, while a query on an old one would wait for it in silence."""

_registered: dict[str, Tick] = {}


def register(name: str, tick: Tick) -> None:
    """Have every scheduler process call ``tick`` again and again.

    ``tick`` does one batch and returns the seconds until it wants to be called again: ``None``
    means 0.5 s, ``0`` means at once as there is more to do. Many schedulers call it at the same
    time. A fault is logged without its text, an outage once, and the tick rests a while. A second
    registration under the same name replaces the first.
    """
    _registered[name] = tick


def registered() -> dict[str, Tick]:
    """Return the registered ticks by name."""
    return dict(_registered)


class TickerThread(Thread):
    """Calls one tick until it is told to stop; the batch in hand is always finished."""

    def __init__(self, name: str, tick: Tick, stopped: Event) -> None:
        super().__init__(name=f"ticker-{name}", daemon=True)
        self._tick = tick
        self._stopped = stopped
        self._failures = 0

    def run(self) -> None:
        try:
            while not self._stopped.is_set():
                pulse.begin(self.name)
                rest = self._call()
                pulse.rest(self.name, rest)
                if rest >= LONG_REST:
                    connections.close_all()
                self._stopped.wait(rest)
        finally:
            connections.close_all()

    def _call(self) -> float:
        """Call the tick in its error boundary; return the seconds to rest."""
        try:
            wanted = self._tick()
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- a tick is anybody's code
            if (until_back := watch.database_outage(error)) is not None:
                return until_back
            self._failures += 1
            rest: float = min(DEFAULT_INTERVAL * 2**self._failures, MAX_BACKOFF)
            self._say_failed(error)
            _drop_broken_connections()
            return rest
        self._failures = 0
        return DEFAULT_INTERVAL if wanted is None else max(wanted, 0.0)

    def _say_failed(self, error: BaseException) -> None:
        """Say an outage once, and a fault each time, without its text: it may quote a row."""
        outage = outages.of(error)
        if outage is None:
            fault = isolation.fault_of(error, self.name)
            logger.error("%s failed: %s at %s", self.name, fault.error, fault.place)
        elif self._failures == 1:
            logger.warning("%s waits: the %s failed: %s", self.name, outage.server, outage.reason)


class Tickers:
    """The ticker threads of one scheduler process."""

    def __init__(self) -> None:
        self._stopped = Event()
        self._threads: list[TickerThread] = []

    def start(self) -> None:
        """Start a thread for each registered tick; once."""
        if self._threads or self._stopped.is_set():
            return
        self._threads = [
            TickerThread(name, tick, self._stopped) for name, tick in _registered.items()
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 30.0) -> None:
        """Let every tick finish its batch, then end; waits ``timeout`` seconds for each."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout)


def _drop_broken_connections() -> None:
    """Have the next query reconnect, if the database went away."""
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()
