"""Keys that schedules of the database share: for their runs at once, and one run in a period.

Who decides by a key holds its lock until the transaction ends, so no two decide at once.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from hashlib import blake2b

from django.db import connection

from scheduling.models import Schedule, UniqueRun

TAKE = """INSERT INTO scheduling_uniquerun (key, taken_until) VALUES (%s, %s)
    ON CONFLICT (key) DO UPDATE SET taken_until = excluded.taken_until
    WHERE scheduling_uniquerun.taken_until <= %s RETURNING key"""


def of(schedule: Schedule) -> set[str]:
    """Return the locks that a decision on a schedule's fires needs."""
    shared = (("concurrency", schedule.concurrency_key), ("unique", schedule.unique_key))
    return {f"{kind}:{key}" for kind, key in shared if key}


def lock(names: Collection[str]) -> None:
    """Wait for locks, in one order."""
    if names and connection.vendor == "postgresql":  # SQLite has one writer at a time anyway
        with connection.cursor() as cursor:
            for number in sorted(map(_number, names)):
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])


def locked(names: Collection[str]) -> set[str]:
    """Lock what nobody holds at this moment; return the names of the others."""
    if not names or connection.vendor != "postgresql":
        return set()
    by_number = {_number(name): name for name in names}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT n FROM unnest(%s::bigint[]) AS n WHERE NOT pg_try_advisory_xact_lock(n)",
            [sorted(by_number)],
        )
        return {by_number[number] for (number,) in cursor.fetchall()}


def take(schedule: Schedule, now: datetime) -> str:
    """Take a schedule's unique key for its period; return why not, empty if it was free."""
    if not schedule.unique_key or schedule.unique_seconds is None:
        return ""
    until = now + timedelta(seconds=schedule.unique_seconds)
    moments = [connection.ops.adapt_datetimefield_value(moment) for moment in (until, now)]
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [schedule.unique_key, *moments])
        if cursor.fetchone() is not None:
            return ""
    return f"key {schedule.unique_key!r}"


def forget(now: datetime) -> None:
    """Forget the keys whose period is over."""
    UniqueRun.objects.filter(taken_until__lte=now).delete()


def _number(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)
