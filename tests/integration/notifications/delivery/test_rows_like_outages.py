"""One row for which the database answers as if it were out costs itself, and stops no queue.

A trigger raises an error of an outage's class for one row of many, at each of its writes or at a
later one. A write right after it finds that the database is well, so the row is at fault.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import celery
import pytest
from django.db import OperationalError, connection
from pytest_django import Settings

from notifications import submission, tasks
from notifications.api import refusals
from notifications.callbacks import outbound, receipts
from notifications.channels.base import Receipt
from notifications.core.errors import FaultyRow
from notifications.db import clock
from notifications.delivery import claims
from notifications.maintenance import retention, sweep
from notifications.models import (
    Attempt,
    FailedDelivery,
    Notification,
    PendingReceipt,
    QuarantinedRow,
    Status,
)
from notifications.queueing import backlog, quarantine
from scheduling import watch
from tests.integration.notifications.faults import rested
from tests.servers.processes import Processes

pytestmark = pytest.mark.usefixtures("no_content_in_logs")

TROUBLE = """
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF {when} THEN RAISE EXCEPTION 'Dear Ada' USING ERRCODE = '{code}'; END IF;
IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$;
CREATE TRIGGER trouble BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION trouble();
"""
COUNT = 60
BAD = "p7"
CODES = [
    "53100",  # its disk is full
    "42501",  # it does not permit this to our user
    "57P01",  # it ended our connection, which it did not
    "08001",  # a server that the trigger asks is away
    "25006",  # it is read-only
    "40001",  # the transaction lost against another, each time
]
Trouble = Callable[..., None]
Rows = Callable[..., dict[str, UUID]]
Sent = Callable[[], Counter[str]]
BRIEF = {"57P01", "40001"}  # tried again at once, before anything is judged


@pytest.fixture
def trouble(transactional_db: None) -> Iterator[Trouble]:
    """Have each write of a row that meets a condition raise an error; undone with the test."""

    def begin(
        when: str = f"NEW.recipient = '{BAD}'",
        code: str = "53100",
        event: str = "INSERT OR UPDATE",
        table: str = "notifications_notification",
    ) -> None:
        with connection.cursor() as cursor:
            cursor.execute(TROUBLE.format(when=when, code=code, event=event, table=table))

    yield begin
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION IF EXISTS trouble CASCADE")


@pytest.fixture
def rows(transactional_db: None, sent: Sent) -> Rows:
    """Accept 60 messages at once; return their ids by recipient."""

    def accept(**common: Any) -> dict[str, UUID]:
        each = [{"recipient": f"p{number}"} for number in range(COUNT)]
        fields: dict[str, Any] = {"channel": "simulator", "body": "Hello", **common}
        ids = submission.send_many(each, **fields).ids
        return dict(zip((fields["recipient"] for fields in each), ids, strict=True))

    return accept


def deliver() -> int:
    """Deliver as a worker's message asks for; an outage would give the message back."""
    return int(tasks.deliver_due("simulator", "medium", 100))


def states(ids: dict[str, UUID]) -> set[tuple[str, int]]:
    """The states and attempts of all rows but the bad one."""
    others = Notification.objects.exclude(id=ids[BAD])
    return set(others.values_list("status", "attempt_count"))


def quarantined() -> set[tuple[str, str]]:
    return set(QuarantinedRow.objects.open().values_list("loop", "key"))


@pytest.mark.parametrize("code", CODES)
def test_a_row_that_cannot_be_claimed_is_quarantined_and_the_others_are_sent_once(
    rows: Rows, trouble: Trouble, sent: Sent, code: str
) -> None:
    ids = rows()
    trouble(code=code)
    for _ in range(2 if code in BRIEF else 0):
        with pytest.raises(OperationalError):
            _met(deliver)
    assert deliver() == COUNT - 1
    assert states(ids) == {(Status.SENT, 1)}
    assert sent() == Counter(str(id_) for name, id_ in ids.items() if name != BAD)
    assert watch.database.outage is None
    for _ in range(2):
        rested()
        assert deliver() == 0
    assert quarantined() == {("claims", quarantine.key_of(ids[BAD]))}


def _met(call: Callable[[], int]) -> int:
    """Call as a worker does, which tells the watch what it met."""
    try:
        return call()
    except Exception as error:
        watch.database_outage(error)
        raise


