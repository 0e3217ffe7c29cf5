"""Claims: a conditional update decides who works on a row, and for how long.

A claim is a lease. It ends at ``lease_until``, and its ``attempt`` number fences it: whatever
its owner reports later counts only while the row still carries that number.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from notifications import clock, conf, dialect
from notifications.models import Notification, Status


class Claim(NamedTuple):
    """What a worker needs of a row that it has claimed; no second query is made for it."""

    id: UUID
    channel: str
    priority: str
    recipient: str
    template_version_id: int | None
    locale: str
    context: dict[str, Any]
    subject: str
    body: str
    guarantee: str
    retry: dict[str, Any] | None
    metadata: dict[str, Any]
    continuation: dict[str, Any] | None
    scheduled_at: datetime
    expires_at: datetime | None
    lease_until: datetime
    attempt: int
    failovers: int
    losses: int
    reason: str
    test: bool
    request_id: str


_TABLE = Notification._meta.db_table
_COLUMNS = ", ".join(
    {
        "lease_until": "due_at",
        "attempt": "attempt_count",
        "failovers": "failover_count",
        "losses": "loss_count",
    }.get(name, name)
    for name in Claim._fields
)


def _read_json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


_READERS: dict[str, Callable[[Any], Any]] = {
    "id": dialect.read_id,
    "scheduled_at": dialect.read_time,
    "expires_at": dialect.read_time,
    "lease_until": dialect.read_time,
    "test": bool,
    **dict.fromkeys(("context", "retry", "metadata", "continuation"), _read_json),
}
_READ = {Claim._fields.index(name): read for name, read in _READERS.items()}


def claim(ids: Sequence[UUID]) -> list[Claim]:
    """Claim those of these rows that wait for a worker; the others are somebody else's."""
    if not ids:
        return []
    now = clock.now()
    # A row that waits for its time (a retry, a future send) is not claimed early, however
    # often its id is delivered.
    return _take(
        f"id IN ({dialect.marks(len(ids))}) AND (status = %s OR (status = %s AND due_at <= %s))",
        [*(dialect.write(id_) for id_ in ids), Status.QUEUED, Status.SCHEDULED, dialect.write(now)],
        now,
    )


def claim_due(channel: str, priority: str, limit: int) -> list[Claim]:
    """Claim up to ``limit`` due rows of a queue, oldest first, passing over those being claimed."""
    now = clock.now()
    return _take(
        dialect.picked(
            f"""SELECT id FROM {_TABLE}
            WHERE channel = %s AND priority = %s AND due_at <= %s AND status IN (%s, %s)
            ORDER BY due_at LIMIT %s"""  # noqa: S608 -- a table's name, and only placeholders
        ),
        [channel, priority, dialect.write(now), Status.SCHEDULED, Status.QUEUED, limit],
        now,
    )


def expired(limit: int) -> list[Claim]:
    """Read claims whose lease ended without a report; whoever records them first ends them."""
    return _read(
        f"""SELECT {_COLUMNS} FROM {_TABLE} WHERE status = %s AND due_at <= %s
        ORDER BY due_at LIMIT %s""",  # noqa: S608 -- as below
        [Status.SENDING, dialect.write(clock.now()), limit],
    )


def sent(ids: Sequence[UUID]) -> list[Claim]:
    """Read the claims, long over, of these rows that were sent; for what a receipt tells."""
    condition, parameter = dialect.one_of("id", ids)
    return _read(
        f"SELECT {_COLUMNS} FROM {_TABLE} WHERE status = %s AND {condition}",  # noqa: S608 -- as below
        [Status.SENT, *parameter],
    )


def _take(condition: str, parameters: list[Any], now: datetime) -> list[Claim]:
    lease_until = now + timedelta(seconds=conf.get("LEASE"))
    return _read(
        f"""UPDATE {_TABLE} SET status = %s, due_at = %s, attempt_count = attempt_count + 1
        WHERE {condition} RETURNING {_COLUMNS}""",  # noqa: S608 -- as above
        [Status.SENDING, dialect.write(lease_until), *parameters],
    )


def _read(sql: str, parameters: Sequence[Any]) -> list[Claim]:
    if connection.vendor == "postgresql":
        return [Claim._make(row) for row in dialect.rows_of(sql, parameters)]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        # Read to the end: SQLite ends the statement, and so its write lock, with the last row.
        return [_converted(row) for row in cursor.fetchall()]


def _converted(row: Sequence[Any]) -> Claim:
    """Read what SQLite keeps as text."""
    values = list(row)
    for at, read in _READ.items():
        values[at] = read(values[at])
    return Claim._make(values)
