"""What may follow a send is checked as it is accepted, and kept in the row."""

from datetime import UTC, datetime
from typing import Any

import pytest
from celery import chain, chord, group, signature
from pytest_django import Settings

from notifications.core.errors import (
    InvalidField,
    InvalidFollower,
    InvalidNotification,
    MalformedRecipient,
    UnsupportedForm,
)
from notifications.models import Notification
from notifications.tasks import send_notification
from tests.integration.notifications.canvas.tasks import note

SIMULATED: Any = {"channel": "simulator", "recipient": "ada", "body": "Hello"}
NOT_SIGNATURES = ["canvas.note", 7, object(), {"args": []}, [note.s(), "canvas.note"], {"task": ""}]


@pytest.mark.parametrize("option", ["link", "link_error"])
@pytest.mark.parametrize(
    "value",
    NOT_SIGNATURES,
    ids=["a name", "a number", "an object", "no task", "one of two", "no name"],
)
def test_what_is_not_a_signature_is_refused_by_name(db: None, option: str, value: Any) -> None:
    with pytest.raises(InvalidFollower) as refused:
        send_notification.apply_async(kwargs=SIMULATED, **{option: value})
    assert refused.value.field == option
    assert not Notification.objects.exists()


@pytest.mark.parametrize(
    "follower",
    [
        signature("shop.nowhere"),
        group(note.s(), signature("shop.nowhere")),
        chord([signature("shop.nowhere")], note.s()),
        note.s().set(link=signature("shop.nowhere")),
        signature("shop.elsewhere", queue="nobody.has.it"),
        note.si().set(queue="nobody.has.it"),
        chain(note.si(), note.si().set(queue="nobody.has.it")),
        note.s("\x00"),
        note.s(object()),
        note.s(float("nan")),
    ],
    ids=[
        *("unknown", "in a group", "in a chord", "as a link"),
        *("queue", "queue of ours", "queue in a chain", "NUL", "object", "NaN"),
    ],
)
def test_what_could_never_be_called_is_refused(db: None, follower: Any) -> None:
    with pytest.raises(InvalidNotification) as refused:
        send_notification.apply_async(kwargs=SIMULATED, link=follower)
    assert refused.value.field == "link"
    assert not Notification.objects.exists()


def test_a_send_that_follows_is_checked_like_the_first(db: None) -> None:
    bad = send_notification.s(channel="email", recipient="nobody", subject="x", body="x")
    with pytest.raises(MalformedRecipient):
        send_notification.apply_async(kwargs=SIMULATED, link=bad)
    assert not Notification.objects.exists()


def test_a_follower_keeps_its_types_and_the_task_of_a_queue_of_ones_own(
    db: None, settings: Settings
) -> None:
    when = datetime(2030, 1, 2, tzinfo=UTC)
    result = send_notification.apply_async(kwargs=SIMULATED, link=note.s(when).set(eta=when))
    (kept,) = (result.notification.continuation or {})["link"]
    assert kept["task"] == "canvas.note"
    assert kept["args"][0]["__type__"] == "datetime"


@pytest.mark.parametrize(
    "call",
    [
        lambda: send_notification.map([SIMULATED]),
        lambda: send_notification.starmap([[SIMULATED]]),
        lambda: send_notification.chunks([SIMULATED], 10),
    ],
    ids=["map", "starmap", "chunks"],
)
def test_forms_that_cannot_name_fields_are_refused_at_the_call(db: None, call: Any) -> None:
    with pytest.raises(UnsupportedForm, match="send_many"):
        call()


def test_unnamed_arguments_are_refused(db: None) -> None:
    with pytest.raises(InvalidField, match="named"):
        send_notification.delay("email", "ada@example.org")
    with pytest.raises(InvalidField, match="named"):
        send_notification(SIMULATED)
    assert not Notification.objects.exists()
