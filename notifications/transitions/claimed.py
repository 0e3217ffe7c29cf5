"""Rows that a worker has: they are deferred, ended, or settled by the outcome of an attempt.

A claim is fenced by its attempt's number: what its owner writes counts only while the row is being
sent and carries that number.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from notifications.core.attempt import Claim
from notifications.db import dialect, planned
from notifications.models import Notification, Status
from notifications.transitions import table

_TABLE = Notification._meta.db_table
_FORGET = ", context = '{}', subject = '', body = '', mail_id = NULL"


class Settlement(NamedTuple):
    """What an attempt's outcome makes of a row; rows with the same are written together.

    ``failovers`` and ``losses`` are added to the row's own.
    """

    status: Status
    due_at: datetime | None
    reason: str
    provider: str
    failovers: int
    losses: int
    segments: int | None


def settle(
    settlements: Mapping[Settlement, Collection[Claim]], now: datetime, *, forget_content: bool
) -> set[UUID]:
    """Write what came of attempts, one statement for each settlement; return the ids still owned.

    ``forget_content`` removes what was sent from the rows that were.
    """
    owned: set[UUID] = set()
    if len(settlements) > 1:  # of several statements each would begin anew
        ids = [claim.id for claims in settlements.values() for claim in claims]
        dialect.lock_in_order(Notification.objects.filter(pk__in=ids))
    for settlement, claims in settlements.items():
        status, due_at, reason, provider, *counts = settlement
        is_sent = status is Status.SENT
        owned |= _update(
            status,
            "due_at = %s, reason = %s, provider = %s, sent_at = %s, finished_at = %s,"
            " failover_count = failover_count + %s, loss_count = loss_count + %s,"
            " segments = COALESCE(%s, segments)" + (_FORGET if is_sent and forget_content else ""),
            [
                *(due_at, reason, provider),
                now if is_sent else None,
                None if status is Status.SCHEDULED else now,
                *counts,
            ],
            claims,
        )
    return owned


def settle_plainly(claim: Claim, status: Status, reason: str, now: datetime) -> bool:
    """Write an outcome whose other values cannot be written; return whether the row was owned."""
    sent_at = now if status is Status.SENT else None
    assignments = "due_at = NULL, reason = %s, sent_at = %s, finished_at = %s"
    return bool(_update(status, assignments, [reason, sent_at, now], [claim]))


def end(claims: Collection[Claim], status: Status, reason: str, now: datetime) -> set[UUID]:
    """End claims without an attempt; return the ids that were still owned."""
    return _update(
        status,
        "due_at = NULL, reason = %s, finished_at = %s, attempt_count = attempt_count - 1",
        [reason, now],
        claims,
    )


def end_unread(id_: UUID, reason: str, now: datetime) -> bool:
    """Fail a claimed row whose values cannot be read; return False if it is not being sent."""
    sending = Notification.objects.filter(id=id_, status=Status.SENDING)
    return bool(sending.update(status=Status.FAILED, due_at=None, reason=reason, finished_at=now))


def defer(slots: Sequence[tuple[Claim, datetime]], reason: str, *, reschedules: bool) -> None:
    """Defer claims, each to its own time, in one statement. No attempt is used.

    ``reschedules`` has a row count as accepted for that time.
    """
    values = [v for c, due_at in slots for v in (dialect.write(c.id), c.attempt, due_at)]
    moved = " scheduled_at = slot.due_at," if reschedules else ""
    rows = ", ".join(["(%s, %s, %s)"] * len(slots))
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH slot(id, attempt, due_at) AS (VALUES {rows})"  # noqa: S608 -- our own words and placeholders
            f" UPDATE {_TABLE} SET status = %s, due_at = slot.due_at, reason = %s,{moved}"
            f" attempt_count = attempt_count - 1 FROM slot"
            f" WHERE {_TABLE}.id = slot.id AND attempt_count = slot.attempt AND status = %s",
            [
                *(dialect.write(value) for value in values),
                *(Status.SCHEDULED, reason, Status.SENDING),
            ],
        )


def shorten_leases(until: datetime, beyond: datetime) -> int:
    """Have leases that end after ``beyond`` end at ``until``; return how many."""
    sending = Notification.objects.filter(status=Status.SENDING, due_at__gt=beyond)
    return sending.update(due_at=until)


def _update(
    status: Status, assignments: str, values: Sequence[Any], claims: Iterable[Claim]
) -> set[UUID]:
    """Set the status and other columns of rows that these claims own; return their ids."""
    table.check(Status.SENDING, status)
    by_attempt: dict[int, list[UUID]] = defaultdict(list)
    for claim in claims:
        by_attempt[claim.attempt].append(claim.id)
    owned: set[UUID] = set()
    for attempt, ids in by_attempt.items():
        parameters = [status, *values, Status.SENDING, attempt]
        update = f"UPDATE {_TABLE} SET status = %s, {assignments}"  # noqa: S608 -- our own words and placeholders
        fence = "WHERE status = %s AND attempt_count = %s"
        if len(ids) == 1:
            if planned.of(f"{update} {fence} AND id = %s").written([*parameters, *ids]):
                owned.update(ids)
            continue
        condition, parameter = dialect.one_of("id", ids)
        with connection.cursor() as cursor:
            cursor.execute(
                f"{update} {fence} AND {condition} RETURNING id",
                [*map(dialect.write, parameters), *parameter],
            )
            if cursor.rowcount == len(ids):
                owned.update(ids)
            else:
                owned.update(dialect.read_id(row[0]) for row in cursor.fetchall())
    return owned
