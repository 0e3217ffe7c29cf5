"""A database that answers with errors is waited out, said once, and work resumes by itself."""

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from datetime import timedelta
from math import isnan
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from notifications.models import Attempt, FailedDelivery, Notification, Status
from notifications.monitoring import overview
from notifications.monitoring.diagnosis import locks, schedules, storage
from notifications.monitoring.state import StateCollector
from notifications.submission import send, send_many
from scheduling import watch
from scheduling.clock import database_now
from scheduling.models import SchedulerProcess, WorkerProcess
from tests import leftovers
from tests.integration.notifications.db.broken_database import (
    LOCK,
    NO_TROUBLE,
    STATES,
    Database,
)
from tests.servers.postgres import PostgresServer
from tests.servers.process import wait_until
from tests.servers.processes import Processes, RunningProcess
from tests.servers.redis import RedisServer
from tests.servers.smtp import SmtpServer

SIMULATED: dict[str, Any] = {"channel": "simulator", "recipient": "ada", "body": "Hello"}
SENT = "SELECT count(*) FROM notifications_notification WHERE status = 'sent'"
PUT_OFF = """
SELECT count(*) FROM notifications_notification
WHERE status = 'scheduled' AND attempt_count = 0 AND reason = 'no_connection'
"""
LEASE_OVER = """
SELECT count(*) FROM notifications_notification
WHERE status = 'sending' AND due_at < now() - interval '1 second'
"""
# The next two writes of what a delivery writes end with an error; a sequence is not rolled back.
TWICE = """
CREATE SEQUENCE troubles;
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF nextval('troubles') <= 2 THEN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{}'; END IF;
RETURN NULL; END $$;
CREATE TRIGGER trouble BEFORE {} ON {} EXECUTE FUNCTION trouble();
"""
# A sequence is not rolled back: it counts the tries.
SLOW_INSERT = """
CREATE SEQUENCE tries; GRANT ALL ON SEQUENCE tries TO app;
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF NEW.recipient = 'ada' THEN PERFORM nextval('tries'), pg_sleep(60); END IF; RETURN NEW; END $$;
CREATE TRIGGER trouble BEFORE INSERT ON notifications_notification FOR EACH ROW
EXECUTE FUNCTION trouble();
"""
# At each row of which a condition holds; ``NEW`` is the row.
OF_A_ROW = """
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF {} THEN RAISE disk_full USING MESSAGE = 'could not extend file: No space left'; END IF;
RETURN NEW; END $$;
CREATE TRIGGER trouble BEFORE {} ON {} FOR EACH ROW EXECUTE FUNCTION trouble();
"""
BRIEF = [
    ("40P01", "UPDATE", "notifications_notification"),  # a deadlock, as rows are claimed
    ("40001", "INSERT", "notifications_attempt"),  # a lost serialization, as they are recorded
    ("57014", "UPDATE", "notifications_notification"),  # a single statement timeout
]
SEND = """
import sys
import django; django.setup()
from notifications.submission import send
for at, recipient in enumerate(sys.argv[1:]):
    guarantee = ("at_most_once", "at_least_once")[at % 2]
    send(channel="email", recipient=recipient, subject="Hi", body="Hello", priority="high",
         guarantee=guarantee)
"""
LONGEST = 15  # seconds for which a client waits, on a machine that is busy with other tests
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"
END_YOUNGEST = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'
ORDER BY backend_start DESC LIMIT 1
"""
READ_ONLY = "ALTER SYSTEM SET default_transaction_read_only = on"
WRITABLE = "ALTER SYSTEM RESET default_transaction_read_only"


@pytest.fixture
def database(migrated_postgres_server: PostgresServer) -> Database:
    return Database(migrated_postgres_server)


@pytest.fixture
def system(processes: Processes, redis_server: RedisServer, database: Database) -> Any:
    processes.env |= {
        "DATABASE_URL": database.url,
        "BROKER_URL": redis_server.url,
        "NOTIFICATIONS_PICKUP_GRACE": "1",
    }
    return processes


def test_every_error_that_the_database_answers_is_waited_out(
    system: Any, database: Database, knock: Callable[..., None]
) -> None:
    made = system.run("key", "python", "manage.py", "create_api_key", "tests")
    key = next(word for word in made.split() if word.startswith("ntf_live_"))
    web, address = system.web()
    # Each with the processes of its own that meet an outage: a worker has a main one and a child.
    running = {web: 1, system.beat(): 1, system.worker("-c", "1"): 2}
    with httpx.Client(
        base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=LONGEST
    ) as api:

        def checked() -> str:
            return str(api.get("/healthz/ready").json()["checks"]["database"])

        def said(process: RunningProcess, what: str) -> int:
            return process.output().count(f"database_{what}")

        def submit() -> httpx.Response:
            return api.post("/api/v1/notifications", json=SIMULATED)

        for rounds, (reason, state) in enumerate(STATES.items(), 1):
            assert submit().status_code == 201
            wait_until(lambda: database.count(SENT) == rounds)  # noqa: B023 -- called within the round
            with state(database):
                wait_until(lambda: checked() != "ok" and checked() in reason)  # noqa: B023 -- called within the round
                assert api.get("/healthz/ready").status_code == 503
                answers = [submit() for _ in range(3)]
                for answer in answers:
                    assert (answer.status_code, answer.json()["type"][-13:]) == (
                        503,
                        "database-away",
                    )
                    assert int(answer.headers["Retry-After"]) > 0
                assert api.get("/admin/login/").status_code in (200, 503), reason
                knock("medium")  # or an idle worker would notice nothing
                for process in running:
                    wait_until(lambda: said(process, "away:") >= rounds, hint=reason)  # noqa: B023 -- called within the round
            wait_until(lambda: checked() == "ok")
            for process, count in running.items():
                wait_until(lambda: said(process, "back") == said(process, "away:"), hint=reason)  # noqa: B023 -- called within the round
                assert rounds <= said(process, "away:") <= rounds * count, reason
        assert submit().status_code == 201
        wait_until(lambda: database.count(SENT) == len(STATES) + 1)
    for process in running:
        assert process.returncode is None
        assert process.first_traceback() == ""


def test_a_write_that_has_used_up_its_time_is_not_tried_again_in_its_request(
    system: Any, database: Database
) -> None:
    made = system.run("key", "python", "manage.py", "create_api_key", "tests")
    key = next(word for word in made.split() if word.startswith("ntf_live_"))
    _, address = system.web(WEB_STATEMENT_TIMEOUT="3")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=address, headers=headers, timeout=60) as api:
        assert api.post("/api/v1/notifications", json=SIMULATED).status_code == 201
        database.run(SLOW_INSERT)
        answer = api.post("/api/v1/notifications", json=SIMULATED)
        assert (answer.status_code, answer.json()["type"][-13:]) == (503, "database-away")
    assert database.count("SELECT last_value FROM tries") == 1


def test_an_outage_is_told_of_by_its_latest_reason_and_ends_with_a_session_that_works(
    system: Any, database: Database
) -> None:
    """The watch's thread finds no connection left while those that the web has work again."""
    made = system.run("key", "python", "manage.py", "create_api_key", "tests")
    key = next(word for word in made.split() if word.startswith("ntf_live_"))
    web, address = system.web(GRANIAN_BLOCKING_THREADS="1")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=address, headers=headers, timeout=LONGEST) as api:

        def submitted() -> int:
            return api.post("/api/v1/notifications", json=SIMULATED).status_code

        def read() -> bool:
            return api.get("/api/v1/notifications").status_code == 200

        def checked() -> str:
            return str(api.get("/healthz/ready").json()["checks"]["database"])

        assert submitted() == 201
        database.set(READ_ONLY)
        try:
            wait_until(lambda: submitted() == 503)  # a session reads its settings a moment later
            assert checked() == "it is read-only"
            wait_until(lambda: read() and database.count(SESSIONS) == 1)
            database.run("ALTER ROLE app CONNECTION LIMIT 0")  # which concerns new ones only
            web.wait_for_output("database_still_away: it has no connection left (53300)")
        finally:
            database.set(WRITABLE)
        wait_until(lambda: submitted() == 201)
        wait_until(lambda: submitted() == 201 and "database_back" in web.output())
        assert checked() == "ok"
    assert web.output().count("database_away") == 1
    assert web.output().count("database_still_away") == 1


