"""Emptying the test database after each test that committed: only what has rows.

Django truncates all tables and makes content types and permissions anew, a quarter of a second
for some forty tables with their indexes, where a test leaves rows in three or four.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from django.core.management.commands import flush
from django.db import connection
from django.db.backends.postgresql.operations import DatabaseOperations

from config.audit.triggers import MAY_PRUNE

KEPT = {"django_content_type", "auth_permission"}  # the same after every test
SMALL = 1_000_000  # bytes; what is larger is truncated, lest its dead rows be read

# A table's own triggers must not see its rows go: they did not when it was truncated.
WHOLE = """
    SELECT pg_relation_size(%s::regclass) > %s OR EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal)
"""


def sql_flush(self: DatabaseOperations, _style: Any, tables: Sequence[str], **_: Any) -> list[str]:
    """Return the statements that empty those of these tables that have rows."""
    some = " UNION ALL ".join(
        f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})"
        for table in tables
        if table not in KEPT
    )
    truncated: list[str] = []
    deleted: list[str] = []
    with self.connection.cursor() as cursor:
        cursor.execute(some)
        for (table,) in cursor.fetchall():
            cursor.execute(WHOLE, [table, SMALL, table])
            (truncated if cursor.fetchone()[0] else deleted).append(table)
    truncate = [f"TRUNCATE {', '.join(truncated)} CASCADE"] if truncated else []
    if truncate:  # the audit log goes for who says so
        truncate.insert(0, f"SELECT set_config('{MAY_PRUNE}', 'on', true)")
    return [*truncate, *(f"DELETE FROM {table}" for table in deleted)]


def install(patch: pytest.MonkeyPatch) -> None:
    """Have Django's ``flush`` do so, on Postgres."""
    if connection.vendor == "postgresql":
        patch.setattr(DatabaseOperations, "sql_flush", sql_flush)
        patch.setattr(flush, "emit_post_migrate_signal", lambda *_args, **_kwargs: None)
