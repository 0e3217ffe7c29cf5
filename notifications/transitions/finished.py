"""Rows that a provider took, or that ended: receipts move them on, their followers are called.

While a row's followers wait for a server, its due time is when they are called again.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from notifications.models import Notification, Status


def deliver(id_: UUID, now: datetime) -> bool:
    """Note that the recipient has it; return False if its status is not ``sent``."""
    sent = Notification.objects.filter(id=id_, status=Status.SENT)
    return bool(sent.update(status=Status.DELIVERED, reason="", finished_at=now))


def fail(id_: UUID, reason: str, now: datetime) -> bool:
    """Note that it did not arrive; return False if its status is not ``sent``."""
    sent = Notification.objects.filter(id=id_, status=Status.SENT)
    return bool(sent.update(status=Status.FAILED, reason=reason, finished_at=now))


def keep_followers(id_: UUID, followers: dict[str, Any] | None) -> None:
    """Note which followers are still to be called, None for no more; each may be called now."""
    ended = Notification.objects.filter(id=id_, finished_at__isnull=False)
    ended.update(continuation=followers, due_at=None)


def call_followers_later(id_: UUID, due_at: datetime) -> None:
    """Have the followers that are still to be called wait until a time."""
    ended = Notification.objects.filter(
        id=id_, continuation__isnull=False, finished_at__isnull=False
    )
    ended.update(due_at=due_at)
