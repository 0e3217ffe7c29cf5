"""How the scheduler is doing, read from its tables: for metrics, health checks and the admin."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, QuerySet

from scheduling import failures, isolation, liveness, overdue, streaks, workers
from scheduling.clock import database_now
from scheduling.housekeeping import live_schedulers
from scheduling.kept.documents import percentile
from scheduling.models import Fire, FireStatus, Schedule, SchedulerProcess

WINDOW = timedelta(minutes=5)
LATENESS_SAMPLE = 2000


@dataclass(frozen=True)
class Status:
    """The scheduler's state now, and what happened in the last ``window``."""

    window: timedelta
    live_schedulers: int
    are_schedulers_unknown: bool
    """Whether none was seen, and somebody keeps the rows of their announcements locked."""
    due_backlog: int
    """Schedules that are due and not claimed yet."""
    unpublished: int
    """Fires that are claimed and not published yet."""
    running: int
    waiting: int
    quarantined: int
    overdue: int
    """Schedules that no living scheduler moves on: due, changed or to be looked at for long."""
    hung_schedulers: int
    """Schedulers that are alive, and of which a loop has not moved for half a minute."""
    failed_runs: int
    """Fires that failed for good, or are lost, and that nobody has replayed or discarded."""
    failing: int
    """Schedules whose last ``streaks.LONG`` runs, or more, failed for good."""
    skipping: int
    """Schedules whose last ``streaks.LONG`` due times, or more, were skipped."""
    unknown_tasks: int
    """Tasks that were due in the window, and that no living worker knows."""
    fires_by_status: dict[str, int]
    """Fires whose due time is in the window; every status is named."""
    skipped: int
    lateness_p50: float | None
    """Seconds from when a fire should go out to when it did; ``None`` if there was none."""
    lateness_p99: float | None
    lateness_max: float | None
    last_scheduler_seen_at: datetime | None = None
    """When the scheduler that was alive last was seen, if none is alive."""
    quarantined_since: datetime | None = None
    """When the schedule that is in quarantine longest came there."""
    failed_since: datetime | None = None
    """When the oldest of the failed runs ended."""
    overdue_since: datetime | None = None
    """When the schedule that is overdue longest was due."""


def read(window: timedelta = WINDOW) -> Status:
    """Read the status. Costs what happened in ``window``, not what exists."""
    now = database_now()
    recent = Fire.objects.filter(scheduled_for__gte=now - window, scheduled_for__lte=now)
    counts = dict.fromkeys(FireStatus.values, 0)
    counts |= dict(recent.order_by().values_list("status").annotate(Count("pk")))
    unfinished = Fire.objects.filter(due_at__isnull=False)
    live = len(live_schedulers(now))
    late = _lateness(recent.exclude(dispatched_at=None).order_by("-scheduled_for"))
    quarantined = Schedule.objects.filter(quarantined_at__isnull=False)
    overdue_ones = overdue.keys(now) if live else set()
    is_due = Schedule.objects.filter(pk__in=overdue_ones, next_fire_at__lte=now)
    seen = SchedulerProcess.objects.order_by("-seen_at").values_list("seen_at", flat=True)
    return Status(
        window=window,
        live_schedulers=live,
        are_schedulers_unknown=not live and liveness.is_unknown(),
        due_backlog=Schedule.objects.filter(next_fire_at__lte=now).count(),
        unpublished=unfinished.filter(status=FireStatus.CLAIMED).count(),
        running=unfinished.filter(status=FireStatus.RUNNING).count(),
        waiting=unfinished.filter(status=FireStatus.WAITING).count(),
        quarantined=quarantined.count(),
        overdue=len(overdue_ones),
        hung_schedulers=len(liveness.hung(now)),
        failed_runs=failures.open_ones().count(),
        failing=streaks.failing().count(),
        skipping=streaks.skipping().count(),
        unknown_tasks=len(workers.unknown(_tasks(recent), now)),
        fires_by_status=counts,
        skipped=sum(count for status, count in counts.items() if status.startswith("skipped")),
        lateness_p50=percentile(late, 0.50),
        lateness_p99=percentile(late, 0.99),
        lateness_max=late[-1] if late else None,
        last_scheduler_seen_at=None if live else seen.first(),
        quarantined_since=_earliest(quarantined, "quarantined_at"),
        failed_since=_earliest(failures.open_ones(), "finished_at"),
        overdue_since=_earliest(is_due, "next_fire_at") if overdue_ones else None,
    )


def _earliest(rows: QuerySet[Any], column: str) -> datetime | None:
    """Return the earliest moment of a column; ``None`` also for one that Python cannot hold."""
    moments: list[datetime | None] = []
    with isolation.aside("reading since when"):
        moments.append(rows.order_by().aggregate(earliest=Min(column))["earliest"])
    return next(iter(moments), None)


def _tasks(fires: QuerySet[Fire]) -> QuerySet[Fire, str]:
    tasks = fires.order_by().values_list("schedule__periodic_task__task", flat=True)
    return tasks.distinct()


def _lateness(fires: QuerySet[Fire]) -> list[float]:
    sample = fires.only("fire_at", "dispatched_at")[:LATENESS_SAMPLE]
    return sorted(fire.lateness for fire in sample if fire.lateness is not None)
