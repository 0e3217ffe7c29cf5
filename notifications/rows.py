"""Writing accepted notifications: one with one statement, many with COPY."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, models

from notifications import conf, dialect
from notifications.models import Notification, Status, new_id
from notifications.requests import Accepted

Row = dict[str, Any]  # a notification's columns, by the names of their attributes

_TABLE = Notification._meta.db_table
_FIELDS = [f for f in Notification._meta.concrete_fields if f.name != "created_at"]
_NAMES = [f.attname for f in _FIELDS]
_COLUMNS = ", ".join(str(f.column) for f in _FIELDS)
_JSON = {f.attname for f in _FIELDS if isinstance(f, models.JSONField)}
_DEFAULTS = {f.attname: f.get_default() for f in _FIELDS if f.attname != "id"}
_PARAMETERS = 900  # SQLite takes at most 999 or 32,766, depending on its age


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
        **_DEFAULTS,
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
        "content_hash": accepted.content_hash,
        "status": str(Status.SCHEDULED if accepted.scheduled_at else Status.QUEUED),
        "due_at": due_at + timedelta(seconds=conf.get("GRACE")) if on_its_way else due_at,
        "scheduled_at": due_at,
        "expires_at": accepted.expires_at,
        "test": accepted.test,
        "request_id": structlog.contextvars.get_contextvars().get("request_id", ""),
        **more,
    }


def insert(row: Row) -> bool:
    """Insert one row; False means that its id or its idempotency key is taken."""
    return _insert([row]) == 1


def insert_many(rows: Sequence[Row]) -> int:
    """Insert many rows in the current transaction, and give how many were not there yet."""
    if connection.vendor != "postgresql" or any(row["idempotency_key"] for row in rows):
        # COPY cannot pass over a key that is taken.
        step = _PARAMETERS // len(_NAMES)
        return sum(_insert(rows[at : at + step]) for at in range(0, len(rows), step))
    connection.ensure_connection()
    with (
        connection.wrap_database_errors,
        connection.connection.cursor() as cursor,
        cursor.copy(f"COPY {_TABLE} ({_COLUMNS}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(_values(row))
    return len(rows)


def _insert(rows: Sequence[Row]) -> int:
    marks = ", ".join([f"({dialect.marks(len(_NAMES))})"] * len(rows))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {_TABLE} ({_COLUMNS}) VALUES {marks} ON CONFLICT DO NOTHING",  # noqa: S608 -- names of our own model
            [value for row in rows for value in _values(row)],
        )
        return int(cursor.rowcount)


def _values(row: Mapping[str, Any]) -> list[Any]:
    return [
        json.dumps(row[name])
        if name in _JSON and row[name] is not None
        else dialect.write(row[name])
        for name in _NAMES
    ]