def test_what_a_provider_took_in_an_outage_is_recorded_and_sent_once(
    system: Any, database: Database, smtp_server: SmtpServer
) -> None:
    """Each child has one mail with the provider, and batches beside it, as its database goes."""
    system.beat()
    worker = system.worker("-c", "2", EMAIL_URL=smtp_server.url, NOTIFICATIONS_BATCH_TIME_LIMIT="1")
    harms: dict[str, Callable[[], AbstractContextManager[Any]]] = {
        "connections end": lambda: database.state("", ""),
        "read-only": lambda: STATES["it is read-only"](database),
    }
    sent = set()
    for name, harm in harms.items():
        each = [f"{name.partition(' ')[0]}-{n}@example.org" for n in range(12)]
        smtp_server.answers.clear()
        system.run("send", "python", "-c", SEND, *each)
        wait_until(lambda: smtp_server.waiting >= 2, hint=name)
        heard = worker.output().count("database_")
        with harm():
            wait_until(lambda: worker.output().count("database_") > heard, hint=name)  # noqa: B023 -- called in this round
            smtp_server.answers.set()
            sent.update(each)
            wait_until(lambda: not smtp_server.waiting)
        wait_until(lambda: database.count(SENT) == len(sent), hint=name)
    arrived = [recipient for mail in smtp_server.messages for recipient in mail.recipients]
    assert sorted(arrived) == sorted(sent)
    assert database.count("SELECT count(*) FROM notifications_attempt WHERE result <> 'sent'") == 0
    assert "broke" not in worker.output()


