"""Doctor, overview, readiness and metrics say what keeps the database from working."""

from contextlib import closing
from datetime import timedelta
from math import isnan
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from notifications.models import Attempt, FailedDelivery, Notification
from notifications.monitoring import overview
from notifications.monitoring.diagnosis import locks, schedules, storage
from notifications.monitoring.state import StateCollector
from notifications.submission import send
from scheduling import watch
from scheduling.clock import database_now
from scheduling.models import SchedulerProcess, WorkerProcess
from tests import leftovers
from tests.integration.notifications.db.broken_database import (
    LOCK,
    NO_TROUBLE,
)
from tests.servers.process import wait_until

SIMULATED: dict[str, Any] = {"channel": "simulator", "recipient": "ada", "body": "Hello"}
# At each row of which a condition holds; ``NEW`` is the row.
OF_A_ROW = """
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF {} THEN RAISE disk_full USING MESSAGE = 'could not extend file: No space left'; END IF;
RETURN NEW; END $$;
CREATE TRIGGER trouble BEFORE {} ON {} FOR EACH ROW EXECUTE FUNCTION trouble();
"""


def test_the_doctor_finds_a_database_that_takes_no_write(transactional_db: None) -> None:
    assert list(storage.database()) == []
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION default_transaction_read_only = on")
    try:
        (finding,) = storage.database()
        assert finding.id == "database.refuses"
        assert "it is read-only (25006)" in finding.problem
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("table", "event"),
    [
        ("notifications_attempt", "INSERT"),
        ("notifications_notification", "UPDATE"),
        ("notifications_faileddelivery", "INSERT"),
    ],
)
def test_a_table_that_takes_no_write_is_told_of_wherever_one_looks(
    transactional_db: None,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    event: str,
) -> None:
    monkeypatch.setattr(watch, "QUIET", 0.0)
    with connection.cursor() as cursor:
        cursor.execute(OF_A_ROW.format("true", event, table))
    leftovers.forget()
    try:
        (finding,) = storage.database()
        ready = client.get("/healthz/ready")
        told = overview.read().troubles[0]
        up = figures()["notifications_database_up"]
        send(**SIMULATED)  # what is accepted says nothing of the other tables
        assert watch.database.outage is not None
    finally:
        with connection.cursor() as cursor:
            cursor.execute(NO_TROUBLE)
        leftovers.forget()
    assert (finding.id, "its disk is full (53100)" in finding.problem) == ("database.refuses", True)
    assert (ready.status_code, ready.json()["checks"]["database"]) == (503, "its disk is full")
    assert told.startswith("The database takes no write, for its disk is full (53100)")
    assert up == 0
    assert figures()["notifications_database_up"] == 1
    assert [model.objects.count() for model in (Notification, Attempt, FailedDelivery)] == [1, 0, 0]


def figures() -> dict[str, float]:
    families = StateCollector().collect()
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_the_doctor_names_the_session_that_has_a_table_locked(child_env: dict[str, str]) -> None:
    with psycopg.connect(child_env["DATABASE_URL"], application_name="psql of ada") as other:
        other.execute(f"{LOCK}; SELECT 'ada@example.org'")
        (finding,) = storage.database()
        assert finding.id == "database.locked"
        assert f"process {other.info.backend_pid} of " in finding.problem
        assert "(psql of ada), for 1 s: LOCK TABLE notifications_notification" in finding.problem
        assert "ada@example.org" not in finding.problem
    assert list(storage.database()) == []


def test_nobody_is_said_to_be_dead_while_the_rows_of_the_living_are_locked(
    child_env: dict[str, str], admin_client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    long_ago = database_now() - timedelta(hours=1)
    SchedulerProcess.objects.create(name="beat", started_at=long_ago, seen_at=long_ago)
    WorkerProcess.objects.create(name="worker", started_at=long_ago, seen_at=long_ago)
    with psycopg.connect(child_env["DATABASE_URL"]) as other:
        other.execute("SELECT * FROM scheduling_schedulerprocess FOR UPDATE")
        other.execute("SELECT * FROM scheduling_workerprocess FOR UPDATE")
        assert [finding.id for finding in schedules.schedulers()] == ["scheduler.unknown"]
        troubles = " ".join(overview.read().troubles)
        call_command("status")
        page = admin_client.get(reverse("dashboard-live")).content.decode()
        alive = {name: seen for name, seen in figures().items() if name.endswith("rs_alive")}
    assert "Whether a worker is alive cannot be known" in troubles
    assert "Whether a scheduler is alive cannot be known" in troubles
    assert "No scheduler is alive" not in troubles
    assert capsys.readouterr().out.count("unknown, their rows are locked") == 2
    assert page.count("<dd>unknown</dd>") == 2
    assert len(alive) == 2
    assert all(map(isnan, alive.values()))
    assert [finding.id for finding in schedules.schedulers()] == ["scheduler.none"]
    assert "No scheduler is alive" in " ".join(overview.read().troubles)
    assert {figures()[name] for name in alive} == {0}


def test_the_doctor_names_the_session_that_others_wait_for(
    child_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LONG", "0 seconds")
    with (
        closing(psycopg.connect(child_env["DATABASE_URL"], autocommit=True)) as other,
        closing(psycopg.connect(child_env["DATABASE_URL"], autocommit=True)) as waiting,
    ):
        other.execute("BEGIN; SELECT pg_advisory_xact_lock(4711)")
        assert list(locks.waits()) == []
        waiting.pgconn.send_query(b"SELECT pg_advisory_xact_lock(4711)")
        (finding,) = wait_until(lambda: list(locks.waits()))
        assert finding.id == "database.waits"
        assert f"process {other.info.backend_pid} of" in finding.problem
        assert finding.problem.endswith("BEGIN; SELECT pg_advisory_xact_lock(….")


def test_a_statement_is_told_of_without_its_values() -> None:
    for query, told in {
        "DELETE  FROM a\nWHERE b = 'ada'": "DELETE FROM a WHERE b = …",
        "SELECT /* ada */ 1": "SELECT …",
        "SELECT $$ada$$": "SELECT …",
        "UPDATE t1 SET a = 49151": "UPDATE t1 SET a = …",
        "VACUUM FULL t1": "VACUUM FULL t1",
    }.items():
        assert locks.without_values(query) == told
