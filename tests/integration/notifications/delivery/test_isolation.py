"""A row's fault ends that row: an exception anywhere in a batch of 60 costs one message.

What is injected is raised where a function of ours is called for one message (or for several with
it among them); all else is real: rows, claims, accounts, the simulator's file of what it sent.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from psycopg.types.json import set_json_loads

from notifications import tasks
from notifications.canvas import followers
from notifications.db import dialect
from notifications.delivery import account_sending, outcomes, pipeline, sending
from notifications.models import FailedDelivery, Notification, Status
from notifications.submission import send_many
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.faults import ERRORS, plant

pytestmark = pytest.mark.usefixtures("no_content_in_logs")


@pytest.fixture
def batch(transactional_db: None, sent: Callable[..., Counter[Any]]) -> Callable[..., Any]:
    """Accept 60 messages at once; return their rows."""

    def accept(count: int = 60, **common: Any) -> list[Any]:
        each = [{"recipient": f"p{number}"} for number in range(count)]
        fields = {"channel": "simulator", "body": "Hello", **common}
        submitted = send_many(each, **fields)
        return list(Notification.objects.filter(batch=submitted.batch).order_by("id"))

    return accept


@pytest.fixture
def each_error(batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Accept 60 messages for each error, which a function then raises for the eighth of them."""

    def each(owner: Any, name: str, **common: Any) -> Iterator[Any]:
        for error in ERRORS:
            Notification.objects.all().delete()
            rows = batch(**common)
            with monkeypatch.context() as patch:
                plant(patch, owner, name, {rows[7].id: error})
                yield error, rows, rows[7]

    return each


def deliver_all() -> Any:
    return tasks.deliver_due("simulator", "medium", 100)


def assert_others_were_sent(rows: Any, bad: Any, sent: Callable[..., Counter[Any]]) -> None:
    times = sent()
    assert {times[str(row.id)] for row in rows if row != bad} == {1}
    others = Notification.objects.exclude(id=bad.id)
    assert set(others.values_list("status", "attempt_count")) == {(Status.SENT, 1)}


STAGES = [
    ("expire", pipeline, "_expire"),
    ("suppress", pipeline, "_suppress"),
    ("render", pipeline, "_ready"),
    ("choose", sending, "assign"),
    ("prepare", account_sending, "_message"),
]


@pytest.mark.parametrize(("stage", "owner", "name"), STAGES, ids=[stage for stage, *_ in STAGES])
def test_before_the_handover_an_exception_costs_one_attempt(
    each_error: Callable[..., Any],
    sent: Callable[..., Counter[Any]],
    stage: str,
    owner: Any,
    name: str,
) -> None:
    for error, rows, bad in each_error(owner, name):
        assert deliver_all() == 60
        assert_others_were_sent(rows, bad, sent)
        assert not sent()[str(bad.id)]
        bad.refresh_from_db()
        assert (bad.status, bad.reason) == (Status.SCHEDULED, f"error_in_{stage}")
        attempt = bad.attempts.get()
        assert (attempt.result, attempt.code) == ("transient", type(error).__name__)
        assert stage in attempt.detail


def test_after_the_handover_an_exception_leaves_what_the_provider_said(
    each_error: Callable[..., Any], sent: Callable[..., Counter[Any]]
) -> None:
    for _, rows, bad in each_error(account_sending, "_log_call"):
        assert deliver_all() == 60
        assert_others_were_sent(rows, bad, sent)
        assert sent()[str(bad.id)] == 1
        assert Notification.objects.get(id=bad.id).status == Status.SENT


@pytest.mark.parametrize("name", ["_decide", "_keep_attempts"])
def test_what_cannot_be_recorded_as_it_is_is_recorded_plainly(
    each_error: Callable[..., Any], sent: Callable[..., Counter[Any]], name: str
) -> None:
    for _, rows, bad in each_error(outcomes, name):
        assert deliver_all() == 60
        assert_others_were_sent(rows, bad, sent)
        assert sent()[str(bad.id)] == 1
        bad.refresh_from_db()
        assert (bad.status, bad.reason) == (Status.SENT, "error_in_record")


def test_what_follows_one_message_costs_no_other(
    each_error: Callable[..., Any], sent: Callable[..., Counter[Any]]
) -> None:
    link = {"task": "celery.ping", "args": [], "kwargs": {}, "options": {}, "immutable": True}
    for _, rows, bad in each_error(followers, "_request"):
        followed = [row.id for row in rows[5:10]]
        Notification.objects.filter(id__in=followed).update(continuation={"link": [link]})
        assert deliver_all() == 60
        assert_others_were_sent(rows, bad, sent)
        left = Notification.objects.filter(continuation__isnull=False)
        assert list(left.values_list("id", "status")) == [(bad.id, Status.SENT)]


