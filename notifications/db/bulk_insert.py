"""Writing many rows of a model quickly: COPY where there is one, else one INSERT for a few."""

import json
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.db import connection, models

from notifications.db import dialect, planned

Row = Mapping[str, Any]  # a row's columns, by the names of the model's attributes

FEW = 5  # rows up to which one INSERT costs less than a COPY: psycopg reads it anew each time
_PARAMETERS = 900  # SQLite takes at most 999 or 32,766, depending on its age


class Table:
    """One model's table. ``left_out`` names columns that the database fills by itself."""

    def __init__(self, model: type[models.Model], *left_out: str) -> None:
        fields = [f for f in model._meta.concrete_fields if f.name not in left_out]
        self.defaults = {f.attname: f.get_default() for f in fields}
        self._names = [f.attname for f in fields]
        self._get = itemgetter(*self._names)
        self._json = [n for n, f in enumerate(fields) if isinstance(f, models.JSONField)]
        self._fields = fields
        self._into = f"{model._meta.db_table} ({', '.join(str(f.column) for f in fields)})"
        self._one, self._one_if_new = (planned.Statement(sql) for sql in self._of_one())

    def insert(self, rows: Sequence[Row], *, skip_taken: bool = False) -> int:
        """Insert rows in the current transaction, and give how many.

        With ``skip_taken`` a row that breaks a unique constraint is passed over, which COPY
        cannot do; without it ``IntegrityError`` is raised and nothing inserted.
        """
        if connection.vendor == "postgresql" and len(rows) > FEW and not skip_taken:
            return self._copy(rows)
        if len(rows) == 1:
            statement = self._one_if_new if skip_taken else self._one
            return statement.written(self._values(rows[0]))
        return sum(
            dialect.count_of(*self._statement(part, skip_taken=skip_taken))
            for part in self._parts(rows)
        )

    def insert_new(self, rows: Sequence[Row]) -> set[UUID]:
        """Insert rows, passing over those that break a unique constraint; return the new ids."""
        new: set[UUID] = set()
        for part in self._parts(rows):
            sql, values = self._statement(part, skip_taken=True)
            new.update(dialect.ids_of(f"{sql} RETURNING id", values))
        return new

    def insert_numbered(
        self, rows: Sequence[Row], by: str, *, skip_taken: bool = False
    ) -> dict[Any, int]:
        """Insert rows whose id the database gives; return the ids by the values of a column.

        With ``skip_taken`` a row that breaks a unique constraint is passed over.
        """
        made: dict[Any, int] = {}
        if connection.vendor == "postgresql" and len(rows) > FEW:
            statements = [self._statement_of_arrays(rows, skip_taken=skip_taken)]
        else:
            statements = [
                self._statement(part, skip_taken=skip_taken) for part in self._parts(rows)
            ]
        for sql, values in statements:
            made.update(dialect.all_of(f"{sql} RETURNING {by}, id", values))
        return made

    def _parts(self, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
        step = _PARAMETERS // len(self._names)
        for at in range(0, len(rows), step):
            yield rows[at : at + step]

    def _copy(self, rows: Sequence[Row]) -> int:
        connection.ensure_connection()
        with (
            connection.wrap_database_errors,
            connection.connection.cursor() as cursor,
            cursor.copy(f"COPY {self._into} FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(self._values(row))
        return len(rows)

    def _statement(self, rows: Sequence[Row], *, skip_taken: bool) -> tuple[str, list[Any]]:
        values = dialect.write_all(value for row in rows for value in self._values(row))
        return self._insert_of(len(rows), skip_taken=skip_taken), values

    def _of_one(self) -> tuple[str, str]:
        return self._insert_of(1, skip_taken=False), self._insert_of(1, skip_taken=True)

    def _insert_of(self, count: int, *, skip_taken: bool) -> str:
        marks = ", ".join([f"({dialect.marks(len(self._names))})"] * count)
        skip = " ON CONFLICT DO NOTHING" if skip_taken else ""
        return f"INSERT INTO {self._into} VALUES {marks}{skip}"  # noqa: S608 -- names of our own models

    def _statement_of_arrays(
        self, rows: Sequence[Row], *, skip_taken: bool
    ) -> tuple[str, list[Any]]:
        """Return one INSERT for any number of rows: a parameter for each column."""
        skip = " ON CONFLICT DO NOTHING" if skip_taken else ""
        arrays = ", ".join(f"%s::{_array(field)}" for field in self._fields)
        columns = [*map(list, zip(*map(self._values, rows), strict=True))]
        return f"INSERT INTO {self._into} SELECT * FROM unnest({arrays}){skip}", columns  # noqa: S608 -- names of our own models

    def _values(self, row: Row) -> list[Any]:
        values = [*self._get(row)]
        for place in self._json:
            values[place] = _json_text(values[place])
        return values


def _array(field: "models.Field[Any, Any]") -> str:
    """Return the type of a column's values as an array; a cast to ``varchar(n)`` would cut."""
    if isinstance(field, models.JSONField):
        return "text[]::jsonb[]"
    own = str(field.db_type(connection))
    return "text[]" if own.startswith("varchar") else f"{own}[]"


_encode = json.JSONEncoder(separators=(",", ":")).encode


def _json_text(value: Any) -> str | None:
    """Write a JSON column; most hold nothing."""
    return None if value is None else "{}" if value == {} else _encode(value)
