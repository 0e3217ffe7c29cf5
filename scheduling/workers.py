"""Which workers are alive, what queues they consume, and which tasks they know.

Each worker's main process announces itself in the database, so this works with every broker. A
look costs one query, and no worker has to answer.
"""

import logging
import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import Any

from celery import signals
from django.db import Error, connections

from scheduling import isolation, threads, watch
from scheduling.clock import database_now
from scheduling.models import WorkerProcess

logger = logging.getLogger(__name__)

INTERVAL = 5.0
"""Seconds between two announcements of a worker."""
LIVE = timedelta(seconds=15)
"""A worker that was not seen for that long is not alive."""


class Announcer(Thread):
    """Announces the worker of this process until it ends.

    The database connection is closed after each announcement: a worker's main process needs none,
    and a database that hangs answers no new one.
    """

    def __init__(self, consumer: Any) -> None:
        super().__init__(name="worker-announcer", daemon=True)
        self._consumer = consumer
        self._name = f"{consumer.hostname}:{os.getpid()}"
        self._tasks = sorted(consumer.app.tasks)
        self._started_at: datetime | None = None
        self._stopped = Event()

    def run(self) -> None:
        threads.run(self.name, self._announce_until_stopped)

    def _announce_until_stopped(self) -> None:
        while not self._stopped.is_set():
            try:
                self.announce()
            except Exception as error:  # noqa: BLE001 -- the boundary: the next one is due anyway
                if watch.database_outage(error) is None:
                    fault = isolation.fault_of(error, "announcing a worker")
                    said = "A worker could not be announced: %s at %s"
                    logger.error(said, fault.error, fault.place)  # noqa: TRY400 -- a traceback may hold content
            finally:
                connections.close_all()
            self._stopped.wait(INTERVAL)

    def announce(self) -> None:
        """Write that this worker is alive now. Raises ``django.db.Error``."""
        now = database_now()
        self._started_at = self._started_at or now
        worker = WorkerProcess(
            name=self._name,
            queues=_consumed(self._consumer),
            tasks=self._tasks,
            slots=getattr(self._consumer.pool, "num_processes", 0),
            started_at=self._started_at,
            seen_at=now,
        )
        seen = WorkerProcess.objects.filter(name=self._name)
        if not seen.update(queues=worker.queues, slots=worker.slots, seen_at=now):
            WorkerProcess.objects.bulk_create([worker], ignore_conflicts=True)

    def stop(self) -> None:
        """End the announcements, and take this worker off the list at once.

        A database that is away does not hold up the end: the worker is not alive after ``LIVE``.
        """
        self._stopped.set()
        self.join(INTERVAL)
        if watch.database.outage is not None or self.is_alive():
            return
        connections.close_all()  # this thread's, which may be from before an outage
        try:
            WorkerProcess.objects.filter(name=self._name).delete()
        except Error as error:
            logger.warning("A worker cannot sign off: %s", type(error).__name__)
        finally:
            connections.close_all()


_announcer: Announcer | None = None


def connect() -> None:
    """Have the worker that starts in this process announced; called when Django is ready."""
    signals.worker_ready.connect(_on_ready, weak=False)
    signals.worker_shutdown.connect(_on_shutdown, weak=False)


def alive(now: datetime | None = None) -> list[WorkerProcess]:
    """Return the workers that are alive, without the names of their tasks.

    Raises ``django.db.Error``.
    """
    since = (now or database_now()) - LIVE
    return list(WorkerProcess.objects.filter(seen_at__gt=since).defer("tasks").order_by("name"))


def unknown(tasks: Iterable[str], now: datetime | None = None) -> set[str]:
    """Return those of these tasks that no living worker knows; none where no worker is alive."""
    since = (now or database_now()) - LIVE
    lists = WorkerProcess.objects.filter(seen_at__gt=since).values_list("tasks", flat=True)
    known = [set(names) for names in lists]
    return set(tasks).difference(*known) if known else set()


def forget(before: datetime) -> None:
    """Delete the workers that were last seen before this time."""
    WorkerProcess.objects.filter(seen_at__lt=before).delete()


def _consumed(consumer: Any) -> list[str]:
    """Return the queues that are consumed just now; none while the broker is away."""
    tasks = consumer.task_consumer
    return sorted(queue.name for queue in tasks.queues) if tasks is not None else []


def _on_ready(sender: Any, **_: Any) -> None:
    global _announcer  # noqa: PLW0603 -- a process has one worker
    if _announcer is None:  # Celery tells again after each lost connection to the broker
        _announcer = Announcer(sender)
        _announcer.start()


def _on_shutdown(**_: Any) -> None:
    global _announcer  # noqa: PLW0603 -- as above
    if _announcer is not None:
        _announcer.stop()
        _announcer = None
