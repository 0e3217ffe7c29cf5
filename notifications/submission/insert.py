"""Writing accepted notifications: one with one statement, many with COPY."""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import structlog

from notifications import tracing
from notifications.db.bulk_insert import Table
from notifications.models import Notification, new_id
from notifications.submission.fields import Accepted
from notifications.submission.identity import content_hash
from notifications.transitions import new

Row = new.Row

_ROWS = Table(Notification)
# The fields of a request that are columns, as they are; the others are made into columns below.
COLUMNS = [name for name in Accepted._fields if name in _ROWS.defaults and name != "options"]
DEFAULTS = _ROWS.defaults
_values = attrgetter(*COLUMNS)


def build(
    accepted: Accepted,
    now: datetime,
    *,
    id_: UUID | None = None,
    use: str = "",
    asked_for: Accepted | None = None,
    **more: Any,
) -> Row:
    """Make the row of an accepted request; ``more`` holds columns that a request does not have.

    ``use`` tells one use of ``id_`` from another. ``asked_for`` is what makes two requests the
    same, where that is not all of the row.
    """
    version = accepted.template_version
    return {
        **DEFAULTS,
        "id": id_ or new_id(),
        **dict(zip(COLUMNS, _values(accepted), strict=True)),
        "template_version_id": version.id if version else None,
        # Only what may come twice has to be compared.
        "content_hash": content_hash(asked_for or accepted, use)
        if id_ or accepted.idempotency_key
        else "",
        **new.beginning(accepted.scheduled_at, now),
        "created_at": now,
        "options": accepted.options or None,
        "request_id": structlog.contextvars.get_contextvars().get("request_id", ""),
        "traceparent": tracing.traceparent(),
        **more,
    }


def insert(rows: Sequence[Row]) -> set[UUID]:
    """Insert rows in the current transaction; return the ids of those that were not inserted.

    Their id or their idempotency key is taken, by a row that was there or by one before them.
    """
    if len(rows) == 1:
        return set() if _ROWS.insert(rows, skip_taken=True) else {rows[0]["id"]}
    keyed = [row for row in rows if row["content_hash"]]  # what may come twice
    _ROWS.insert([row for row in rows if not row["content_hash"]])
    return {row["id"] for row in keyed} - _ROWS.insert_new(keyed)
