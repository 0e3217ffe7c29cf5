"""Ada, whose data is asked for and forgotten: her words, and the tables in which they stand."""

from typing import Any

from django.db import connection

ADA = "ada.lovelace@example.org"
WORDS = ("lovelace", "c4711x")
OTHER = "grace@example.org"


def dump() -> list[tuple[str, Any]]:
    """Read every text of every table."""
    with connection.cursor() as cursor:
        rows = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT row_to_json(one)::text FROM "{table}" AS one')
            rows += [(table, row) for (row,) in cursor.fetchall()]
    return rows


def told(*words: Any) -> set[Any]:
    return {table for table, row in dump() if any(word in row.lower() for word in words)}
