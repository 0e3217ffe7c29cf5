"""The beat scheduler: started by plain ``celery beat``, as many of them as you like.

The database is the heap. A tick asks it what is due, claims that, commits, and publishes.
"""

import logging
from typing import Any

from django.db import Error as DatabaseError
from django.db import connection
from django_celery_beat.schedulers import DatabaseScheduler

from scheduling import changes, claims, dispatch, jobs, outlook, recovery, signals
from scheduling.entry import Entry
from scheduling.models import Fire
from scheduling.ticker import Tickers

__all__ = ["Entry", "Scheduler"]

logger = logging.getLogger(__name__)

POLL_INTERVAL = 0.5
"""Seconds; the longest a change, or another scheduler's death, stays unseen."""
CONTENDED_INTERVAL = 0.02
"""Seconds to leave to another scheduler what it has locked."""
DATABASE_REST = 1.0
"""Seconds to wait for a database that went away."""


class Scheduler(DatabaseScheduler):  # type: ignore[misc]  # django-celery-beat is untyped
    """A django-celery-beat scheduler that keeps no schedule in memory."""

    Entry = Entry

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with signals.held_back():
            super().__init__(*args, **kwargs)
        self.max_interval: float = min(self.app.conf.beat_max_loop_interval or 1, POLL_INTERVAL)
        self._tickers = Tickers()

    def tick(self, *_: Any, **__: Any) -> float:
        """Do what is due; give the seconds until the next tick is wanted."""
        with signals.held_back():
            self._tickers.start()
            try:
                return self.do_due()
            except DatabaseError:
                logger.exception("The database failed; trying again in %s s", DATABASE_REST)
                connection.close()
                return DATABASE_REST

    def close(self) -> None:
        """Let the tickers finish their batch, and release the broker's connection."""
        self._tickers.stop()
        super().close()

    def sync(self) -> None:
        """Nothing is kept back: each tick saves what it did."""

    def setup_schedule(self) -> None:
        """Write Celery's own entries, ``beat_schedule`` and declared jobs to the database."""
        self.install_default_entries({})
        self.update_from_dict(self.app.conf.beat_schedule)
        jobs.register_declared()

    def update_from_dict(self, mapping: dict[str, dict[str, Any]]) -> None:
        """Write entries to the database; one that is broken does not stop the others."""
        for name, fields in mapping.items():
            try:
                self.Entry.from_entry(name, app=self.app, **fields)
            except Exception:
                logger.exception("The beat_schedule entry %r cannot be kept", name)

    def do_due(self) -> float:
        """Do one round of what is due; give the seconds until the next is wanted.

        Raises what ``tick`` catches.
        """
        view = outlook.look()
        done = changes.apply_changes(view.now) if view.has_changes else 0
        fires = self._claim(view)
        if fires:
            dispatch.publish(self.app, fires)
        if done or fires:
            return 0.0
        wait = view.seconds_until_due()
        return min(wait or CONTENDED_INTERVAL, self.max_interval)

    def _claim(self, view: outlook.Outlook) -> list[Fire]:
        fires: list[Fire] = []
        if view.next_fire_at is not None and view.next_fire_at <= view.now:
            fires += claims.claim_due(view.now)
        if view.fire_due_at is not None and view.fire_due_at <= view.now:
            fires += recovery.recover(view.now)
        return fires
