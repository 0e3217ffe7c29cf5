"""Writing accepted notifications: one with one statement, many with COPY."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from notifications import conf
from notifications.models import Notification, Status, new_id
from notifications.requests import Accepted, content_hash
from notifications.tables import Table

Row = dict[str, Any]  # a notification's columns, by the names of their attributes

_ROWS = Table(Notification)


def build(
    accepted: Accepted,
    now: datetime,
    *,
    on_its_way: bool,
    id_: UUID | None = None,
    **more: Any,
) -> Row:
    """Make the row of an accepted request; ``more`` holds columns that a request does not have.

    A row that is on its way to a worker gives it a moment before the sweep looks after it.
    """
    due_at = accepted.scheduled_at or now
    version = accepted.template_version
    return {
        **_ROWS.defaults,
        "id": id_ or new_id(),
        "channel": accepted.channel,
        "priority": accepted.priority,
        "recipient": accepted.recipient,
        "template_version_id": version.id if version else None,
        "locale": accepted.locale,
        "context": accepted.context,
        "subject": accepted.subject,
        "body": accepted.body,
        "guarantee": accepted.guarantee,
        "retry": accepted.retry,
        "reference": accepted.reference,
        "metadata": accepted.metadata,
        "idempotency_key": accepted.idempotency_key,
        # Only what may come twice has to be compared.
        "content_hash": content_hash(accepted) if id_ or accepted.idempotency_key else "",
        "status": str(Status.SCHEDULED if accepted.scheduled_at else Status.QUEUED),
        "due_at": due_at + timedelta(seconds=conf.get("GRACE")) if on_its_way else due_at,
        "scheduled_at": due_at,
        "expires_at": accepted.expires_at,
        "created_at": now,
        "test": accepted.test,
        "callback_url": accepted.callback_url,
        "request_id": structlog.contextvars.get_contextvars().get("request_id", ""),
        **more,
    }


def insert(row: Row) -> bool:
    """Insert one row; False means that its id or its idempotency key is taken."""
    return _ROWS.insert([row], skip_taken=True) == 1


def insert_many(rows: Sequence[Row]) -> int:
    """Insert many rows in the current transaction, and give how many were not there yet."""
    return _ROWS.insert(rows, skip_taken=any(row["idempotency_key"] for row in rows))
