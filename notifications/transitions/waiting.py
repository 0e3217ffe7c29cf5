"""Rows that no worker has: they are claimed, cancelled, parked, or due at another time."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db.models import DateTimeField, ExpressionWrapper, F, QuerySet, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Greatest

from notifications.db import dialect
from notifications.models import WAITING, Notification, Status

Rows = QuerySet[Notification]

_TABLE = Notification._meta.db_table


def claiming(
    condition: str, parameters: Sequence[Any], *, until: datetime, returning: str
) -> tuple[str, list[Any]]:
    """Return the statement that claims rows until a time, and its parameters.

    The condition has to leave out rows that do not wait, and those that wait for a later time.
    """
    return (
        f"UPDATE {_TABLE} SET status = %s, due_at = %s, attempt_count = attempt_count + 1"  # noqa: S608 -- a table's name, and conditions of our own
        f" WHERE {condition} RETURNING {returning}",
        [Status.SENDING, dialect.write(until), *parameters],
    )


def cancel(rows: Rows, reason: str, now: datetime) -> int:
    """Cancel those of the rows that no worker has yet; return how many."""
    return rows.filter(status__in=WAITING).update(
        status=Status.CANCELLED, due_at=None, finished_at=now, reason=reason
    )


def park(rows: Rows, reason: str) -> int:
    """Take rows out of what is due, until they are released; return how many."""
    return rows.filter(status__in=WAITING).update(
        status=Status.SCHEDULED, due_at=None, reason=reason
    )


def release(rows: Rows, reason: str, now: datetime) -> int:
    """Have rows that were parked for a reason be due, now or in their time; return how many."""
    parked = rows.filter(status=Status.SCHEDULED, due_at__isnull=True, reason=reason)
    return parked.update(due_at=Greatest(F("scheduled_at"), now), reason="")


def make_due(rows: Rows, due_at: datetime | Combinable) -> int:
    """Have rows be due at another time; return how many. Parked rows stay parked."""
    return rows.filter(status__in=WAITING, due_at__isnull=False).update(due_at=due_at)


def reschedule(rows: Rows, due_at: datetime, reason: str | None = None) -> int:
    """Have rows be due at another time, as if they had been accepted for it; return how many."""
    reasons = {} if reason is None else {"reason": reason}
    waiting = rows.filter(status__in=WAITING, due_at__isnull=False)
    return waiting.update(due_at=due_at, scheduled_at=due_at, **reasons)


def accept_anew(rows: Rows, times: Iterable[str], now: datetime) -> int:
    """Have rows be accepted now, and move these times of theirs with it; return how many.

    For rows that were accepted by a clock that was wrong.
    """
    moved = {name: _moved(name, now) for name in times}
    return rows.filter(status__in=WAITING).update(**moved, created_at=now)


def _moved(name: str, now: datetime) -> Combinable:
    """Return a time as far from now as it was from the acceptance."""
    return ExpressionWrapper(Value(now) + (F(name) - F("created_at")), output_field=DateTimeField())
