"""What keeps the scheduler's own tables in order; ticks in every scheduler process."""

import logging
import os
import socket
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef
from django_celery_beat.models import PeriodicTask

from scheduling import leases
from scheduling.clock import database_now
from scheduling.models import Change, Fire, Schedule, SchedulerProcess

logger = logging.getLogger(__name__)

INTERVAL = timedelta(seconds=5)
LIVE = timedelta(seconds=15)
"""A scheduler that was not seen for that long is not alive."""
PROCESSES_KEPT = timedelta(days=1)
CLEANING_INTERVAL = timedelta(minutes=1)
DELETE_BATCH = 1000
DEFAULT_FIRES_KEPT_DAYS = 30


class Housekeeping:
    """Announces this process; one process at a time also cleans up."""

    def __init__(self) -> None:
        self._started_at: datetime | None = None
        self._leases: leases.Leases | None = None

    def tick(self) -> float:
        """Do one round; give the seconds until the next."""
        now = database_now()
        self._announce(now)
        if self._may_clean() and clean(now):
            return 0.0
        return INTERVAL.total_seconds()

    def _announce(self, now: datetime) -> None:
        self._started_at = self._started_at or now
        SchedulerProcess.objects.update_or_create(
            name=process_name(), defaults={"started_at": self._started_at, "seen_at": now}
        )

    def _may_clean(self) -> bool:
        if self._leases is None:
            self._leases = leases.configured()
        return self._leases.take("housekeeping", process_name(), CLEANING_INTERVAL)


def process_name() -> str:
    """Name this process among all machines."""
    return f"{socket.gethostname()}:{os.getpid()}"


def live_schedulers(now: datetime) -> list[str]:
    """Give the names of the schedulers that are alive."""
    seen = SchedulerProcess.objects.filter(seen_at__gt=now - LIVE)
    return list(seen.order_by("name").values_list("name", flat=True))


def clean(now: datetime) -> bool:
    """Clean up one batch; tell whether there is more."""
    SchedulerProcess.objects.filter(seen_at__lt=now - PROCESSES_KEPT).delete()
    _reconcile(now)
    return _delete_old_fires(now) == DELETE_BATCH


def _delete_old_fires(now: datetime) -> int:
    """Delete fires that ended before the retention. Zero days keep them for ever."""
    days = getattr(settings, "SCHEDULING_FIRES_KEPT_DAYS", DEFAULT_FIRES_KEPT_DAYS)
    if not days:
        return 0
    old = Fire.objects.filter(
        scheduled_for__lt=now - timedelta(days=days), finished_at__isnull=False
    )
    pks = list(old.order_by("scheduled_for").values_list("pk", flat=True)[:DELETE_BATCH])
    Fire.objects.filter(pk__in=pks).delete()
    return len(pks)


def _reconcile(now: datetime) -> None:
    """Mend what no trigger can see: a truncated or restored table."""
    task = PeriodicTask.objects.filter(pk=OuterRef("pk"))
    Schedule.objects.filter(~Exists(task)).delete()
    schedule = Schedule.objects.filter(pk=OuterRef("pk"))
    noted = Change.objects.filter(periodic_task_id=OuterRef("pk"))
    unknown = PeriodicTask.objects.filter(~Exists(schedule), ~Exists(noted))
    pks = unknown.values_list("pk", flat=True)[:DELETE_BATCH]
    Change.objects.bulk_create([Change(periodic_task_id=pk, changed_at=now) for pk in pks])
