"""Schedules and fires in the database: django-celery-beat's rows, and the ledger beside them."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from celery import Celery
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django_celery_beat.models import PeriodicTask

from scheduling import (
    calendar_changes,
    changes,
    claims,
    dispatch,
    failures,
    housekeeping,
    job_rows,
    job_storage,
    ledger,
    outlook,
    preview,
    recovery,
    status,
)
from scheduling.clock import database_now
from scheduling.kept import documents
from scheduling.kept.documents import Definition, Figures, Fire, Job
from scheduling.models import Fire as FireRow
from scheduling.models import Lease, Origin, Schedule
from scheduling.pace import Pace
from scheduling.run_errors import NotOpen
from scheduling.terms import FireStatus

FIRE_FIELDS = (
    *(
        "scheduled_for",
        "fire_at",
        "due_at",
        "by_hand",
        "missed_since",
        "note",
        "attempt",
        "publishes",
    ),
    *("dispatched_at", "started_at", "heartbeat_at", "finished_at", "worker", "error", "cause"),
    *("resolved_at", "resolution", "replayed_as"),
)
STATE_FIELDS = (
    *("origin", "next_fire_at", "answered_until", "paused_at", "quarantined_at"),
    *("quarantine_reason", "failed_in_a_row", "skipped_in_a_row"),
)


class DatabaseBackend:
    """The scheduler's tables behind the protocol of a backend."""

    def __init__(self) -> None:
        self.pace = Pace()

    now = staticmethod(database_now)

    begin = staticmethod(ledger.begin)
    withdraw = staticmethod(ledger.withdraw)
    beat = staticmethod(ledger.beat)
    succeed = staticmethod(ledger.succeed)
    fail = staticmethod(ledger.fail)
    orphan = staticmethod(ledger.orphan)
    leave = staticmethod(ledger.leave)
    return_to_queue = staticmethod(ledger.return_to_queue)
    attempt_on = staticmethod(ledger.attempt_on)
    interrupt = staticmethod(ledger.interrupt)
    cancel_run = staticmethod(ledger.cancel_run)
    cancel = staticmethod(ledger.cancel)
    expire = staticmethod(ledger.expire)
    give_back = staticmethod(ledger.give_back)
    not_known = staticmethod(ledger.not_known)
    refuse = staticmethod(ledger.refuse)

    declare = staticmethod(job_rows.declare)
    pause = staticmethod(job_rows.pause)
    resume = staticmethod(job_rows.resume)
    remove = staticmethod(job_rows.remove)
    run_now = staticmethod(job_rows.run_now)
    backfill = staticmethod(job_rows.backfill)
    next_fires = staticmethod(job_rows.next_fires)

    def save(
        self,
        definition: Definition,
        *,
        previous: Definition | None = None,
        is_new: bool = False,
        origin: str = "",
    ) -> Job:
        task = job_storage.store(
            definition, previous=previous, is_new=is_new, origin=Origin(origin)
        )
        return _job(task)

    def job(self, name: str) -> Job:
        return _job(job_rows.find(name))

    def names(self) -> list[str]:
        return list(PeriodicTask.objects.order_by("name").values_list("name", flat=True))

    def fires(self, name: str, limit: int = 100) -> list[Fire]:
        rows = FireRow.objects.filter(schedule=job_rows.find(name).pk)
        return [_fire(row, name) for row in rows.order_by("-scheduled_for")[:limit]]

    def fire(self, key: UUID) -> Fire | None:
        row = FireRow.objects.filter(pk=key).select_related("schedule__periodic_task").first()
        return None if row is None else _fire(row, row.schedule.periodic_task.name)

    def failed_runs(self, limit: int = 100) -> list[Fire]:
        rows = failures.open_ones().select_related("schedule__periodic_task")
        newest = rows.order_by("-finished_at")[:limit]
        return [_fire(row, row.schedule.periodic_task.name) for row in newest]

    def replay(self, key: UUID) -> UUID:
        return failures.replay(key).pk

    def discard(self, key: UUID, *, why: str) -> None:
        if not failures.discard(FireRow.objects.filter(pk=key), why=why):
            raise NotOpen

    def figures(self, window: timedelta) -> Figures:
        found = status.read(window)
        return Figures(
            window=window,
            live_schedulers=found.live_schedulers,
            due_backlog=found.due_backlog,
            unfinished={
                FireStatus.CLAIMED: found.unpublished,
                FireStatus.RUNNING: found.running,
                FireStatus.WAITING: found.waiting,
            },
            quarantined=found.quarantined,
            failed_runs=found.failed_runs,
            fires_by_status=found.fires_by_status,
            lateness_p50=found.lateness_p50,
            lateness_p99=found.lateness_p99,
        )

    def tick(self, app: Celery) -> float:
        """Do one round; ``scheduling.scheduler`` does the same with a boundary for each step."""
        view = outlook.look()
        changed = changes.apply_changes(view.now) if view.has_changes else 0
        with self.pace.measured() as limit:
            fires = claims.claim_due(view.now, limit) + recovery.recover(view.now, limit)
            dispatch.publish(app, fires)
        return 0.0 if changed or fires else view.seconds_until_due()

    def replan(self, calendars: Collection[str]) -> None:
        calendar_changes.replan(calendars, database_now())

    def clean(self, now: datetime, kept_days: float) -> int:
        return housekeeping.delete_old_fires(now, kept_days)

    def acquire(self, name: str, owner: str, ttl: timedelta) -> documents.Lease | None:
        now = database_now()
        # One that ends later than a lease can was taken by a clock that was ahead.
        is_over = Q(expires_at__lte=now) | Q(expires_at__gt=now + 2 * ttl)
        held = Lease.objects.filter(is_over, name=name)
        taken = held.update(owner=owner, expires_at=now + ttl, token=F("token") + 1)
        if not taken:
            try:
                with transaction.atomic():
                    Lease.objects.create(name=name, owner=owner, expires_at=now + ttl, token=1)
            except IntegrityError:
                return None
        token = Lease.objects.values_list("token", flat=True).get(name=name)
        return documents.Lease(name, owner, token, ttl)

    def renew(self, lease: documents.Lease) -> bool:
        now = database_now()
        held = Lease.objects.filter(name=lease.name, token=lease.token, expires_at__gt=now)
        return bool(held.update(expires_at=now + lease.ttl))

    def release(self, lease: documents.Lease) -> None:
        # The row stays: its next holder's token must be higher.
        held = Lease.objects.filter(name=lease.name, token=lease.token)
        held.update(owner="", expires_at=database_now())


def make() -> DatabaseBackend:
    """Make the backend that ``SCHEDULING_BACKEND=database`` names."""
    return DatabaseBackend()


def _job(task: PeriodicTask) -> Job:
    definition = job_rows.definition_of(task)
    enabled = definition.pop("enabled")
    row = Schedule.objects.filter(pk=task.pk).first()
    state = {} if row is None else {name: getattr(row, name) for name in STATE_FIELDS}
    rows = {} if row is None else {row.pk: row}
    state["next_fire_at"] = preview.next_fires([task], rows, preview.unseen([task.pk]))[task.pk]
    return Job(
        name=task.name,
        definition=definition,
        created_at=task.date_changed,
        enabled=enabled,
        declared=None if row is None else row.definition,
        last_run_at=task.last_run_at,
        total_run_count=task.total_run_count,
        **state,
    )


def _fire(row: FireRow, name: str) -> Fire:
    values: Mapping[str, Any] = {field: getattr(row, field) for field in FIRE_FIELDS}
    status = next(known for known in FireStatus if known == row.status)
    return Fire(id=row.pk, job=name, status=status, history=row.history or [], **values)
