"""After a database was restored: what the lost one has done already is not done again.

A backup knows nothing of what happened after it. What was open as it was made would go on: messages
that wait, batches to audiences whose rows are not all written, replays of many, and schedules.
"""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q, QuerySet

from notifications import submission
from notifications.chains.starting import cancel_chain
from notifications.models import WAITING, Batch, BulkReplay, Notification, Status
from notifications.operations import batches, bulk_replays
from scheduling import after_restore


class Open(NamedTuple):
    """How many of each kind were open at a moment, or have been ended."""

    notifications: int
    runs: int
    schedules: int
    batches: int
    replays: int


def count(moment: datetime) -> Open:
    """Return what ``end`` would end."""
    schedules, runs = after_restore.due_until(moment)
    return Open(
        _waiting(moment).count(),
        runs,
        schedules,
        _half_written(moment).count(),
        _unfinished(moment).count(),
    )


def end(moment: datetime, cancelled: Callable[[int], None]) -> Open:
    """End what was open at the moment at which the old system stopped; return how many of each.

    No process may run on the database meanwhile. ``cancelled`` is told of each notification. Doing
    it again ends what a worker had at the backup, once its lease is over.
    """
    schedules, runs = after_restore.pass_over(moment)
    ended, chain_runs = 0, set[UUID]()
    for row in list(_waiting(moment).only("id", "chain_run")):
        ended += submission.cancel(row.id).cancelled
        if row.chain_run is not None:
            chain_runs.add(row.chain_run)
        cancelled(1)
    # The steps after them, too: one that was sent may have reached the recipient.
    ended += sum(map(cancel_chain, chain_runs))
    to_audiences = sum(batches.cancel(batch) for batch in _half_written(moment))
    replays = sum(bulk_replays.end(order, after_restore.WHY) for order in _unfinished(moment))
    return Open(ended, runs, schedules, to_audiences, replays)


def _waiting(moment: datetime) -> "QuerySet[Notification]":
    """Find notifications that the lost database may have sent.

    Not among them are those that were never tried and fall due after it stopped, as where a
    delivery window opens then.
    """
    waits = Q(status=Status.SCHEDULED, attempt_count=0, due_at__isnull=False, due_at__gt=moment)
    waiting = Notification.objects.filter(status__in=WAITING, scheduled_at__lte=moment)
    return waiting.exclude(waits).order_by("id")


def _half_written(moment: datetime) -> "QuerySet[Batch]":
    """Find batches to audiences that have recipients whose notification is not written."""
    return Batch.objects.filter(
        expansion__finished_at=None, expansion__frozen_at__lte=moment
    ).exclude(state=Batch.State.CANCELLED)


def _unfinished(moment: datetime) -> "QuerySet[BulkReplay]":
    return BulkReplay.objects.filter(finished_at=None, created_at__lte=moment)
