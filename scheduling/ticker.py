"""What ticks with the scheduler: other packages register their sweeps here.

Each registered tick runs in a thread of its own with a database connection of its own, so that one
with endless work delays no fire, and a burst of fires delays no sweep. Celery's own tick, which
does the fires, stays in the main thread. A tick that says where its work shows is not called while
there is none: the lookout asks for all of them at once.
"""

import logging
import time
from collections.abc import Callable, Iterable
from threading import Event, Thread
from typing import NamedTuple

from django.db import connections

from scheduling import isolation, outages, threads, watch
from scheduling.liveness import pulse
from scheduling.lookout import INTERVAL, TRUSTED, Lookout, Work

logger = logging.getLogger(__name__)

Tick = Callable[[], float | None]

DEFAULT_INTERVAL = 0.5
MAX_BACKOFF = 10.0
LONG_PAUSE = 5.0
"""Seconds. A tick that waits so long connects anew after it: a database that hangs answers no
connection, while a query on an old one would wait for it in silence."""

LOOKOUT = "scheduling.lookout"


class _Registered(NamedTuple):
    tick: Tick
    work: tuple[Work, ...]


_registered: dict[str, _Registered] = {}


def register(name: str, tick: Tick, *, work: Iterable[Work] = ()) -> None:
    """Have every scheduler process call ``tick`` again and again.

    ``tick`` does one batch and returns the seconds until it wants to be called again: ``None``
    means 0.5 s, ``0`` means at once as there is more to do. Many schedulers call it at the same
    time. A fault is logged without its text, an outage once, and the tick waits a while. A second
    registration under the same name replaces the first.

    Where ``work`` says what to look for, a tick that wants to wait for 0.5 s or longer is called
    sooner, once there is work: at most 0.5 s after that was committed.
    """
    _registered[name] = _Registered(tick, tuple(work))


def registered() -> dict[str, Tick]:
    """Return the registered ticks by name."""
    return {name: entry.tick for name, entry in _registered.items()}


class TickerThread(Thread):
    """Calls one tick until it is told to stop; the batch in hand is always finished.

    ``lookout`` sets ``woken`` where there is work; without one the tick is called by time alone.
    """

    def __init__(
        self, name: str, tick: Tick, stopped: Event, lookout: Lookout | None = None
    ) -> None:
        super().__init__(name=f"ticker-{name}", daemon=True)
        self.woken = Event()
        self._tick = tick
        self._stopped = stopped
        self._lookout = lookout
        self._failures = 0
        self._has_raised = False

    def run(self) -> None:
        threads.run(self.name, self._tick_until_stopped)

    def _tick_until_stopped(self) -> None:
        try:
            while self._may_go_on():
                pulse.begin(self.name)
                pause = self._call()
                pulse.pause(self.name, pause)
                if self._lookout is None or self._has_raised or pause < INTERVAL:
                    self._sleep(pause)
                else:
                    self._await_work(pause, self._lookout)
        finally:
            connections.close_all()

    def _may_go_on(self) -> bool:
        self.woken.clear()  # before the look at the end, which wakes, too
        return not self._stopped.is_set()

    def _sleep(self, pause: float) -> None:
        if pause >= LONG_PAUSE:
            connections.close_all()
        self._stopped.wait(pause)

    def _await_work(self, seconds: float, lookout: Lookout) -> None:
        """Wait until the lookout finds work; where it is not to be trusted, for ``INTERVAL``."""
        until = time.monotonic() + seconds
        pause = min(seconds, INTERVAL)
        while not self.woken.wait(pause):
            left = until - time.monotonic()
            if left <= 0 or not lookout.is_trusted:
                return
            if left >= LONG_PAUSE:
                connections.close_all()
            pause = min(left, TRUSTED)

    def _call(self) -> float:
        """Call the tick in its error boundary; return the seconds until its next call."""
        self._has_raised = True
        try:
            wanted = self._tick()
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- a tick is anybody's code
            if (until_back := watch.database_outage(error)) is not None:
                return until_back
            self._failures += 1
            backoff: float = min(DEFAULT_INTERVAL * 2**self._failures, MAX_BACKOFF)
            self._say_failed(error)
            _drop_broken_connections()
            return backoff
        self._failures, self._has_raised = 0, False
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
        lookout = Lookout()
        for name, (tick, work) in _registered.items():
            thread = TickerThread(name, tick, self._stopped, lookout if work else None)
            lookout.wake(thread.woken, work)
            self._threads.append(thread)
        if lookout.finds_any:
            self._threads.append(TickerThread(LOOKOUT, lookout.tick, self._stopped))
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 30.0) -> None:
        """Let every tick finish its batch, then end; waits ``timeout`` seconds for each."""
        self._stopped.set()
        for thread in self._threads:
            thread.woken.set()
        for thread in self._threads:
            thread.join(timeout)


def _drop_broken_connections() -> None:
    """Have the next query reconnect, if the database went away."""
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()
