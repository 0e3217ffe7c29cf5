"""The beat scheduler: started by plain ``celery beat``, as many of them as you like.

The database is the heap. A tick asks it what is due, claims that, commits, and publishes.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.db import connection
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from scheduling import (
    changes,
    claims,
    declarations,
    dispatch,
    future,
    isolation,
    jobs,
    outages,
    outlook,
    recovery,
    signals,
    watch,
)
from scheduling.entry import Entry
from scheduling.liveness import pulse
from scheduling.models import Fire
from scheduling.pace import Pace
from scheduling.ticker import Tickers

__all__ = ["Entry", "Scheduler"]

logger = logging.getLogger(__name__)

LOOP = "fires"
"""The main thread's loop, beside those of the tickers."""
POLL_INTERVAL = 0.5
"""Seconds; the longest a change, or another scheduler's death, stays unseen."""
CONTENDED_INTERVAL = 0.02
"""Seconds to leave to another scheduler what it has locked."""
FAULT_BACKOFF = 1.0
"""Seconds to wait after a tick that failed by a fault of its own."""


class Scheduler(DatabaseScheduler):  # type: ignore[misc]  # django-celery-beat is untyped
    """A django-celery-beat scheduler that keeps no schedule in memory."""

    Entry = Entry
    _is_declared = True
    """Whether all that code declares is in the database; a lazy scheduler declares nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with signals.held_back():
            super().__init__(*args, **kwargs)
        self.max_interval: float = min(self.app.conf.beat_max_loop_interval or 1, POLL_INTERVAL)
        self._tickers = Tickers()
        self._pace = Pace()
        self._latest = datetime.min.replace(tzinfo=UTC) + future.TOLERANCE

    @property
    def schedule(self) -> dict[str, ModelEntry]:
        """Return the enabled schedules; what was saved shows at once. No tick asks for them."""
        if self._initial_read:
            self._last_timestamp = self.Changes.last_change()
        entries: dict[str, ModelEntry] = super().schedule
        return entries

    def tick(self, *_: Any, **__: Any) -> float:
        """Do what is due; return the seconds until the next tick is wanted. Raises nothing."""
        with signals.held_back():
            self._tickers.start()
            pulse.begin(LOOP)
            wait = self._tick()
            pulse.pause(LOOP, wait)
            return wait

    def _tick(self) -> float:
        try:
            return self.do_due()
        except Exception as error:  # noqa: BLE001 -- the boundary: beat goes on, whatever it is
            if (backoff := watch.database_outage(error)) is not None:
                return backoff
            self._say_failed(error)
            connection.close()
            return FAULT_BACKOFF

    def _say_failed(self, error: Exception) -> None:
        """Say what is none of the database, which has its watch; of a fault, where it is."""
        outage = outages.of(error)
        if outage is None:
            fault = isolation.fault_of(error, "tick")
            logger.error("A tick failed: %s at %s", fault.error, fault.place)
        else:
            logger.warning("A tick waits: the %s failed: %s", outage.server, outage.reason)

    def close(self) -> None:
        """Let the tickers finish their batch, and release the broker's connection."""
        self._tickers.stop()
        super().close()

    def sync(self) -> None:
        """Nothing is kept back: each tick saves what it did."""

    def setup_schedule(self) -> None:
        """Write what code declares to the database; if that is out, a later tick does."""
        self._is_declared = False
        try:
            self._declare()
        except Exception as error:
            if watch.database_outage(error) is None:
                raise

    def _declare(self) -> None:
        """Write Celery's own entries, ``beat_schedule`` and declared jobs to the database."""
        self.install_default_entries({})
        self.update_from_dict(self.app.conf.beat_schedule)
        jobs.register_declared()
        declarations.compare(self.app)
        self._is_declared = True

    def update_from_dict(self, mapping: dict[str, dict[str, Any]]) -> None:
        """Write entries to the database; one that is broken does not stop the others.

        Raises what concerns all of them.
        """
        isolation.each(
            mapping.items(),
            lambda entry: self.Entry.from_entry(entry[0], app=self.app, **entry[1]),
            stage="keeping beat_schedule",
            key=lambda entry: entry[0],
        )

    def do_due(self) -> float:
        """Do one round of what is due; return the seconds until the next is wanted.

        Each step is done although the one before it failed. Raises what ``tick`` catches.
        """
        view = outlook.look()
        steps: tuple[Callable[[outlook.Outlook], int], ...] = (
            self._declare_late,
            self._recount,
            self._plan,
            self._claim,
            self._recover,
        )
        count, failure = 0, None
        for step in steps:
            try:
                count += step(view)
            except Exception as error:
                if isolation.concerns_everybody(error):
                    raise
                failure = failure or error
        if failure is not None:
            raise failure
        if count:
            return 0.0
        wait = view.seconds_until_due()
        return min(wait or CONTENDED_INTERVAL, self.max_interval)

    def _declare_late(self, _view: outlook.Outlook) -> int:
        if not self._is_declared:
            self._declare()
        return 0

    def _recount(self, view: outlook.Outlook) -> int:
        """Count plans from the future anew, if the clock was set back."""
        was_set_back = view.now < self._latest - future.TOLERANCE
        self._latest = view.now
        if was_set_back:
            logger.warning("The database's clock was set back: plans are counted anew")
            while future.recount(view.now) == future.BATCH:
                pass
        return int(was_set_back)

    def _plan(self, view: outlook.Outlook) -> int:
        return changes.apply_changes(view.now) if view.has_changes else 0

    def _claim(self, view: outlook.Outlook) -> int:
        if view.next_fire_at is None or view.next_fire_at > view.now:
            return 0
        with self._pace.measured() as limit:
            return self._publish(claims.claim_due(view.now, limit))

    def _recover(self, view: outlook.Outlook) -> int:
        if view.fire_due_at is None or view.fire_due_at > view.now:
            return 0
        with self._pace.measured() as limit:
            return self._publish(recovery.recover(view.now, limit))

    def _publish(self, fires: list[Fire]) -> int:
        if fires:
            dispatch.publish(self.app, fires)
        return len(fires)
