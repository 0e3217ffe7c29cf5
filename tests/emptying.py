"""Emptying the test database after each test that committed: only what has rows.

Django truncates all tables, makes content types and permissions anew and opens a connection for
the next test: a third of a second for some seventy tables with their indexes, where a test leaves
rows in three or four. Here one query finds those, their rows are deleted, and the connection
stays: a new one would have to read the whole catalog again.
"""

from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.base import DatabaseWrapper
from django.test import TransactionTestCase
from psycopg import Connection, OperationalError
from psycopg.errors import UndefinedTable
from psycopg.pq import TransactionStatus

KEPT = {"django_content_type", "auth_permission"}  # the same after every test
SMALL = 1_000_000  # bytes; what is larger is truncated, lest its dead rows be read

# A table's triggers must not see its rows go: they did not when it was truncated. Nor do foreign
# keys: what refers to the rows goes, too.
UNSEEN = "SET LOCAL session_replication_role = replica"
MAY_DO_IT_UNSEEN = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
# What a process that was killed has begun is not committed after this.
END_OTHERS = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend'
"""
AS_WHEN_NEW = "RESET ALL; SELECT pg_advisory_unlock_all(); UNLISTEN *; DISCARD TEMP"


@cache
def _with_rows() -> str:
    """Return the query for the names of the tables that have rows, and whether each is large."""
    with connection.cursor() as cursor:
        # Those with partitions among them, which Django's own list leaves out.
        existing = {table.name for table in connection.introspection.get_table_list(cursor)}
    tables = existing.intersection(connection.introspection.django_table_names())
    return " UNION ALL ".join(
        f"SELECT '{table}', pg_relation_size('{table}'::regclass) > {SMALL} "
        f"WHERE EXISTS (SELECT FROM {table})"
        for table in sorted(tables - KEPT)
    )


@cache
def _may_do_it_unseen() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(MAY_DO_IT_UNSEEN)
        return bool(cursor.fetchone()[0])


def _is_idle(raw: "Connection[Any]") -> bool:
    idle = raw.info.transaction_status == TransactionStatus.IDLE
    return idle and raw.autocommit and not raw.closed


def _still_answers(raw: "Connection[Any]") -> bool:
    """Return False if the server has ended it meanwhile, as tests of outages have it do."""
    try:
        raw.execute("SELECT")
    except OperationalError:
        return False
    return True


def _connected(to: BaseDatabaseWrapper) -> "Connection[Any]":
    """Return its connection, a new one if the test has left a transaction in it."""
    if to.connection is not None and not _is_idle(to.connection):
        to.close()
    to.ensure_connection()
    raw: Connection[Any] = to.connection
    return raw


def _empty(raw: "Connection[Any]") -> None:
    try:
        found = raw.execute(_with_rows()).fetchall()
    except UndefinedTable:  # the test has taken one away
        _with_rows.cache_clear()
        found = raw.execute(_with_rows()).fetchall()
    if found:
        emptied = (f"TRUNCATE {t} CASCADE" if large else f"DELETE FROM {t}" for t, large in found)
        raw.execute("; ".join([UNSEEN, *emptied]))


def _flush(database: BaseDatabaseWrapper) -> None:
    """Have Django empty an SQLite database, but for what it would make anew for the next test."""
    introspection = database.introspection
    all_names = introspection.django_table_names

    def names(**options: bool) -> list[str]:
        return [name for name in all_names(**options) if name not in KEPT]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(introspection, "django_table_names", names)
        options = {"verbosity": 0, "interactive": False, "reset_sequences": False}
        call_command("flush", database=database.alias, inhibit_post_migrate=True, **options)


def end_all_sessions() -> None:
    """End the sessions of processes that were killed, wait until they have ended, and begin anew.

    What such a test did to the database may last in a session that has begun meanwhile.
    """
    if connection.vendor == "postgresql":
        _connected(connection).execute(END_OTHERS)
        connection.close()


class _Kept:
    """The connection of the tests so far, for the next one that opens the same."""

    def __init__(self) -> None:
        self._open = DatabaseWrapper.get_new_connection
        self._parameters: WeakKeyDictionary[Connection[Any], Any] = WeakKeyDictionary()
        self._free: Connection[Any] | None = None

    def connect(self, wrapper: DatabaseWrapper, parameters: Any) -> "Connection[Any]":
        """Return the kept one, if it is to the same database and of use, else a new one."""
        raw, self._free = self._free, None
        if raw is not None:
            if _is_idle(raw) and self._parameters.get(raw) == parameters and _still_answers(raw):
                return raw
            raw.close()
        made: Connection[Any] = self._open(wrapper, parameters)
        self._parameters[made] = parameters
        return made

    def keep(self, wrapper: BaseDatabaseWrapper) -> None:
        """Take it from Django, for which it is closed; what its session has set is gone."""
        raw: Connection[Any] = wrapper.connection
        raw.execute(AS_WHEN_NEW)
        if raw in self._parameters and self._free is None:
            self._free, wrapper.connection = raw, None
        wrapper.close()


def _flush_all(test: Any) -> None:
    for name in test._databases_names(include_mirrors=False):
        _flush(connections[name])


def install(patch: pytest.MonkeyPatch) -> None:
    """Have Django's test case do so, on Postgres as a superuser, and on SQLite."""
    test_case: Any = TransactionTestCase
    as_django_does = test_case._fixture_teardown
    if connection.vendor != "postgresql":
        patch.setattr(test_case, "_fixture_teardown", _flush_all)
        return
    kept = _Kept()

    def fixture_teardown(self: Any) -> None:
        if not _may_do_it_unseen():
            as_django_does(self)
            return
        for name in self._databases_names(include_mirrors=False):
            _empty(_connected(connections[name]))
            kept.keep(connections[name])

    def get_new_connection(self: DatabaseWrapper, parameters: Any) -> Any:
        return kept.connect(self, parameters)

    patch.setattr(test_case, "_fixture_teardown", fixture_teardown)
    patch.setattr(DatabaseWrapper, "get_new_connection", get_new_connection)
