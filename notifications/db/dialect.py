"""How the database at hand keeps the few types that our own SQL touches."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection, models
from django.utils.dateparse import parse_datetime
from psycopg import Connection, Cursor, adapters
from psycopg.adapt import Transformer
from psycopg.pq.abc import PGresult
from psycopg.rows import tuple_row
from psycopg.types.json import JsonbBinaryLoader

from scheduling import isolation
from scheduling.isolation import Fault

M = TypeVar("M", bound=models.Model)


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
    """Return a time that our own SQL returned, aware and in UTC."""
    if value is None or (isinstance(value, datetime) and value.tzinfo):
        return value
    # SQLite keeps times in UTC without saying so, and may give them as text.
    moment = parse_datetime(value) if isinstance(value, str) else value
    if moment is None:
        raise ValueError(f"The database returned {value!r} for a time.")
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_id(value: UUID | str) -> UUID:
    """Return an id that our own SQL returned."""
    return value if isinstance(value, UUID) else UUID(value)


class _Json(JsonbBinaryLoader):
    """Reads JSON in binary as the driver does; most of ours is an empty object."""

    def load(self, data: Any) -> Any:
        octets = bytes(data)
        if octets == _EMPTY_OBJECT:
            return {}
        if octets[:1] == _FORMAT:
            return _decode(octets[1:].decode())
        return super().load(data)


_FORMAT = b"\x01"  # of JSON in binary: its first octet
_EMPTY_OBJECT = _FORMAT + b"{}"
_decode = json.JSONDecoder().decode
adapters.register_loader("jsonb", _Json)


Unreadable = list[tuple[UUID, Fault]]  # ids of rows that Python cannot read, and why


def rows_of(sql: str, parameters: Sequence[Any]) -> tuple[list[tuple[Any, ...]], Unreadable]:
    """Run a statement of our own on Postgres, and give the rows that it returns, fully read.

    Ids, times and JSON come in binary; see ``rows_in``.
    """
    with _server_cursor() as cursor:
        cursor.execute(sql, parameters, binary=True)
        assert cursor.pgresult is not None  # noqa: S101 -- it was just executed
        return rows_in(cursor.pgresult, cursor.connection)


def rows_in(
    answer: PGresult, session: "Connection[Any]"
) -> tuple[list[tuple[Any, ...]], Unreadable]:
    """Read the rows of an answer in binary, in C: a third of the price of reading text.

    The first column is an id: it names a row that cannot be read, such as one with the time
    ``infinity`` or a number of 5,000 digits.
    """
    reader = Transformer(session)
    reader.set_pgresult(answer)
    try:
        return reader.load_rows(0, answer.ntuples, tuple), []
    except Exception:  # noqa: BLE001 -- no statement is run: whatever it is, a row's values raised it
        return _one_by_one(answer, reader.load_row)


def _one_by_one(
    answer: PGresult, load_row: Callable[..., tuple[Any, ...] | None]
) -> tuple[list[tuple[Any, ...]], Unreadable]:
    def read(number: int) -> tuple[Any, ...]:
        return load_row(number, tuple) or ()

    def id_of(number: int) -> UUID:
        return UUID(bytes=bytes(answer.get_value(number, 0) or b""))

    rows, faults = isolation.each(range(answer.ntuples), read, stage="read", key=id_of)
    return rows, [(id_of(number), fault) for number, fault in faults]


def readable(
    rows: "models.QuerySet[M]", keys: Sequence[Any]
) -> tuple[list[M], list[tuple[Any, Fault]]]:
    """Read rows by their primary keys, in that order; one that cannot be read costs itself.

    Return those that were read, and the keys of the others.
    """
    by_key: dict[Any, M] = {}
    faults = isolation.halving(
        keys, lambda part: by_key.update(rows.in_bulk(part)), stage="read", key=str
    )
    return [by_key[key] for key in keys if key in by_key], faults


def count_of(sql: str, parameters: Sequence[Any]) -> int:
    """Run a statement of our own, and give how many rows it wrote."""
    with _server_cursor() if connection.vendor == "postgresql" else connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)


def ids_of(sql: str, parameters: Sequence[Any]) -> list[UUID]:
    """Run a statement of our own that returns ids."""
    return [read_id(row[0]) for row in all_of(sql, parameters)]


def all_of(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run a statement of our own, and give the rows that it returns."""
    with _server_cursor() if connection.vendor == "postgresql" else connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def write_each(
    model: type[models.Model], column: str, ids: Mapping[int, UUID], **same: Any
) -> None:
    """Write rows by their numeric keys: an id to one column of each, and ``same`` to all of them.

    One statement on Postgres, so that each row has one new version however many columns change.
    """
    table = model._meta.db_table
    columns = "".join(f", {name} = %s" for name in same)
    if connection.vendor == "postgresql":
        count_of(
            f"UPDATE {table} SET {column} = given.value{columns}"  # noqa: S608 -- names of our own models
            " FROM unnest(%s::bigint[], %s::uuid[]) AS given (key, value) WHERE id = given.key",
            [*same.values(), list(ids), list(ids.values())],
        )
        return
    shared = [*map(write, same.values())]
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {table} SET {column} = %s{columns} WHERE id = %s",  # noqa: S608 -- as above
            [(write(value), *shared, key) for key, value in ids.items()],
        )


