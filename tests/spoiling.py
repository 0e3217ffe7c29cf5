"""What strangers' code may do with the database connection of its thread."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from psycopg.rows import dict_row


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def fail() -> None:
    with pytest.raises(DatabaseError):
        sql("SELECT no_such_column FROM scheduling_fire")


def leave_a_block_open() -> None:
    transaction.atomic().__enter__()


def close_in_a_block() -> None:
    leave_a_block_open()
    connection.close()


def break_a_block() -> None:
    leave_a_block_open()
    fail()


def break_a_transaction_of_its_own() -> None:
    sql("BEGIN")
    fail()


HARMS: dict[str, Callable[[], Any]] = {
    "close the connection": connection.close,
    "close the driver's connection": lambda: connection.connection.close(),  # noqa: PLW0108 -- another one each time
    "close it in a block": close_in_a_block,
    "leave a block open": leave_a_block_open,
    "break a block": break_a_block,
    "turn autocommit off": lambda: connection.set_autocommit(False),
    "begin a transaction": lambda: sql("BEGIN"),
    "break a transaction": break_a_transaction_of_its_own,
}
POSTGRES_HARMS: dict[str, Callable[[], Any]] = {
    "change the role": lambda: sql("SET ROLE pg_monitor"),
    "change the search path": lambda: sql("SET search_path TO nowhere"),
    "change the date style": lambda: sql("SET datestyle TO 'German'"),
    "read rows as dictionaries": lambda: setattr(connection.connection, "row_factory", dict_row),
    "forbid writes": lambda: sql("SET default_transaction_read_only = on"),
}


def harms_of_this_database() -> dict[str, Callable[[], Any]]:
    """Return each harm by its name."""
    return HARMS | (POSTGRES_HARMS if connection.vendor == "postgresql" else {})
