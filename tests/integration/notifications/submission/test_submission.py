"""Submission: what it refuses, what it keeps, and that it keeps it once."""

import json
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from celery import Celery
from django.db import connection, transaction
from django.utils import timezone

from notifications.core import errors
from notifications.models import Notification, Status
from notifications.queueing import publisher
from notifications.submission import acancel, asend, asend_many, cancel, send
from notifications.tasks import send_notification
from tests.integration.notifications.conftest import SIMULATED

EMAIL: Any = {"channel": "email", "recipient": "ada@example.org", "subject": "Hi", "body": "Hello"}


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"channel": "pigeon"}, errors.UnknownChannel, "channel"),
        ({"channel": ["email"]}, errors.UnknownChannel, "channel"),
        ({"priority": "urgent"}, errors.UnknownPriority, "priority"),
        ({"priority": -1}, errors.UnknownPriority, "priority"),
        ({"guarantee": "exactly_once"}, errors.UnknownGuarantee, "guarantee"),
        ({"recipient": "ada"}, errors.MalformedRecipient, "recipient"),
        (
            {"recipient": "ada@example.org\nBcc: eve@example.org"},
            errors.MalformedRecipient,
            "recipient",
        ),
        ({"recipient": ""}, errors.InvalidField, "recipient"),
        ({"body": "Dear {{ n }}", "context": {"n": "Ada"}}, errors.MissingContent, "context"),
        ({"recipient": 7}, errors.InvalidField, "recipient"),
        ({"channel": "sms", "recipient": "0664123"}, errors.MalformedRecipient, "recipient"),
        (
            {"channel": "sms", "recipient": "+4366412345678", "body": "x" * 100_000},
            errors.InvalidField,
            "body",
        ),
        *(
            (
                {"channel": "webhook", "recipient": "https://example.org/", "body": body},
                errors.InvalidField,
                "body",
            )
            for body in ("NaN", '{"a": NaN}', "[-Infinity]")
        ),
        ({"channel": "sms", "recipient": "+1 253-0000"}, errors.MalformedRecipient, "recipient"),
        (
            {"channel": "sms", "recipient": "+43 664 12345678 ext. 5"},
            errors.MalformedRecipient,
            "recipient",
        ),
        ({"recipient": "a@exam\u200bple.org"}, errors.MalformedRecipient, "recipient"),
        *(
            ({"channel": "webhook", "recipient": url}, errors.MalformedRecipient, "recipient")
            for url in ("http://a..b/", "http://" + "a" * 64 + ".org/", "http://x\u2028y.org/")
        ),
        (
            {"channel": "webhook", "recipient": "ftp://example.org"},
            errors.MalformedRecipient,
            "recipient",
        ),
        (
            {"channel": "webhook", "recipient": "http://u:p@example.org"},
            errors.MalformedRecipient,
            "recipient",
        ),
        ({"template": "missing", "subject": "", "body": ""}, errors.UnknownTemplate, "template"),
        ({"template": "missing"}, errors.MissingContent, "body"),
        ({"body": ""}, errors.MissingContent, "body"),
        ({"subject": "Hi\r\nBcc: eve@example.org"}, errors.InvalidField, "subject"),
        ({"context": {"at": object()}}, errors.InvalidContext, "context"),
        ({"context": {"n": float("nan")}}, errors.InvalidContext, "context"),
        ({"context": ["a"]}, errors.InvalidContext, "context"),
        ({"context": {"a": "\x00"}}, errors.InvalidContext, "context"),
        ({"metadata": "x"}, errors.InvalidContext, "metadata"),
        ({"body": "a\x00b"}, errors.InvalidField, "body"),
        ({"body": "\ud800"}, errors.InvalidField, "body"),
        ({"reference": "r" * 256}, errors.InvalidField, "reference"),
        ({"expires": timezone.now() - timedelta(seconds=1)}, errors.InvalidTime, "expires"),
        ({"expires": -1}, errors.InvalidTime, "expires"),
        ({"expires": 5, "countdown": 10}, errors.InvalidTime, "expires"),
        ({"countdown": float("inf")}, errors.InvalidTime, "countdown"),
        ({"countdown": 1e12}, errors.InvalidTime, "countdown"),
        ({"eta": "tomorrow"}, errors.InvalidTime, "eta"),
        ({"eta": timezone.now(), "countdown": 1}, errors.InvalidTime, "eta"),
        ({"retry": {"tries": 1}}, errors.InvalidRetryPolicy, "retry"),
        ({"retry": [1]}, errors.InvalidRetryPolicy, "retry"),
        ({"context": {"a": ["\ud800"]}}, errors.InvalidContext, "context"),
        ({"colour": "red"}, errors.UnknownArgument, "colour"),
    ],
)
def test_bad_input_is_refused_by_name_before_a_row_exists(
    transactional_db: None, changes: Any, error: Any, field: Any
) -> None:
    wrong: Any = {**EMAIL, **changes}
    with pytest.raises(error) as refusal:
        send_notification.apply_async(kwargs=wrong)
    assert refusal.value.field == field
    assert Notification.objects.count() == 0


