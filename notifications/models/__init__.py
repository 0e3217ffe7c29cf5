"""The truth: notifications, their attempts and their dead letters.

Rows change through verbs (``submission.submit``, ``claims.claim``, ``outcomes.record``,
``submission.cancel``), never by an assignment and a ``save()``.
"""

from notifications.models.api_key import ApiKey
from notifications.models.bulk_replay import BulkReplay
from notifications.models.failed_delivery import FailedDelivery
from notifications.models.notification import (
    UNFINISHED,
    WAITING,
    Attempt,
    Notification,
    Status,
    new_id,
)
from notifications.models.outbox import OutboxMessage

__all__ = [
    "UNFINISHED",
    "WAITING",
    "ApiKey",
    "Attempt",
    "BulkReplay",
    "FailedDelivery",
    "Notification",
    "OutboxMessage",
    "Status",
    "new_id",
]
