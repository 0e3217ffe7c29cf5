"""A write of all that an outcome is written to: what one of its tables refuses is an outage."""

from notifications.core.attempt import Result
from notifications.core.reasons import Reason
from notifications.db import clock
from notifications.models import Attempt, FailedDelivery, Notification, Status


def write() -> None:
    """Insert and update a row of each table; to be called in a transaction that is rolled back.

    No process sees these rows, and none of the indexes that work is found by has them.
    """
    now = clock.now()
    queue = {"channel": "simulator", "priority": "low"}
    row = Notification(
        **queue, recipient="probe", status=Status.CANCELLED, scheduled_at=now, finished_at=now
    )
    Notification.objects.bulk_create([row])
    Notification.objects.filter(id=row.id).update(reason=Reason.HELD)
    Attempt.objects.bulk_create(
        [Attempt(notification=row, number=1, result=Result.UNKNOWN, finished_at=now)]
    )
    FailedDelivery.objects.bulk_create(
        [FailedDelivery(**queue, notification=row, reason=Reason.HELD, created_at=now)]
    )
