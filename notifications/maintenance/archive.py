"""The archive: finished notifications by month, out of the way of what is being sent.

Optional (NOTIFICATIONS_ARCHIVE_MONTHS). A row that retention takes from the live table comes here
with its attempts, and is kept for that many whole months after the one in which it finished. On
Postgres each month is a partition, and an old one is dropped at once; on SQLite it is deleted row
by row. The live table stays as it is, and with it the uniqueness of ids and idempotency keys.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction

from notifications.core.conf import conf
from notifications.db import clock, dialect
from notifications.models import ArchivedNotification, Attempt, Notification
from scheduling import isolation

_TABLE = ArchivedNotification._meta.db_table
_COLUMNS = ", ".join(
    str(field.column) for field in ArchivedNotification._meta.fields if field.name != "attempts"
)
_KEPT_OF_AN_ATTEMPT = [
    str(field.column) for field in Attempt._meta.fields if field.name not in ("id", "notification")
]
_INSERT = {"postgresql": "INSERT", "sqlite": "INSERT OR REPLACE"}
_JSON = {
    "postgresql": ("jsonb_agg", "jsonb_build_object"),
    "sqlite": ("json_group_array", "json_object"),
}


def is_on() -> bool:
    """Whether what leaves the live table comes here."""
    return conf.archive_months > 0


def keep(ids: Sequence[UUID]) -> None:
    """Copy finished notifications here, in the current transaction.

    Those that finished before the oldest month that is kept are passed over. On SQLite, where an
    id is unique here too, the newest of an id stays.
    """
    oldest = _oldest(conf.archive_months)
    condition, parameter = dialect.one_of("id", ids)
    if connection.vendor == "postgresql":
        for month in _months(condition, parameter, oldest):
            _make_room(month)
    collect, build = _JSON[connection.vendor]
    pairs = ", ".join(f"'{column}', tried.{column}" for column in _KEPT_OF_AN_ATTEMPT)
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_INSERT[connection.vendor]} INTO {_TABLE} ({_COLUMNS}, attempts)"  # noqa: S608 -- names of our own models
            f" SELECT {_COLUMNS}, COALESCE((SELECT {collect}({build}({pairs})) FROM"
            f" (SELECT * FROM {Attempt._meta.db_table} WHERE notification_id = live.id"
            " ORDER BY number) AS tried), '[]')"
            f" FROM {Notification._meta.db_table} AS live"
            f" WHERE {condition} AND finished_at >= %s",
            [*parameter, dialect.write(oldest)],
        )


def drop(keep_months: int | None = None) -> int:
    """Let go of months older than ``keep_months`` whole ones, by default those of the setting.

    Returns how many went. A month that somebody is reading is left for the next time.
    """
    oldest = _oldest(conf.archive_months if keep_months is None else keep_months)
    if connection.vendor != "postgresql":
        rows = ArchivedNotification.objects.filter(finished_at__lt=oldest)
        months = rows.datetimes("finished_at", "month", tzinfo=UTC).count()
        rows.delete()
        return months
    old = [name for name in _partitions() if name < _partition(oldest)]
    dropped, _ = isolation.each(old, _drop, stage="archive", key=str)
    return sum(dropped)


def _oldest(months: int) -> datetime:
    """Return the first moment of the oldest month that is kept."""
    now = clock.now()
    return _first_of(now.year * 12 + now.month - 1 - months)


def _first_of(month: int) -> datetime:
    """Return the first moment of a month, which are counted from the year 0."""
    return datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)


def _partition(month: datetime) -> str:
    return f"{_TABLE}_{month:%Y_%m}"


def _months(condition: str, parameter: list[Any], oldest: datetime) -> Iterator[datetime]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT date_trunc('month', finished_at, 'UTC')"  # noqa: S608 -- as above
            f" FROM {Notification._meta.db_table} WHERE {condition} AND finished_at >= %s",
            [*parameter, oldest],
        )
        yield from (month for (month,) in cursor.fetchall())


def _make_room(month: datetime) -> None:
    """Make a month's partition, unless it is there: one of those who come at once does.

    A table that is attached, unlike one that is made as a partition, waits for no reader.
    """
    name = _partition(month)
    end = _first_of(month.year * 12 + month.month)
    if _is_there(name):
        return
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {_TABLE} IN SHARE UPDATE EXCLUSIVE MODE")
        if _is_there(name):
            return
        cursor.execute(f"CREATE TABLE {name} (LIKE {_TABLE} INCLUDING DEFAULTS INCLUDING INDEXES)")
        cursor.execute(
            f"ALTER TABLE {_TABLE} ATTACH PARTITION {name}"
            f" FOR VALUES FROM ('{month.isoformat()}') TO ('{end.isoformat()}')"
        )


def _is_there(table: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table])
        return bool(cursor.fetchone()[0])


def _partitions() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = to_regclass(%s) ORDER BY relname",
            [_TABLE],
        )
        return [name for (name,) in cursor.fetchall()]


def _drop(partition: str) -> bool:
    """Drop a month, without making others wait behind who still reads the archive."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '2s'")
            cursor.execute(f"DROP TABLE IF EXISTS {partition}")
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != "55P03":  # lock_not_available
            raise
        return False
    return True
