"""Claims: a conditional update decides who works on a row, and for how long.

A claim is a lease. It ends at ``lease_until``, and its ``attempt`` number fences it: whatever
its owner reports later counts only while the row still carries that number.

A row whose every claim raises is quarantined, and passed over; the others are claimed in the same
round. While no row is, a claim looks for none.
"""

import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from notifications.core.attempt import Claim
from notifications.core.conf import conf
from notifications.db import clock, dialect, planned
from notifications.delivery import plain_endings
from notifications.models import Hold, Notification, Status
from notifications.queueing import held, quarantine
from notifications.transitions import waiting
from scheduling import isolation

_TABLE = Notification._meta.db_table
_COLUMNS = {
    "lease_until": "due_at",
    "attempt": "attempt_count",
    "failovers": "failover_count",
    "losses": "loss_count",
}


_NAMES = ", ".join(_COLUMNS.get(n, n) for n in Claim._fields if n != "held_accounts")
_READ_ONLY = f"{_NAMES}, ''"  # of claims that nothing is sent by

HOLDS_FOR = 1.0  # seconds for which a process believes that there are holds
_holds_until = 0.0
FAULTS_FOR = 60.0  # seconds for which a process leaves out rows in quarantine, after a fault
_faults_until = 0.0


def _read_json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _read_id(value: Any) -> UUID | None:
    return None if value is None else dialect.read_id(value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "id": dialect.read_id,
    "scheduled_at": dialect.read_time,
    "expires_at": dialect.read_time,
    "lease_until": dialect.read_time,
    "test": bool,
    "chain_run": _read_id,
    "digest_id": _read_id,
    **dict.fromkeys(("context", "retry", "metadata", "continuation", "options"), _read_json),
}
_READ = {Claim._fields.index(name): read for name, read in _READERS.items()}


def claim(ids: Sequence[UUID]) -> list[Claim]:
    """Claim those of these rows that wait for a worker; the others are somebody else's, or held."""
    if not ids:
        return []
    now = clock.now()
    # A row that waits for its time (a retry, a future send) is not claimed early, however
    # often its id is delivered.
    condition = "(status = %s OR (status = %s AND due_at <= %s))"
    parameters = [Status.QUEUED, Status.SCHEDULED, dialect.write(now)]

    def take(some: Sequence[UUID], unheld: str, accounts: str = "''") -> list[Claim]:
        among = f"id IN ({dialect.marks(len(some))})"
        values = [*(dialect.write(id_) for id_ in some), *parameters]
        is_common = len(some) == 1  # the text of its statement is always the same
        return _claim_rows(
            f"{among} AND {condition} AND {unheld}", values, now, accounts, is_common=is_common
        )

    # The commonest case in a short statement, which Postgres plans in a third of the time: a row
    # that is in no batch, while nothing is held.
    unheld = f"batch_id IS NULL AND NOT {held.any_hold()}"
    taken = _isolated(lambda some: take(some or ids, unheld), lambda: ids)
    if len(taken) == len(ids):
        return taken
    queue = held.queue(f"{_TABLE}.channel", f"{_TABLE}.priority", in_order=True)
    unheld = f"NOT {held.batch()} AND NOT {queue} AND NOT {held.row()}"
    return taken + _isolated(lambda some: take(some or ids, unheld, held.accounts()), lambda: ids)


def claim_due(channel: str, priority: str, limit: int) -> list[Claim]:
    """Claim up to ``limit`` due rows of a queue, oldest first.

    Those that are being claimed, or held, are passed over. The short statement takes nothing where
    there is any hold; the long one looks at each. Which of them is asked first is a matter of
    time alone.
    """
    global _holds_until  # noqa: PLW0603 -- one belief per process
    now = clock.now()
    if time.monotonic() >= _holds_until:
        taken = _take_due((channel, priority), limit, now, f"NOT {held.any_hold()}")
        if taken or not Hold.objects.filter(released_at__isnull=True).exists():
            return taken
        _holds_until = time.monotonic() + HOLDS_FOR
    unheld = f"NOT {held.queue('%s', '%s', in_order=True)} AND NOT {held.row()}"
    return _take_due((channel, priority), limit, now, unheld, (channel, channel, priority))


def make_due(id_: UUID) -> None:
    """Make a queued row due now, so that it waits among the due rows."""
    waiting.make_due(Notification.objects.filter(id=id_, status=Status.QUEUED), clock.now())


