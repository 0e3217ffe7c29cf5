"""One statement for many rows: their values travel as one JSON parameter.

The ORM would adapt each value of each row, and send one update per row. A burst of fires feels it.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from django.db import connection
from django.db.models import Field, Model

AnyField: TypeAlias = "Field[Any, Any]"
Rows = Collection[Sequence[Any]]


def insert_new(model: type[Model], names: Sequence[str], rows: Rows) -> set[Any]:
    """Insert rows but for those that a constraint says are there; return the keys of the new ones.

    ``names`` are the fields whose values each row has.
    """
    if not rows:
        return set()
    meta, fields = model._meta, _fields(model, names)
    columns = ", ".join(str(field.column) for field in fields)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {meta.db_table} ({columns}) SELECT {columns} FROM {_given_table(fields)}"  # noqa: S608 -- our own words and placeholders
            f" WHERE true ON CONFLICT DO NOTHING RETURNING {meta.pk.column}",
            [_json(fields, rows)],
        )
        return {meta.pk.to_python(key) for (key,) in cursor.fetchall()}


def update(model: type[Model], names: Sequence[str], rows: Rows) -> None:
    """Update rows: each has its key first, and then the new values of the fields ``names``."""
    if not rows:
        return
    meta, fields = model._meta, [model._meta.pk, *_fields(model, names)]
    changes = ", ".join(f"{field.column} = given.{field.column}" for field in fields[1:])
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {meta.db_table} SET {changes} FROM {_given_table(fields)}"  # noqa: S608 -- our own words and placeholders
            f" WHERE {meta.db_table}.{meta.pk.column} = given.{meta.pk.column}",
            [_json(fields, rows)],
        )


def _fields(model: type[Model], names: Iterable[str]) -> list[AnyField]:
    by_name = {field.attname: field for field in model._meta.concrete_fields}
    return [by_name[name] for name in names]


def _given_table(fields: Iterable[AnyField]) -> str:
    """Return the SQL that reads a JSON parameter as a table ``given``."""
    if connection.vendor == "postgresql":
        columns = ", ".join(f"{field.column} {field.db_type(connection)}" for field in fields)
        return f"json_to_recordset(%s::json) AS given ({columns})"
    values = ", ".join(
        f"json_extract(value, '$.{field.column}') AS {field.column}" for field in fields
    )
    return f"(SELECT {values} FROM json_each(%s)) AS given"  # noqa: S608 -- a model's own columns


def _json(fields: Iterable[AnyField], rows: Rows) -> str:
    columns = [field.column for field in fields]
    given = [dict(zip(columns, row, strict=True)) for row in rows]
    return json.dumps(given, default=str if connection.vendor == "postgresql" else _sqlite_text)


def _sqlite_text(value: datetime | UUID) -> str:
    """Write a moment or an id as Django keeps it in SQLite; PostgreSQL reads what ``str`` gives."""
    if isinstance(value, UUID):
        return value.hex
    return str(connection.ops.adapt_datetimefield_value(value))
