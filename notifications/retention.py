"""Retention: what is finished leaves after a while, a little at a time.

Dead letters keep their notification as long as they are kept themselves, for a replay needs it.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet

from notifications import clock, conf
from notifications.models import FailedDelivery, Notification

BATCH = 1000  # rows per transaction: no lock is held for long
TICK = 5000  # rows per round of a scheduler
BUSY, IDLE = 1.0, 300.0  # seconds between rounds


def prune(
    *, days: int | None = None, failed_days: int | None = None, limit: int | None = None
) -> int:
    """Delete what finished more than ``days`` ago, and dead letters after ``failed_days``.

    The settings NOTIFICATIONS_KEEP_DAYS and NOTIFICATIONS_KEEP_FAILED_DAYS stand in for None.
    Stops after about ``limit`` notifications, if given. Gives how many were deleted.
    """
    now = clock.now()
    old = now - timedelta(days=conf.get("KEEP_DAYS") if days is None else days)
    very_old = now - timedelta(
        days=conf.get("KEEP_FAILED_DAYS") if failed_days is None else failed_days
    )
    finished = Notification.objects.filter(due_at__isnull=True)
    deleted = _in_batches(
        lambda: finished.filter(finished_at__lt=old, failed_delivery__isnull=True), limit
    )
    # A dead letter goes with its notification, and a refused message alone.
    letters = FailedDelivery.objects.filter(created_at__lt=very_old)
    _in_batches(lambda: letters.filter(notification__isnull=True), limit)
    return deleted + _in_batches(
        lambda: finished.filter(failed_delivery__created_at__lt=very_old), limit
    )


def tick() -> float:
    """Delete a few, and give the seconds until the next round is wanted."""
    return BUSY if prune(limit=TICK) else IDLE


def _in_batches(rows: Callable[[], QuerySet[Any]], limit: int | None) -> int:
    """Delete rows a batch at a time, each in a transaction of its own."""
    deleted = 0
    while limit is None or deleted < limit:
        ids = list(rows().values_list("pk", flat=True)[:BATCH])
        if not ids:
            break
        rows().filter(pk__in=ids).delete()
        deleted += len(ids)
    return deleted