@contextmanager
def _server_cursor() -> Iterator[Cursor[Any]]:
    """Make a cursor whose parameters Postgres binds, which Django's own does in Python."""
    connection.ensure_connection()
    session = connection.connection
    with connection.wrap_database_errors, Cursor(session, row_factory=tuple_row) as cursor:
        yield cursor


def take_turns(names: Iterable[str]) -> None:
    """Wait until no other transaction holds one of these names, and hold them until the commit.

    They are taken in one order, so that two never wait for each other. SQLite has one writer.
    """
    if connection.vendor != "postgresql":
        return
    digests = {blake2b(name.encode(), digest_size=8).digest() for name in names}
    keys = sorted(int.from_bytes(digest, signed=True) for digest in digests)
    if keys:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key", [keys]
            )


def wait_for_locks(seconds: float) -> None:
    """Have statements of this transaction wait so long for a lock, and then fail."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            milliseconds = f"{seconds * 1000:.0f}"
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [milliseconds])


def marks(count: int) -> str:
    """Return ``count`` placeholders, comma-separated."""
    return ", ".join(["%s"] * count)


def one_of(column: str, ids: Sequence[UUID]) -> tuple[str, list[Any]]:
    """Return a condition that a column is one of these ids, and its parameters.

    Postgres takes them all as one parameter, which saves adapting each.
    """
    if connection.features.has_native_uuid_field:
        return f"{column} = ANY(%s::uuid[])", ["{" + ",".join(map(str, ids)) + "}"]
    return f"{column} IN ({marks(len(ids))})", [id_.hex for id_ in ids]


def lock_free(rows: "models.QuerySet[M]", limit: int) -> list[Any]:
    """Lock up to ``limit`` rows that nobody else has locked; return their primary keys.

    For who can come back for the others: who never waits for a row deadlocks with nobody. In a
    transaction. SQLite has no row locks, and one writer.
    """
    if connection.features.has_select_for_update_skip_locked:
        rows = rows.select_for_update(skip_locked=True, of=("self",), no_key=True)
    return list(rows.values_list("pk", flat=True)[:limit])


def lock_in_order(rows: "models.QuerySet[M]") -> None:
    """Lock rows by their primary keys' order, before statements that change them in another one.

    So nobody who does so, too, waits for this transaction while it waits for him.
    """
    if connection.features.has_select_for_update:
        locked = rows.select_for_update(of=("self",), no_key=True).order_by("pk")
        deque(locked.values_list("pk", flat=True).iterator(), maxlen=0)


def picked(query: str) -> str:
    """Return a condition that a row is among those whose ids ``query`` selects, and lock them.

    Rows that somebody else is claiming are passed over, and no more are locked than the query's
    limit says: to Postgres it is an array, built once. ``id IN (…)`` it may plan as a join that
    runs the query anew for each row, and each run passes over what the one before has locked.
    SQLite has no row locks: there a statement that writes holds the one write lock instead.
    """
    if connection.features.has_select_for_update_skip_locked:
        return f"id = ANY(ARRAY({query} FOR UPDATE SKIP LOCKED))"
    return f"id IN ({query})"