def expired(limit: int) -> list[Claim]:
    """Read claims whose lease ended without a report; the first to record them ends them.

    Passes over those whose record is in quarantine.
    """
    now = clock.now()
    condition, passed = quarantine.condition(f"{_TABLE}.id", quarantine.LEASES, now)
    return _read(
        f"""SELECT {_READ_ONLY} FROM {_TABLE} WHERE status = %s AND due_at <= %s AND {condition}
        ORDER BY due_at LIMIT %s""",  # noqa: S608 -- as below
        [Status.SENDING, dialect.write(now), *passed, limit],
    )


def sent(ids: Sequence[UUID]) -> list[Claim]:
    """Read the claims of rows that were sent, so that a receipt can be applied to them."""
    condition, parameter = dialect.one_of("id", ids)
    return _read(
        f"SELECT {_READ_ONLY} FROM {_TABLE} WHERE status = %s AND {condition}",  # noqa: S608 -- as below
        [Status.SENT, *parameter],
    )


def _take_due(
    queue: tuple[str, str], limit: int, now: datetime, unheld: str, parameters: Sequence[str] = ()
) -> list[Claim]:
    """Claim due rows under the condition ``unheld``, which has parameters where there are holds."""
    due = (dialect.write(now), Status.SCHEDULED, Status.QUEUED)
    accounts = held.accounts() if parameters else "''"

    def pick(condition: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
        return (
            f"""SELECT id FROM {_TABLE}
            WHERE channel = %s AND priority = %s AND due_at <= %s AND status IN (%s, %s)
            AND NOT {held.batch()} AND {unheld} AND {condition}
            ORDER BY due_at LIMIT %s""",  # noqa: S608 -- a table's name, and only placeholders
            [*queue, *due, *parameters, *values, limit],
        )

    def take(some: Sequence[UUID] | None) -> list[Claim]:
        if some is None:
            query, values = pick(*_without_faults(now))
        else:
            query, values = pick(*dialect.one_of("id", some))
        return _claim_rows(dialect.picked(query), values, now, accounts)

    return _isolated(take, lambda: dialect.ids_of(*pick(*_without_faults(now))))


def _isolated(
    take: Callable[[Sequence[UUID] | None], list[Claim]], ids: Callable[[], Sequence[UUID]]
) -> list[Claim]:
    """Claim all; if that raises, claim by halves of these ids, down to the rows at fault."""
    global _faults_until  # noqa: PLW0603 -- one belief per process
    try:
        return take(None)
    except Exception as error:
        if isolation.concerns_everybody(error):
            raise
    _faults_until = time.monotonic() + FAULTS_FOR
    taken: list[Claim] = []
    some = quarantine.not_passed_over(ids(), quarantine.CLAIMS)
    faults = isolation.halving(some, lambda part: taken.extend(take(part)), stage="claim", key=str)
    quarantine.note(quarantine.CLAIMS, faults)
    return taken


def _without_faults(now: datetime) -> tuple[str, list[Any]]:
    """Return a condition that leaves out what is in quarantine, if there may be any."""
    global _faults_until  # noqa: PLW0603 -- as above
    if not _faults_until:
        return "true", []
    if time.monotonic() >= _faults_until:
        has_any = quarantine.passes_over_any(quarantine.CLAIMS)
        _faults_until = time.monotonic() + FAULTS_FOR if has_any else 0.0
    return quarantine.condition(f"{_TABLE}.id", quarantine.CLAIMS, now)


def _claim_rows(
    condition: str,
    parameters: list[Any],
    now: datetime,
    accounts: str = "''",
    *,
    is_common: bool = False,
) -> list[Claim]:
    lease_until = now + timedelta(seconds=conf.lease)
    returning = f"{_NAMES}, {accounts}"
    claiming = waiting.claiming(condition, parameters, until=lease_until, returning=returning)
    return _read(*claiming, is_common=is_common)


def _read(sql: str, parameters: Sequence[Any], *, is_common: bool = False) -> list[Claim]:
    """Run a statement that returns claims; a row that cannot be read is ended, by itself.

    Postgres keeps the plan of one that ``is_common`` for a while.
    """
    if connection.vendor == "postgresql":
        if is_common:
            rows, faults = planned.of(sql).rows_of_any_type(parameters)
        else:
            rows, faults = dialect.rows_of(sql, parameters)
        claims = [Claim._make(row) for row in rows]
    else:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            # Read to the end: SQLite ends the statement, and so its write lock, with the last row.
            found = cursor.fetchall()
        claims, broken = isolation.each(found, _converted, stage="read", key=lambda row: row[0])
        faults = [(dialect.read_id(row[0]), fault) for row, fault in broken]
    if faults:
        plain_endings.end_unreadable(faults)
    return claims


def _converted(row: Sequence[Any]) -> Claim:
    """Read what SQLite keeps as text."""
    values = list(row)
    for at, read in _READ.items():
        values[at] = read(values[at])
    return Claim._make(values)
