"""Planned statements: what is planned, when anew, and which values pass."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from django.db import DataError, connection, transaction

from notifications.db import clock, dialect, planned

BY_NAME = planned.Statement("SELECT name, note FROM planned_people WHERE name = %s AND is_old = %s")
INSERT = planned.Statement("INSERT INTO planned_things VALUES (%s, %s, %s, %s, %s)")
BY_ID = "SELECT id, at, note, number, is_old FROM planned_things WHERE id = %s"
BY_NUMBER = planned.Statement("SELECT name FROM planned_people WHERE name = (%s::int)::text")


@pytest.fixture(autouse=True)
def people(transactional_db: None) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE planned_people (name text, is_old boolean, note varchar(9))")
        cursor.execute("INSERT INTO planned_people VALUES ('Zoë', true, NULL), ('Ada', false, '')")
        cursor.execute(
            "CREATE TABLE planned_things"
            " (id uuid, at timestamptz, note text, number smallint, is_old boolean)"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE planned_people, planned_things")


def times_planned(words: str = "SELECT name, note FROM planned_people") -> int:
    (row,) = dialect.all_of(
        "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE %s", [f"{words}%"]
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
        assert times_planned() == 1
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
    planned._plans[connection.connection] = planned._Plans(connection.connection, are_kept=False)
    assert BY_NAME.rows("Ada", False) == [("Ada", "")]
    assert times_planned() == 0
    connection.close()


def test_ids_times_numbers_truth_values_and_null_are_written_and_read() -> None:
    things = [(uuid4(), clock.now(), "Zoë", -3, True), (uuid4(), None, None, 0, False)]
    for thing in things:
        assert INSERT.written(thing) == 1
        assert planned.of(BY_ID).rows_of_any_type([thing[0]]) == ([thing], [])
    assert times_planned("INSERT INTO planned_things") == 1


def test_a_value_that_cannot_be_read_costs_its_own_row() -> None:
    id_ = uuid4()
    INSERT.written([id_, "infinity", "", 1, True])
    (_, faults) = planned.of(BY_ID).rows_of_any_type([id_])
    assert [(broken, fault.error) for broken, fault in faults] == [(id_, "DataError")]


def test_a_text_with_nul_is_refused_and_not_cut() -> None:
    with pytest.raises((DataError, ValueError)):
        INSERT.written([uuid4(), None, "begun\0ended", 1, True])
    assert dialect.all_of("SELECT note FROM planned_things", []) == []


def test_a_plan_that_growth_may_make_a_bad_one_is_made_anew_after_a_second() -> None:
    INSERT.written([(id_ := uuid4()), None, "", 1, True])
    statement = planned.of(BY_ID)
    for _ in range(3):
        assert len(statement.rows_of_any_type([id_])[0]) == 1
    plans = planned._plans[connection.connection].of
    first = plans[statement]
    assert times_planned("SELECT id, at, note") == 1
    plans[statement] = first._replace(until=first.until - planned.FRESH)
    assert len(statement.rows_of_any_type([id_])[0]) == 1
    assert plans[statement].name != first.name
    assert times_planned("SELECT id, at, note") == 1
