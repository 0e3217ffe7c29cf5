"""Recipients that come in numbers do not make each send read all of them."""

import pytest
from django.db import connection
from django.db.utils import OperationalError
from structlog.testing import capture_logs

from notifications.core.world import LIVE
from notifications.db import dialect, statistics
from notifications.models import Recipient, RecipientAddress
from notifications.recipients import lookup
from notifications.submission import save_recipient, save_recipients

pytestmark = pytest.mark.django_db(transaction=True)

TABLES = (Recipient, RecipientAddress)


@pytest.fixture(autouse=True)
def _new_tables() -> None:
    """Have them be as new: what an earlier test deleted leaves its pages."""
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {Recipient._meta.db_table} CASCADE")
        for model in TABLES:
            cursor.execute(f"ALTER TABLE {model._meta.db_table} SET (autovacuum_enabled = off)")


def _analyze() -> None:
    with connection.cursor() as cursor:
        for model in TABLES:
            cursor.execute(f"ANALYZE {model._meta.db_table}")


def _save(first: int, count: int) -> None:
    save_recipients(
        {"id": f"c-{number}", "addresses": {"simulator": f"s-{number}"}}
        for number in range(first, first + count)
    )


def _kept_plan() -> str:
    """Return the plan that this connection has for one recipient."""
    for _ in range(8):  # after five uses Postgres keeps one for all values
        assert lookup.find([(LIVE, "c-0")], "simulator")
    [(name,)] = dialect.all_of(
        "SELECT name FROM pg_prepared_statements WHERE statement LIKE %s",
        [f"%JOIN {RecipientAddress._meta.db_table}%"],
    )
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN EXECUTE {name} ('simulator', 'default', false, 'c-0')")
        return "\n".join(line for (line,) in cursor.fetchall())


@pytest.mark.parametrize("analyzed", [False, True])
def test_one_is_found_by_the_index_of_ids_once_many_were_saved(analyzed: bool) -> None:
    save_recipient("c-0", addresses={"simulator": "s-0"})
    if analyzed:
        _analyze()
    before = _kept_plan()
    if analyzed:  # of a table never analyzed Postgres may choose either way
        assert "recipient_of_project" not in before, "the plan must be one that has to change"
    _save(1, 2000)
    assert "recipient_of_project" in (plan := _kept_plan()), plan
    assert "address_of_recipient" in plan


def test_a_table_is_analyzed_only_once_it_has_doubled() -> None:
    def known() -> list[float]:
        return [
            dialect.all_of("SELECT reltuples FROM pg_class WHERE relname = %s", [name])[0][0]
            for name in (model._meta.db_table for model in TABLES)
        ]

    _save(0, 2000)
    assert known() == [2000, 2000]
    _save(2000, 500)
    assert known() == [2000, 2000]
    _save(2500, 2500)
    assert known() == [5000, 5000]


def test_what_is_saved_stays_saved_where_the_tables_cannot_be_analyzed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("canceling statement due to statement timeout")

    monkeypatch.setattr("notifications.db.statistics.dialect.all_of", fail)
    with capture_logs() as logs:
        statistics.renew(*TABLES)
    assert [(entry["event"], entry["error"]) for entry in logs] == [
        ("tables_not_analyzed", "OperationalError")
    ]
