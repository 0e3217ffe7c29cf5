"""Whether a scheduler's loops move: a process whose loop hangs is alive, and does nothing.

Each loop of a scheduler process says when it begins a round, and after it for how long it pauses.
``pulse`` knows by that how long the most stuck of them has not moved. Housekeeping writes it beside
the process's name, where ``hung`` and ``problem_of_host`` find it.
"""

import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock

from django.db import connection, transaction

from scheduling.clock import database_now
from scheduling.models import SchedulerProcess, WorkerProcess

HUNG = timedelta(seconds=30)
"""A scheduler of which a loop has not moved for that long hangs."""


class Pulse:
    """When each loop of this process has to move next."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._moves_by: dict[str, float] = {}

    def begin(self, loop: str) -> None:
        """Note that a loop begins a round."""
        self.pause(loop, 0.0)

    def pause(self, loop: str, seconds: float) -> None:
        """Note that a loop has ended its round, and begins the next one so many seconds later."""
        with self._lock:
            self._moves_by[loop] = self._clock() + seconds

    def stuck_for(self) -> timedelta:
        """Return for how long the loop that is most behind should have moved; zero: none is."""
        with self._lock:
            now = self._clock()
            behind = max((now - by for by in self._moves_by.values()), default=0.0)
        return timedelta(seconds=max(behind, 0.0))


pulse = Pulse()


def hung(now: datetime | None = None, limit: timedelta = HUNG) -> list[SchedulerProcess]:
    """Return the schedulers that are seen alive and of which a loop has not moved for ``limit``.

    Raises ``django.db.Error``.
    """
    now = now or database_now()
    seen = SchedulerProcess.objects.filter(seen_at__gt=now - limit, ticked_at__lte=now - limit)
    return list(seen.order_by("name"))


Announcement = type[SchedulerProcess] | type[WorkerProcess]


def is_unknown(model: Announcement = SchedulerProcess) -> bool:
    """Whether somebody keeps locked what the schedulers write: no announcement says who is alive.

    Waits for nobody. The same of what workers write. Raises ``django.db.Error``.
    """
    if not connection.features.has_select_for_update_skip_locked or _is_read_only():
        return False
    with transaction.atomic():
        free = model.objects.select_for_update(skip_locked=True).values_list("pk")
        return len(free) < model.objects.count()


def _is_read_only() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        return bool(cursor.fetchone()[0] == "on")


def problem_of_host(limit: timedelta = HUNG, host: str | None = None) -> str:
    """Say what is wrong with the schedulers of a host, by default this one; empty: nothing.

    Raises ``django.db.Error``.
    """
    now = database_now()
    host = socket.gethostname() if host is None else host
    seconds = f"{limit.total_seconds():g} s"
    here = SchedulerProcess.objects.filter(name__startswith=f"{host}:", seen_at__gt=now - limit)
    if not here.exists():
        return f"No scheduler of {host} was seen in the last {seconds}."
    stuck = [process.name for process in hung(now, limit) if process.name.startswith(f"{host}:")]
    return f"It has not ticked for {seconds}, so it hangs: {', '.join(stuck)}." if stuck else ""