def test_nothing_is_sent_that_could_not_be_recorded_for_want_of_a_connection(
    system: Any, database: Database, knock: Callable[..., None], smtp_server: SmtpServer
) -> None:
    worker = system.worker("-c", "1", EMAIL_URL=smtp_server.url)
    knock("medium")
    worker.wait_for_output("succeeded in")  # and its slot keeps the connection
    each = [f"p{n}@example.org" for n in range(12)]
    database.run("ALTER ROLE app CONNECTION LIMIT 1")  # which concerns new ones only
    try:
        system.run("send", "python", "-c", SEND, *each, DATABASE_URL=database.superuser_url)
        wait_until(lambda: database.count(PUT_OFF) == len(each))
        wait_until(lambda: "it has no connection left (53300)" in worker.output())
        assert smtp_server.messages == []
        assert worker.output().count("no_connection_to_record_over") == 1
    finally:
        database.run("ALTER ROLE app CONNECTION LIMIT -1")
    system.beat()
    wait_until(lambda: database.count(SENT) == len(each))
    arrived = [recipient for mail in smtp_server.messages for recipient in mail.recipients]
    assert sorted(arrived) == sorted(each)
    assert database.count("SELECT count(*) FROM notifications_attempt") == len(each)
    assert worker.first_traceback() == ""


def test_what_the_background_cannot_record_is_recorded_over_a_slots_connection(
    system: Any, database: Database, knock: Callable[..., None], smtp_server: SmtpServer
) -> None:
    worker = system.worker("-c", "1", EMAIL_URL=smtp_server.url)
    knock("medium")
    worker.wait_for_output("succeeded in")  # and its slot keeps the connection
    smtp_server.answers.clear()
    system.run("send", "python", "-c", SEND, "ada@example.org", DATABASE_URL=database.superuser_url)
    wait_until(lambda: smtp_server.waiting and worker.output().count("succeeded in") == 2)
    database.run("ALTER ROLE app CONNECTION LIMIT 0")  # which concerns new ones only
    try:
        database.run(END_YOUNGEST)
        smtp_server.answers.set()
        worker.wait_for_output("it has no connection left (53300)")
        assert database.count(SENT) == 0
        knock("medium")
        wait_until(lambda: database.count(SENT))
    finally:
        database.run("ALTER ROLE app CONNECTION LIMIT -1")
    assert len(smtp_server.messages) == 1
    assert database.count("SELECT count(*) FROM notifications_attempt") == 1
    assert worker.first_traceback() == ""


def test_an_outage_that_outlasts_the_lease_doubles_nothing_that_a_live_worker_has_sent(
    system: Any, database: Database, smtp_server: SmtpServer
) -> None:
    system.env |= {
        "NOTIFICATIONS_LEASE": "12",
        "NOTIFICATIONS_PROVIDER_TIMEOUT": "9",
        "NOTIFICATIONS_BATCH_TIME_LIMIT": "2",
    }
    worker, scheduler = system.worker("-c", "1", EMAIL_URL=smtp_server.url), system.beat()
    each = [f"p{n}@example.org" for n in range(2)]
    smtp_server.answers.clear()
    system.run("send", "python", "-c", SEND, *each, DATABASE_URL=database.superuser_url)
    wait_until(lambda: smtp_server.waiting == len(each))
    database.set(READ_ONLY)
    try:
        smtp_server.answers.set()
        wait_until(lambda: len(smtp_server.messages) == len(each))
        for process in (worker, scheduler):
            process.wait_for_output("database_away")
        wait_until(lambda: database.count(LEASE_OVER) == len(each))
    finally:
        database.set(WRITABLE)
    wait_until(lambda: database.count(SENT) == len(each))
    assert len(smtp_server.messages) == len(each)
    assert database.count("SELECT count(*) FROM notifications_attempt") == len(each)
    assert worker.first_traceback() == scheduler.first_traceback() == ""


def test_an_error_that_ends_one_transaction_delays_and_doubles_nothing(
    processes: Processes, tmp_path: Path
) -> None:
    simulated = tmp_path / "simulated.log"
    processes.env["SIMULATOR"] = f"record={simulated}"
    running = [processes.beat(), processes.worker("-c", "1")]
    ids = []
    for trouble in BRIEF:
        with connection.cursor() as cursor:
            cursor.execute(TWICE.format(*trouble))
        try:
            each = [{"recipient": f"p{number}"} for number in range(60)]
            ids += send_many(each, channel="simulator", body="Hello").ids
            sent = Notification.objects.filter(status=Status.SENT)
            wait_until(lambda: sent.count() == len(ids))  # noqa: B023 -- called in this round
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SELECT last_value FROM troubles")
                (met,) = cursor.fetchone()
                cursor.execute(f"{NO_TROUBLE}; DROP SEQUENCE troubles")
        assert met > 2, trouble
    assert sorted(simulated.read_text().split()) == sorted(map(str, ids))
    assert not Notification.objects.exclude(attempt_count=1).exists()
    for process in running:
        assert process.returncode is None
        assert process.first_traceback() == ""


def test_a_session_that_ends_between_commit_and_publishing_is_no_error(
    transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    with transaction.atomic():
        transaction.on_commit(connection.connection.close)  # unknown to Django
        send_many([SIMULATED] * 3)
    assert Notification.objects.count() == 3
    assert "on_commit" not in caplog.text
    assert "Traceback" not in caplog.text


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
    return {one.name: one.value for family in families for one in family.samples}


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
