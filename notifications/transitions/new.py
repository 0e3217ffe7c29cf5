"""Rows before they are inserted, as values by the names of their columns: begin, wait or end."""

from datetime import datetime, timedelta
from typing import Any

from notifications.core.conf import conf
from notifications.models import Status
from notifications.transitions import table

Row = dict[str, Any]  # a notification's columns, by the names of their attributes


def beginning(scheduled_at: datetime | None, now: datetime) -> Row:
    """Return the columns of a row that was accepted, for now or for a later time."""
    due_at = scheduled_at or now
    status = Status.QUEUED if scheduled_at is None else Status.SCHEDULED
    return {"status": str(status), "due_at": due_at, "scheduled_at": due_at}


def give_a_moment(row: Row) -> None:
    """Leave a row to the worker that its message reaches, before the sweep publishes it again."""
    row["due_at"] = row["scheduled_at"] + timedelta(seconds=conf.pickup_grace)


def wait(row: Row, due_at: datetime, reason: str) -> None:
    """Have a row wait until a time, as if it had been accepted for it."""
    row.update(
        status=str(Status.SCHEDULED),
        due_at=due_at,
        scheduled_at=due_at,
        finished_at=None,
        reason=str(reason),
    )


def end(row: Row, status: Status, reason: str) -> None:
    """End a row as it is accepted."""
    table.check(None, status)
    row.update(status=str(status), due_at=None, finished_at=row["created_at"], reason=str(reason))
