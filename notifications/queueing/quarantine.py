"""Quarantine: a row that faults a shared loop again and again is passed over, and shown to people.

A loop that looks for rows by their state finds a row that faults in every round. It waits after
the first and the second fault, and is quarantined with the third, until somebody releases it. A
fault that ends in the row's own outcome, such as a failed delivery, needs no quarantine.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models, transaction
from django.db.models import CharField, QuerySet
from django.db.models.functions import Cast
from django.db.models.lookups import In

from notifications.db import clock, dialect
from notifications.models import QuarantinedRow
from scheduling import isolation
from scheduling.isolation import Fault

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=models.Model)
K = TypeVar("K")

LEASES = "leases"  # the loop that ends the leases of dead workers
CLAIMS = "claims"  # the workers' claims of due rows

BACKOFFS = (5.0, 60.0)  # seconds after the first and the second fault; the third is one too many


def work_off(
    loop: str, rows: "QuerySet[M]", keys: Sequence[Any], work: Callable[[M], object]
) -> int:
    """Work on the rows with these primary keys, each in a transaction of its own.

    Return how many went well. A row that cannot be read, or that faults, is undone and noted, and
    the others go on. Raises what concerns everybody.
    """

    def alone(row: M) -> None:
        with transaction.atomic():
            work(row)

    read, unread = dialect.readable(rows, keys)
    worked, faults = isolation.each(read, alone, stage=loop, key=_pk)
    note(loop, [*unread, *((row.pk, fault) for row, fault in faults)])
    return len(worked)


def _pk(row: models.Model) -> object:
    return row.pk


def passing_over(rows: "QuerySet[M]", loop: str) -> "QuerySet[M]":
    """Leave out the rows that this loop passes over at present."""
    held = QuarantinedRow.objects.filter(loop=loop).passed_over(clock.now())
    # An expression, not an alias: it keeps the rows' type, and adds no column.
    return rows.exclude(In(Cast("pk", CharField()), held.values("key")))


def condition(column: str, loop: str, now: datetime) -> tuple[str, list[Any]]:
    """Return the same as ``passing_over`` for SQL of our own: a condition, and its parameters."""
    held = (
        f"SELECT key FROM {QuarantinedRow._meta.db_table} WHERE loop = %s AND released_at IS NULL"  # noqa: S608 -- a table's name
        " AND (quarantined_at IS NOT NULL OR retry_at > %s)"
    )
    return f"CAST({column} AS varchar) NOT IN ({held})", [loop, dialect.write(now)]


def not_passed_over(keys: Sequence[K], loop: str) -> list[K]:
    """Leave out those of these primary keys that a loop passes over at present."""
    rows = QuarantinedRow.objects.filter(loop=loop, key__in=[key_of(key) for key in keys])
    held = set(rows.passed_over(clock.now()).values_list("key", flat=True))
    return [key for key in keys if key_of(key) not in held]


def passes_over_any(loop: str) -> bool:
    """Return whether a loop passes over any row at present."""
    return QuarantinedRow.objects.filter(loop=loop).passed_over(clock.now()).exists()


def note(loop: str, faults: Iterable[tuple[Any, Fault]]) -> None:
    """Count faults of rows, by primary key, and quarantine those that faulted too often."""
    now = clock.now()
    for key, fault in faults:
        with transaction.atomic():
            rows = QuarantinedRow.objects.select_for_update()
            first = {"first_seen_at": now, "last_seen_at": now}
            row, _ = rows.get_or_create(loop=loop, key=key_of(key), defaults=first)
            _count(row, fault, now)
            row.save()
        if row.quarantined_at == now:
            log.error(
                "row_quarantined", loop=loop, key=row.key, stage=fault.stage, reason=fault.error
            )


def release(rows: "QuerySet[QuarantinedRow]", *, by: AbstractBaseUser | None = None) -> int:
    """Have the loops take these rows again; return how many were in quarantine."""
    held = QuarantinedRow.objects.open().filter(pk__in=[row.pk for row in rows])
    return held.update(released_at=clock.now(), released_by=by)


def forget(before: datetime) -> int:
    """Delete what is neither in quarantine nor was seen since ``before``."""
    old = QuarantinedRow.objects.filter(last_seen_at__lt=before)
    return old.exclude(quarantined_at__isnull=False, released_at__isnull=True).delete()[0]


def key_of(key: object) -> str:
    """Return a primary key as the database casts it to text."""
    return str(dialect.write(key))


def _count(row: QuarantinedRow, fault: Fault, now: datetime) -> None:
    if row.released_at is not None:  # somebody mended it, or thought so: count anew
        row.fault_count, row.first_seen_at = 0, now
        row.released_at = row.released_by = row.quarantined_at = None
    row.fault_count += 1
    row.stage, row.reason, row.place = fault.stage[:40], fault.error[:100], fault.place
    row.last_seen_at = now
    if row.fault_count > len(BACKOFFS):
        row.quarantined_at, row.retry_at = row.quarantined_at or now, None
    else:
        row.retry_at = now + timedelta(seconds=BACKOFFS[row.fault_count - 1])