def _nested(levels: Any) -> list[object]:
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (float("nan"), "not a finite number"),
        (float("-inf"), "not a finite number"),
        (10**5000, "more than 4300 digits"),
        (_nested(3000), "nested too deeply"),
        ({1}, "of the type set"),
        ({(1, 2): 3}, "a key that is not text"),
    ],
    ids=["NaN", "infinity", "digits", "nested", "set", "key"],
)
def test_what_json_cannot_hold_is_refused_by_its_place_in_our_words(
    db: None, value: Any, what: str
) -> None:
    for field in ("context", "metadata"):
        with pytest.raises(errors.InvalidContext) as refusal:
            send(**{**SIMULATED, field: {"lines": [1, value]}})
        assert refusal.value.field == field
        assert f"{field}.lines[1]" in str(refusal.value)
        assert what in str(refusal.value)
    for field in ("channel", "priority", "guarantee", "retry", "countdown", "expires", "locale"):
        with pytest.raises(errors.InvalidNotification) as refused:
            send(**{**SIMULATED, field: [value] if field not in ("countdown", "expires") else {}})
        assert refused.value.field == field
        assert len(str(refused.value)) < 300


def test_the_result_and_the_row_share_their_id(transactional_db: None) -> None:
    result = send_notification.apply_async(kwargs=SIMULATED)
    assert Notification.objects.get(id=result.id).status == Status.QUEUED


def test_a_task_id_of_ones_own_becomes_the_notifications_id(transactional_db: None) -> None:
    mine = str(uuid.uuid4())
    assert send_notification.apply_async(kwargs=SIMULATED, task_id=mine).id == mine
    send_notification.apply_async(kwargs=SIMULATED, task_id=mine)
    assert Notification.objects.count() == 1


def test_the_same_idempotency_key_and_content_give_the_first_notification(
    accepted: Callable[..., Notification],
) -> None:
    first = accepted(idempotency_key="order-7")
    again = accepted(idempotency_key="order-7")
    assert again.id == first.id
    assert Notification.objects.count() == 1


def test_the_same_idempotency_key_with_other_content_is_a_conflict(
    accepted: Callable[..., Notification],
) -> None:
    accepted(idempotency_key="order-7")
    with pytest.raises(errors.IdempotencyConflict):
        accepted(idempotency_key="order-7", body="Something else")


def test_a_key_used_by_many_at_the_same_time_makes_one_notification(transactional_db: None) -> None:
    ids = []

    def submit() -> None:
        try:
            ids.append(send(**SIMULATED, idempotency_key="once").id)
        finally:
            connection.close()

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1


def test_a_rollback_leaves_no_row_and_no_message(
    transactional_db: None, messages_on_the_broker: Callable[..., list[dict[str, Any]]]
) -> None:
    with transaction.atomic():
        send(**SIMULATED)
        transaction.set_rollback(True)
    assert Notification.objects.count() == 0
    assert messages_on_the_broker("simulator.medium") == []


def test_a_commit_publishes_the_id_alone(
    transactional_db: None, messages_on_the_broker: Callable[..., list[dict[str, Any]]]
) -> None:
    with transaction.atomic():
        row = send(**{**SIMULATED, "body": "a secret", "recipient": "who"})
        assert messages_on_the_broker("simulator.medium") == []
    (message,) = messages_on_the_broker("simulator.medium")
    assert str(row.id) in json.dumps(message)
    assert "a secret" not in json.dumps(message)
    assert "who" not in message["body"]


def test_an_app_made_beside_ours_takes_none_of_our_messages(
    accepted: Callable[..., Notification],
    messages_on_the_broker: Callable[..., list[dict[str, Any]]],
) -> None:
    publisher._pool.cache_clear()

    def in_a_thread_that_speaks_with_another_system() -> list[Any]:
        with Celery("another system", broker="memory://"):
            try:
                return [accepted().id, send_notification.delay(**SIMULATED).id]
            finally:
                connection.close()

    with ThreadPoolExecutor(1) as thread:
        ids = thread.submit(in_a_thread_that_speaks_with_another_system).result()
    published = json.dumps(messages_on_the_broker("simulator.medium"))
    assert all(str(id_) in published for id_ in ids)


def test_a_waiting_notification_can_be_cancelled(
    accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    row = accepted(countdown=60)
    assert cancel(row.id)
    row.refresh_from_db()
    assert (row.status, row.due_at) == (Status.CANCELLED, None)
    assert deliver(row) == []


def test_a_cancellation_that_comes_too_late_says_so(
    accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    row = accepted()
    deliver(row)
    cancellation = cancel(row.id)
    assert not cancellation
    assert cancellation.status == Status.SENT


def test_code_that_awaits_sends_one_many_and_calls_off(transactional_db: None) -> None:
    async def story() -> Any:
        notification = await asend(**SIMULATED, countdown=60)
        many = await asend_many(
            [{"recipient": "ada"}, {"recipient": ""}], channel="simulator", body="Hello"
        )
        with pytest.raises(errors.InvalidField):
            await asend(**SIMULATED | {"recipient": ""})
        return many, await acancel(notification.id)

    many, cancelled = async_to_sync(story)()
    assert (many.accepted, many.refused) == (1, 1)
    assert cancelled
    assert Notification.objects.count() == 2
