"""How the database at hand keeps the few types that our own SQL touches."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils.dateparse import parse_datetime
from psycopg import Cursor


def write(value: Any) -> Any:
    """Turn an id or a time into what a parameter of our own SQL wants; others stay as they are."""
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    if isinstance(value, UUID) and not connection.features.has_native_uuid_field:
        return value.hex
    return value


def write_all(values: Iterable[Any]) -> list[Any]:
    """Turn many into parameters; psycopg takes them all as they are."""
    return list(values) if connection.vendor == "postgresql" else [*map(write, values)]


def read_time(value: datetime | str | None) -> datetime | None:
    """Give a time that our own SQL returned, aware and in UTC."""
    if value is None or (isinstance(value, datetime) and value.tzinfo):
        return value
    # SQLite keeps times in UTC without saying so, and may give them as text.
    moment = parse_datetime(value) if isinstance(value, str) else value
    if moment is None:
        raise ValueError(f"The database gave {value!r} for a time.")
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_id(value: UUID | str) -> UUID:
    """Give an id that our own SQL returned."""
    return value if isinstance(value, UUID) else UUID(value)


def rows_of(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run a statement of our own on Postgres, and give the rows that it returns, fully read.

    Ids, times and JSON come in binary and are read in C: a third of the price of reading text.
    """
    with _server_cursor() as cursor:
        return cursor.execute(sql, parameters, binary=True).fetchall()


def count_of(sql: str, parameters: Sequence[Any]) -> int:
    """Run a statement of our own, and give how many rows it wrote."""
    with _server_cursor() if connection.vendor == "postgresql" else connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)


@contextmanager
def _server_cursor() -> Iterator[Cursor[Any]]:
    """Make a cursor whose parameters Postgres binds, which Django's own does in Python."""
    connection.ensure_connection()
    with connection.wrap_database_errors, Cursor(connection.connection) as cursor:
        yield cursor


def marks(count: int) -> str:
    """Give ``count`` placeholders, comma-separated."""
    return ", ".join(["%s"] * count)


def one_of(column: str, ids: Sequence[UUID]) -> tuple[str, list[Any]]:
    """Give a condition that a column is one of these ids, and its parameters.

    Postgres takes them all as one parameter, which saves adapting each.
    """
    if connection.features.has_native_uuid_field:
        return f"{column} = ANY(%s::uuid[])", ["{" + ",".join(map(str, ids)) + "}"]
    return f"{column} IN ({marks(len(ids))})", [id_.hex for id_ in ids]


def picked(query: str) -> str:
    """Give a condition that a row is among those whose ids ``query`` selects, and lock them.

    Rows that somebody else is claiming are passed over, and no more are locked than the query's
    limit says: to Postgres it is an array, built once. ``id IN (…)`` it may plan as a join that
    runs the query anew for each row, and each run passes over what the one before has locked.
    SQLite has no row locks: there a statement that writes holds the one write lock instead.
    """
    if connection.features.has_select_for_update_skip_locked:
        return f"id = ANY(ARRAY({query} FOR UPDATE SKIP LOCKED))"
    return f"id IN ({query})"