def test_what_is_quarantined_keeps_no_worker_and_no_scheduler_busy(
    rows: Rows, trouble: Trouble
) -> None:
    ids = rows()
    trouble()
    deliver()
    rested()
    (waiting,) = [
        queue for queue in backlog.look(100) if queue.channel == "simulator" and queue.due
    ]
    assert waiting.due == 1  # its time is over, so that it is tried again
    for _ in range(2):
        deliver()
        rested()
    assert not any(queue.due for queue in backlog.look(100))
    assert not backlog.turn_of("simulator", "medium").behind
    assert backlog.oldest([("simulator", "medium")]) == {}
    assert claims.claim([ids[BAD]]) == []
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION trouble CASCADE")
    quarantine.release(QuarantinedRow.objects.all())
    assert deliver() == 1
    assert Notification.objects.get(id=ids[BAD]).status == Status.SENT


def test_a_message_that_names_its_row_costs_no_other(rows: Rows, trouble: Trouble) -> None:
    ids = rows(priority="high")
    trouble()
    taken = claims.claim(list(ids.values()))
    assert {claim.id for claim in taken} == {id_ for name, id_ in ids.items() if name != BAD}


RECORDED = [
    ("notifications_attempt", "INSERT", "NEW.notification_id = '{id}'"),
    ("notifications_notification", "UPDATE", "NEW.id = '{id}' AND NEW.status = 'sent'"),
    ("notifications_notification", "UPDATE", "NEW.id = '{id}' AND NEW.status <> 'sending'"),
]


@pytest.mark.parametrize("code", ["53100", "57P01"])
@pytest.mark.parametrize(
    ("table", "event", "when"), RECORDED, ids=["its attempt", "its status", "any state"]
)
def test_a_row_that_cannot_be_recorded_costs_no_other(
    rows: Rows, trouble: Trouble, sent: Sent, code: str, table: str, event: str, when: str
) -> None:
    ids = rows()
    trouble(when.format(id=ids[BAD]), code, event, table)
    assert deliver() == COUNT
    assert states(ids) == {(Status.SENT, 1)}
    assert sent() == Counter(map(str, ids.values()))
    assert watch.database.outage is None
    if table == "notifications_attempt":  # it is recorded plainly
        bad = Notification.objects.get(id=ids[BAD])
        assert (bad.status, bad.reason) == (Status.SENT, "error_in_record")
    else:
        noted = QuarantinedRow.objects.get()
        assert (noted.loop, noted.key) == ("leases", quarantine.key_of(ids[BAD]))


def test_a_lease_that_cannot_be_ended_costs_no_other(rows: Rows, trouble: Trouble) -> None:
    ids = rows()
    claims.claim(list(ids.values()))
    Notification.objects.update(due_at=clock.now() - timedelta(minutes=1))
    trouble()
    sweep.sweep()
    assert {status for status, _ in states(ids)} == {Status.SCHEDULED}
    for _ in range(2):
        rested()
        sweep.sweep()
    assert quarantined() == {("leases", quarantine.key_of(ids[BAD]))}


def test_a_follower_of_a_row_that_takes_no_write_costs_no_other(
    rows: Rows, trouble: Trouble
) -> None:
    ids = rows()
    deliver()
    link = {"task": "celery.ping", "args": [], "kwargs": {}, "options": {}, "immutable": True}
    ended = clock.now() - timedelta(hours=1)
    Notification.objects.update(continuation={"link": [link]}, finished_at=ended)
    trouble()
    for _ in range(3):
        sweep.sweep()
        rested()
    left = Notification.objects.filter(continuation__isnull=False)
    assert list(left.values_list("id", flat=True)) == [ids[BAD]]
    assert quarantined() == {("followers", quarantine.key_of(ids[BAD]))}


