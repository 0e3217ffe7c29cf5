"""A scheduler process' rounds over a backend that keeps no rows: tick, announce, clean up."""

import os
import socket
import time

from celery import Celery, current_app

from scheduling import calendars, chosen_backend, configuration, jobs, leases
from scheduling.kept.ticks import DROP_BATCH, Ticks

POLL_INTERVAL = 0.5
"""Seconds; the longest a change, or another scheduler's death, stays unseen."""
ANNOUNCE_INTERVAL = 5.0
CLEANING_INTERVAL = 60.0


class Rounds:
    """What one process does over a backend. ``app`` is by default Celery's current one."""

    def __init__(self, backend: Ticks, app: Celery | None = None) -> None:
        self._backend, self._app = backend, app
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._cleaner = leases.Holder(backend, "housekeeping", self._name)
        self._calendars = calendars.Watch()
        self._is_declared = False
        self._announces_at = self._cleans_at = 0.0

    def tick(self) -> float:
        """Do one round; return the seconds until the next is wanted. Raises an outage."""
        with chosen_backend.using(self._backend):
            self._declare()
            wait = self._backend.tick(self._app or current_app)
            if wait:
                self._keep_house()
        return min(wait, POLL_INTERVAL)

    def end(self) -> None:
        """Let another process clean up at once. Raises an outage."""
        self._cleaner.release()

    def _declare(self) -> None:
        """Register the jobs that code declares, at the first round that the backend answers."""
        if not self._is_declared:
            jobs.register_declared()
            self._is_declared = True

    def _keep_house(self) -> None:
        now = time.monotonic()
        if now < self._announces_at:
            return
        self._announces_at = now + ANNOUNCE_INTERVAL
        self._backend.announce(self._name)
        is_cleaner = self._cleaner.hold()
        if is_cleaner:
            self._calendars.look(self._backend.replan)
        if is_cleaner and now >= self._cleans_at:
            days = configuration.fires_kept_days()
            if self._backend.clean(self._backend.now(), days) < DROP_BATCH:
                self._cleans_at = now + CLEANING_INTERVAL