def test_what_cannot_be_recorded_as_refused_becomes_a_dead_letter(
    batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, sent: Callable[..., Counter[Any]]
) -> None:
    rows = batch()
    Notification.objects.filter(id=rows[7].id).update(recipient="p?result=transient")
    plant(monkeypatch, outcomes, "_decide", {rows[7].id: ValueError()})
    deliver_all()
    assert_others_were_sent(rows, rows[7], sent)
    dead = FailedDelivery.objects.get()
    assert (dead.notification_id, dead.reason) == (rows[7].id, "error_in_record")


# Levels of JSON: more than Python 3.13 reads, and fewer than Postgres refuses.
DEEP = 12_000
BROKEN = [
    ("context", '\'{"n": ' + "9" * 5000 + "}'"),
    pytest.param(
        "context",
        "'" + "[" * DEEP + "]" * DEEP + "'",
        marks=pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python 3.14 reads it"),
    ),
    ("scheduled_at", "'infinity'"),
    ("expires_at", "'infinity'"),
]


@pytest.mark.parametrize(
    ("column", "value"), BROKEN, ids=["digits", "nested", "infinity", "expires at infinity"]
)
def test_a_row_that_cannot_be_read_ends_by_itself(
    batch: Callable[..., Any], sent: Callable[..., Counter[Any]], column: str, value: str
) -> None:
    rows = batch()
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE notifications_notification SET {column} = {value} WHERE id = %s",
            [dialect.write(rows[7].id)],
        )
    assert deliver_all() == 59
    assert {sent()[str(row.id)] for row in rows if row != rows[7]} == {1}
    dead = FailedDelivery.objects.get()
    assert (dead.notification_id, dead.reason) == (rows[7].id, "unreadable")
    ended = Notification.objects.filter(id=rows[7].id).values_list("status", "reason", "due_at")
    assert ended.get() == (Status.FAILED, "unreadable", None)


def test_whatever_reading_a_row_raises_ends_it_by_itself(
    batch: Callable[..., Any], sent: Callable[..., Counter[Any]]
) -> None:
    raised: list[Exception] = []

    def loads(data: Any) -> Any:  # psycopg keeps what it makes of one function
        if b"bad" in bytes(data):
            raise raised[-1]
        return json.loads(data)

    for error in ERRORS:
        raised.append(error)
        rows = batch(context={"who": "ada"}, category="product")
        Notification.objects.filter(id=rows[7].id).update(context={"who": "bad"})
        connection.ensure_connection()
        set_json_loads(loads, connection.connection)
        try:
            assert deliver_all() == 59
        finally:
            connection.close()  # which knows nothing of it when it is opened again
        assert {sent()[str(row.id)] for row in rows if row != rows[7]} == {1}
        dead = FailedDelivery.objects.get(notification_id=rows[7].id)
        assert (dead.reason, dead.error_class) == ("unreadable", type(error).__name__)
        assert "stage read" in dead.detail


WRONG = [
    ("context", "[]", Status.SCHEDULED, "error_in_render"),
    ("retry", '"soon"', Status.SENT, "error_in_record"),
    ("retry", '{"max_attempts": "many"}', Status.SENT, "error_in_record"),
    ("metadata", "[1]", Status.SENT, ""),
]


@pytest.mark.parametrize(("column", "value", "status", "reason"), WRONG)
def test_a_value_of_the_wrong_kind_costs_its_own_message(
    batch: Callable[..., Any],
    sent: Callable[..., Counter[Any]],
    column: str,
    value: str,
    status: Any,
    reason: str,
) -> None:
    template = Template.objects.create(name="hello", channel="simulator")
    publish(create_version(template, {"subject": "Hi", "body": "Hello {{ name }}"}))
    rows = batch(body="", template="hello", context={"name": "Ada"})
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE notifications_notification SET {column} = %s WHERE id = %s",
            [value, dialect.write(rows[7].id)],
        )
    assert deliver_all() == 60
    assert_others_were_sent(rows, rows[7], sent)
    rows[7].refresh_from_db()
    assert (rows[7].status, rows[7].reason) == (status, reason)


def test_a_fault_is_logged_without_recipient_or_content(
    batch: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    sent: Callable[..., Counter[Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = batch(body="Dear Ada")
    error = UnicodeEncodeError("ascii", "Dear Ada p7 ada@example.org", 0, 1, "not in range")
    for owner, name in [(pipeline, "_ready"), (outcomes, "_decide")]:
        plant(monkeypatch, owner, name, {rows[7].id: error})
    deliver_all()
    assert "UnicodeEncodeError in stage render" in caplog.text
    assert str(rows[7].id) in caplog.text
    assert not any(word in caplog.text for word in ("Dear Ada", "ada@example", "Traceback"))
    dead = FailedDelivery.objects.get()
    assert "Ada" not in dead.detail