def test_a_status_callback_of_a_row_that_takes_no_write_costs_no_other(
    rows: Rows, trouble: Trouble, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True
    ids = rows(callback_url="http://127.0.0.1:9/status")
    deliver()
    trouble()
    for _ in range(3):
        outbound.tick()
        rested()
    assert Notification.objects.filter(channel="callback").count() == COUNT - 1
    assert quarantined() == {("status_callbacks", quarantine.key_of(ids[BAD]))}


def test_a_receipt_for_a_row_that_takes_no_write_costs_no_other(
    rows: Rows, trouble: Trouble
) -> None:
    ids = rows()
    deliver()
    account = Attempt.objects.filter(notification_id=ids[BAD]).get().provider
    trouble()
    told = [Receipt("delivered", provider_message_id=f"simulated-{id_}") for id_ in ids.values()]
    receipts.take(told, account=account, channel="simulator")
    assert {status for status, _ in states(ids)} == {Status.DELIVERED}
    (pending,) = PendingReceipt.objects.all()
    for _ in range(3):
        PendingReceipt.objects.update(due_at=clock.now())
        receipts.tick()
        rested()
    assert quarantined() == {("receipts", quarantine.key_of(pending.pk))}


def test_a_row_that_cannot_be_deleted_keeps_no_other(rows: Rows, trouble: Trouble) -> None:
    ids = rows()
    deliver()
    Notification.objects.update(finished_at=clock.now() - timedelta(days=40))
    trouble(f"OLD.recipient = '{BAD}'", event="DELETE")
    for _ in range(3):
        retention.prune()
        rested()
    assert list(Notification.objects.values_list("id", flat=True)) == [ids[BAD]]
    assert quarantined() == {("retention", quarantine.key_of(ids[BAD]))}


def test_of_many_that_are_accepted_one_is_refused(trouble: Trouble) -> None:
    trouble()
    each = [{"recipient": f"p{number}"} for number in range(COUNT)]
    submitted = submission.send_many(each, channel="simulator", body="Hello")
    assert (submitted.accepted, list(submitted.errors)) == (COUNT - 1, [7])
    assert "cannot be accepted" in str(submitted.errors[7])


@pytest.mark.parametrize("code", ["40P01", "40001", "57014"])
def test_many_are_accepted_again_after_what_ends_one_transaction(
    trouble: Trouble, code: str
) -> None:
    with connection.cursor() as cursor:  # a sequence is not rolled back
        cursor.execute("CREATE SEQUENCE troubles")
    try:
        trouble(f"NEW.recipient = '{BAD}' AND nextval('troubles') <= 2", code=code)
        each = [{"recipient": f"p{number}"} for number in range(COUNT)]
        submitted = submission.send_many(each, channel="simulator", body="Hello")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION trouble CASCADE; DROP SEQUENCE troubles")
    assert (submitted.accepted, submitted.errors) == (COUNT, {})
    assert Notification.objects.count() == COUNT
    assert watch.database.outage is None


@pytest.mark.parametrize("code", ["53100", "25006", "57014", "40P01", "P0001"])
def test_one_that_is_accepted_by_itself_is_refused_as_one_of_many_is(
    trouble: Trouble, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    trouble(code=code)
    with pytest.raises(FaultyRow, match="cannot be accepted") as refused:
        submission.send(channel="simulator", recipient=BAD, body="Hello")
    assert (refusals.to_problem(refused.value).kind, watch.database.outage) == (
        "invalid-field",
        None,
    )
    told = [record.message for record in caplog.records if "in stage insert" in record.message]
    assert len(told) == 1
    assert refused.value.__cause__ is None
    submission.send(channel="simulator", recipient="p8", body="Hello")
    assert list(Notification.objects.values_list("recipient", flat=True)) == ["p8"]


def test_a_message_of_another_application_that_no_row_takes_is_a_dead_letter(
    trouble: Trouble,
) -> None:
    trouble()
    ended = celery.Task.apply(
        tasks.send_notification,
        kwargs={"channel": "simulator", "recipient": BAD, "body": "Hello"},
        task_id="of another application",
    )
    assert isinstance(ended.result, FaultyRow)
    dead = FailedDelivery.objects.get()
    assert (dead.message_id, dead.error_class) == ("of another application", "FaultyRow")


def test_workers_and_schedulers_go_on_beside_it(
    rows: Rows, trouble: Trouble, processes: Processes, wait_until: Callable[..., object]
) -> None:
    rows()
    trouble()
    running = [processes.beat(), processes.worker("-c", "1")]
    sent_ones = Notification.objects.filter(status=Status.SENT)
    wait_until(lambda: sent_ones.count() == COUNT - 1)
    submission.send_many([{"recipient": "later"}], channel="simulator", body="Hello")
    wait_until(lambda: sent_ones.filter(recipient="later").exists())
    assert set(sent_ones.values_list("attempt_count", flat=True)) == {1}
    assert QuarantinedRow.objects.get().loop == "claims"
    for process in running:
        assert "database_away" not in process.output()
        assert process.first_traceback() == ""


def test_what_all_rows_meet_is_an_outage(rows: Rows, trouble: Trouble) -> None:
    """Nobody is blamed for what a trigger does to each row of a kind that nobody asks with."""
    ids = rows()
    trouble("NEW.channel = 'simulator' AND NEW.status = 'sending'")
    with pytest.raises(OperationalError) as caught:
        deliver()
    assert watch.database_outage(caught.value) is not None
    assert not QuarantinedRow.objects.exists()
    assert Notification.objects.filter(status=Status.QUEUED).count() == len(ids)
    assert not FailedDelivery.objects.exists()
