"""Statements that Postgres plans once for each connection."""

from collections.abc import Iterator

import pytest
from django.db import DataError, connection, transaction

from notifications.db import dialect, planned

BY_NAME = planned.Statement("SELECT name, note FROM planned_people WHERE name = %s AND is_old = %s")
BY_NUMBER = planned.Statement("SELECT name FROM planned_people WHERE name = (%s::int)::text")


@pytest.fixture(autouse=True)
def people(transactional_db: None) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE planned_people (name text, is_old boolean, note varchar(9))")
        cursor.execute("INSERT INTO planned_people VALUES ('Zoë', true, NULL), ('Ada', false, '')")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE planned_people")


def times_planned() -> int:
    (row,) = dialect.all_of(
        "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE %s",
        ["SELECT name, note FROM planned_people%"],
    )
    return int(row[0])


def test_it_is_planned_once_and_reads_texts_and_null() -> None:
    for _ in range(3):
        assert BY_NAME.rows("Zoë", True) == [("Zoë", None)]
        assert BY_NAME.rows("Ada", False) == [("Ada", "")]
        assert BY_NAME.rows("Ada", True) == []
    assert times_planned() == 1


def test_one_that_begins_a_transaction_is_part_of_it() -> None:
    with transaction.atomic():
        assert BY_NAME.rows("Ada", False) == [("Ada", "")]
        dialect.count_of("UPDATE planned_people SET note = 'new'", [])
        assert BY_NAME.rows("Ada", False) == [("Ada", "new")]
        transaction.set_rollback(True)
    assert BY_NAME.rows("Ada", False) == [("Ada", "")]


@pytest.mark.parametrize(
    "change",
    ["ALTER TABLE planned_people ALTER note TYPE text", "DEALLOCATE ALL", "DISCARD ALL"],
)
def test_a_plan_that_became_stale_costs_no_error(change: str) -> None:
    assert BY_NAME.rows("Ada", False) == [("Ada", "")]
    with connection.cursor() as cursor:
        cursor.execute(change)
    for _ in range(2):
        assert BY_NAME.rows("Ada", False) == [("Ada", "")]


def test_what_postgres_refuses_is_djangos_error_and_the_connection_goes_on() -> None:
    for _ in range(2):
        with pytest.raises(DataError):
            BY_NUMBER.rows("no number")
        assert BY_NAME.rows("Ada", False) == [("Ada", "")]


def test_a_new_connection_plans_anew() -> None:
    assert BY_NAME.rows("Ada", False) == [("Ada", "")]
    connection.close()
    assert times_planned() == 0
    assert BY_NAME.rows("Ada", False) == [("Ada", "")]
    assert times_planned() == 1


def test_behind_a_pooler_nothing_is_planned_that_another_client_could_meet() -> None:
    connection.close()
    connection.ensure_connection()
    planned._plans[connection.connection] = planned._Plans(are_kept=False)
    assert BY_NAME.rows("Ada", False) == [("Ada", "")]
    assert times_planned() == 0
