"""What keeps the scheduler's own tables in order; ticks in every scheduler process."""

import logging
import os
import socket
import time
from datetime import datetime, timedelta
from functools import partial

from django.db import connection
from django.db.models import Exists, OuterRef
from django_celery_beat.models import PeriodicTask

from scheduling import (
    calendar_changes,
    calendars,
    configuration,
    future,
    isolation,
    leases,
    shared_keys,
    workers,
)
from scheduling.clock import database_now
from scheduling.liveness import pulse
from scheduling.models import Change, Fire, Schedule, SchedulerProcess

logger = logging.getLogger(__name__)

INTERVAL = timedelta(seconds=5)
LIVE = timedelta(seconds=15)
"""A scheduler that was not seen for that long is not alive."""
PROCESSES_KEPT = timedelta(days=1)
CLEANING_INTERVAL = 60.0
"""Seconds between two clean-ups; the process that does them renews its lease more often."""
DELETE_BATCH = 1000


class Housekeeping:
    """Announces this process; one process at a time also cleans up."""

    def __init__(self) -> None:
        self._started_at: datetime | None = None
        self._cleaner: leases.Holder | None = None
        self._calendars = calendars.Watch()
        self._cleans_at = 0.0

    def tick(self) -> float:
        """Do one round; return the seconds until the next."""
        now = database_now()
        self._announce(now)
        may_clean = self._may_clean()
        if may_clean:
            self._calendars.look(partial(calendar_changes.replan, now=now))
        if may_clean and time.monotonic() >= self._cleans_at:
            if clean(now):
                return 0.0
            self._cleans_at = time.monotonic() + CLEANING_INTERVAL
        return INTERVAL.total_seconds()

    def _announce(self, now: datetime) -> None:
        self._started_at = self._started_at or now
        SchedulerProcess.objects.update_or_create(
            name=process_name(),
            defaults={
                "started_at": self._started_at,
                "seen_at": now,
                "ticked_at": now - pulse.stuck_for(),
            },
        )

    def _may_clean(self) -> bool:
        if self._cleaner is None:
            self._cleaner = leases.Holder(leases.configured(), "housekeeping", process_name())
        return self._cleaner.hold()


def process_name() -> str:
    """Name this process among all machines."""
    return f"{socket.gethostname()}:{os.getpid()}"


def live_schedulers(now: datetime) -> list[str]:
    """Return the names of the schedulers that are alive."""
    seen = SchedulerProcess.objects.filter(seen_at__gt=now - LIVE)
    return list(seen.order_by("name").values_list("name", flat=True))


def clean(now: datetime) -> bool:
    """Clean up one batch; return whether there is more. A step that faults stops no other."""
    steps = (
        *(_forget_processes, _forget_keys, _delete_strays, _note_unknown),
        *(_delete_old_fires, future.recount),
    )
    deleted, _ = isolation.each(
        steps, lambda step: step(now), stage="housekeeping", key=lambda step: step.__name__
    )
    return any(count in {DELETE_BATCH, future.BATCH} for count in deleted)


def _forget_processes(now: datetime) -> int:
    SchedulerProcess.objects.filter(seen_at__lt=now - PROCESSES_KEPT).delete()
    workers.forget(now - PROCESSES_KEPT)
    return 0


def _forget_keys(now: datetime) -> int:
    shared_keys.forget(now)
    return 0


def _delete_old_fires(now: datetime) -> int:
    return delete_old_fires(now, configuration.fires_kept_days())


def delete_old_fires(now: datetime, kept_days: float) -> int:
    """Delete a batch of fires that ended before the retention; return their number.

    Zero days keep them for ever.
    """
    if not kept_days:
        return 0
    old = Fire.objects.filter(
        scheduled_for__lt=now - timedelta(days=kept_days), finished_at__isnull=False
    )
    pks = list(old.order_by("scheduled_for").values_list("pk", flat=True)[:DELETE_BATCH])
    Fire.objects.filter(pk__in=pks).delete()
    return len(pks)


def _delete_strays(_: datetime) -> int:
    """Delete what belongs to schedules that went by a way no trigger saw, without reading it."""
    task = PeriodicTask.objects.filter(pk=OuterRef("pk"))
    stray = Schedule.objects.filter(~Exists(task)).values_list("pk", flat=True)
    pks = list(stray[:DELETE_BATCH])
    if pks:
        Fire.objects.filter(schedule__in=pks).delete()
        with connection.cursor() as cursor:
            places = ", ".join(["%s"] * len(pks))
            cursor.execute(
                f"DELETE FROM scheduling_schedule WHERE periodic_task_id IN ({places})",  # noqa: S608 -- our own words and placeholders
                pks,
            )
    return len(pks)


def _note_unknown(now: datetime) -> int:
    """Note the schedules that no trigger saw: of a restored table, for instance."""
    schedule = Schedule.objects.filter(pk=OuterRef("pk"))
    noted = Change.objects.filter(periodic_task_id=OuterRef("pk"))
    unknown = PeriodicTask.objects.filter(~Exists(schedule), ~Exists(noted))
    pks = list(unknown.values_list("pk", flat=True)[:DELETE_BATCH])
    Change.objects.bulk_create([Change(periodic_task_id=pk, changed_at=now) for pk in pks])
    return len(pks)
