"""What is in hand as the database answers with errors is sent once, and recorded after."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.db import connection, transaction

from notifications.models import Notification, Status
from notifications.submission import send_many
from tests.integration.notifications.db.broken_database import (
    NO_TROUBLE,
    READ_ONLY,
    SENT,
    STATES,
    WRITABLE,
    Database,
)
from tests.servers.process import wait_until
from tests.servers.processes import Processes
from tests.servers.smtp import SmtpServer

SIMULATED: dict[str, Any] = {"channel": "simulator", "recipient": "ada", "body": "Hello"}
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
END_YOUNGEST = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_port IN ({})
ORDER BY backend_start DESC LIMIT 1
"""


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
        # The child's own: of its slot, and the younger one of the thread that waits for the answer.
        (child,) = psutil.Process(worker.pid).children()
        ports = [str(net_connection.laddr.port) for net_connection in child.net_connections("tcp")]
        database.run(END_YOUNGEST.format(", ".join(ports)))
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
    worker, scheduler = system.worker("-c", "3", EMAIL_URL=smtp_server.url), system.beat()
    each = [f"p{n}@example.org" for n in range(6)]
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
    for process in (worker, scheduler):  # for all of its children
        process.wait_for_output("database_back")
        assert process.output().count("database_away") == 1
        assert process.output().count("database_back") == 1
        assert "queue_weight_changed" not in process.output()


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
