"""What ``celery beat`` runs where no database keeps the schedules, as many of them as you like."""

import logging
from typing import Any

from celery import Celery, beat

from scheduling import isolation, outages, signals
from scheduling.backends.rounds import POLL_INTERVAL, Rounds
from scheduling.kept.ticks import Ticks

logger = logging.getLogger(__name__)

BACKOFF = 1.0
"""Seconds to wait after a tick that failed."""


class BackendScheduler(beat.Scheduler):  # type: ignore[misc]  # celery is untyped
    """A scheduler that keeps no schedule in memory: each tick asks the backend what is due."""

    def __init__(self, app: Celery, *args: Any, **kwargs: Any) -> None:
        self._rounds = Rounds(self.make_backend(), app)
        self._is_away = False
        super().__init__(app, *args, **kwargs)
        self.max_interval: float = min(self.app.conf.beat_max_loop_interval or 1, POLL_INTERVAL)

    def make_backend(self) -> Ticks:
        """Return the backend of this scheduler."""
        raise NotImplementedError

    def setup_schedule(self) -> None:
        """Nothing: the first round that the backend answers registers what code declares."""

    def tick(self, *_: Any, **__: Any) -> float:
        """Do what is due; return the seconds until the next tick is wanted. Raises nothing."""
        with signals.held_back():
            try:
                wait = self._rounds.tick()
            except Exception as error:  # noqa: BLE001 -- the boundary: beat goes on, whatever it is
                self._say(error)
                return BACKOFF
            if self._is_away:
                self._is_away = False
                logger.warning("redis_back")
            return min(wait, self.max_interval)

    def _say(self, error: Exception) -> None:
        """Say an outage once, and a fault each time, without its text."""
        outage = outages.of(error)
        if outage is None:
            fault = isolation.fault_of(error, "tick")
            logger.error("A tick failed: %s at %s", fault.error, fault.place)
        elif not self._is_away:
            self._is_away = True
            logger.error("redis_away: %s (%s)", outage.reason, outage.code)

    def close(self) -> None:
        """Let another scheduler clean up, and release the broker's connection."""
        try:
            self._rounds.end()
        except Exception as error:  # noqa: BLE001 -- the boundary: the lease ends by itself
            self._say(error)
        super().close()

    def sync(self) -> None:
        """Nothing is kept back: each tick saves what it did."""
