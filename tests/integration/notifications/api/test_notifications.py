"""Notifications over HTTP: the same checks, the same names."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pytest_django import Settings

from notifications.admin import search
from notifications.api.notification_bodies import NotificationIn
from notifications.callbacks import outbound
from notifications.canvas import deliveries
from notifications.channels.mail import FIELDS
from notifications.core.errors import TransientError
from notifications.models import Notification, Status
from notifications.operations import holds
from notifications.submission.fields import Request
from tests.integration.notifications.api.conftest import SIMULATED, Caller


def test_what_was_created_is_a_row(call: Caller) -> None:
    response = call("POST", "/notifications", {**SIMULATED, "reference": "order 7"})
    assert response.status_code == 201
    row = Notification.objects.get(id=response.json()["id"])
    assert (row.channel, row.recipient, row.body) == ("simulator", "ada", "Hello")
    assert (row.reference, row.priority, row.status) == ("order 7", "medium", Status.QUEUED)


def test_every_field_of_the_python_door_is_there(call: Caller) -> None:
    python = set(Request._fields)
    of_others = {"mail", "project"}  # which is read one by one; which is the key's
    assert set(NotificationIn.model_fields) == python - of_others | set(FIELDS)


def test_the_same_key_and_content_gives_the_first_answer(call: Caller) -> None:
    body = {**SIMULATED, "countdown": 60}
    first = call("POST", "/notifications", body, Idempotency_Key="k1")
    again = call("POST", "/notifications", body, Idempotency_Key="k1")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert Notification.objects.count() == 1


def test_the_first_answer_is_given_again_after_it_was_sent(call: Caller) -> None:
    first = call.ok("POST", "/notifications", {**SIMULATED, "idempotency_key": "k1"})
    deliveries.deliver_one(UUID(first["id"]), worker="test")
    again = call.ok("POST", "/notifications", SIMULATED, Idempotency_Key="k1")
    assert again == first


def test_the_same_key_with_another_content_is_refused(call: Caller) -> None:
    call.ok("POST", "/notifications", SIMULATED, Idempotency_Key="k1")
    response = call("POST", "/notifications", {**SIMULATED, "body": "Other"}, Idempotency_Key="k1")
    assert response.status_code == 409
    assert response.json()["type"] == "/api/v1/problems/idempotency-conflict"
    assert Notification.objects.count() == 1


def test_an_empty_key_in_the_body_leaves_it_to_the_header(call: Caller) -> None:
    call.ok("POST", "/notifications", {**SIMULATED, "idempotency_key": ""}, Idempotency_Key="k1")
    assert Notification.objects.get().idempotency_key == "k1"


def test_header_and_body_may_not_name_different_keys(call: Caller) -> None:
    body = {**SIMULATED, "idempotency_key": "k2"}
    response = call("POST", "/notifications", body, Idempotency_Key="k1")
    assert response.json()["field"] == "idempotency_key"


@pytest.mark.parametrize(
    ("change", "type_", "field"),
    [
        ({"channel": "pigeon"}, "unknown-channel", "channel"),
        ({"channel": "email", "recipient": "nobody"}, "malformed-recipient", "recipient"),
        ({"priority": "urgent"}, "unknown-priority", "priority"),
        ({"guarantee": "exactly_once"}, "unknown-guarantee", "guarantee"),
        ({"body": ""}, "missing-content", "body"),
        ({"template": "none", "body": ""}, "unknown-template", "template"),
        ({"eta": "soon"}, "invalid-time", "eta"),
        ({"eta": "2030-01-01T09:00:00"}, "invalid-time", "eta"),
        ({"expires": "2030-01-01"}, "invalid-time", "expires"),
        ({"expires": -1}, "invalid-time", "expires"),
        ({"retry": {"tries": 2}}, "invalid-retry-policy", "retry"),
        ({"countdown": "60"}, "invalid-request", "countdown"),
        ({"colour": "red"}, "invalid-request", "colour"),
        ({"body": "\x00"}, "invalid-field", "body"),
        ({"body": "\ud800"}, "invalid-field", "body"),
    ],
)
def test_what_is_wrong_is_named_with_its_field(
    call: Caller, change: dict[str, Any], type_: str, field: str
) -> None:
    response = call("POST", "/notifications", {**SIMULATED, **change})
    assert response.status_code == 422
    problem = response.json()
    assert problem["type"] == f"/api/v1/problems/{type_}"
    assert problem["field"] == field
    assert not Notification.objects.exists()


def test_a_notification_for_later_is_scheduled_and_can_be_cancelled(call: Caller) -> None:
    eta = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    made = call.ok("POST", "/notifications", {**SIMULATED, "eta": eta})
    assert made["status"] == "scheduled"
    cancelled = call.ok("POST", f"/notifications/{made['id']}/cancel")
    assert cancelled["status"] == "cancelled"
    assert call("POST", f"/notifications/{made['id']}/cancel").status_code == 200


def test_what_was_sent_cannot_be_cancelled(call: Caller) -> None:
    made = call.ok("POST", "/notifications", SIMULATED)
    deliveries.deliver_one(UUID(made["id"]), worker="test")
    response = call("POST", f"/notifications/{made['id']}/cancel")
    assert response.status_code == 409
    assert "sent" in response.json()["detail"]


def test_a_notification_tells_its_attempts(call: Caller) -> None:
    made = call.ok("POST", "/notifications", SIMULATED)
    deliveries.deliver_one(UUID(made["id"]), worker="a worker")
    seen = call.ok("GET", f"/notifications/{made['id']}")
    assert (seen["status"], seen["attempt_count"], seen["queue"]) == (
        "sent",
        1,
        "simulator.medium",
    )
    assert [(a["number"], a["result"], a["worker"]) for a in seen["attempts"]] == [
        (1, "sent", "a worker")
    ]


def test_a_notification_tells_why_it_is_where_it_is(call: Caller) -> None:
    unlucky = {**SIMULATED, "recipient": "ada?result=transient&code=503"}
    made = call.ok("POST", "/notifications", unlucky)
    with pytest.raises(TransientError):
        deliveries.deliver_one(UUID(made["id"]), worker="test")
    seen = call.ok("GET", f"/notifications/{made['id']}")
    assert seen["status"] == "scheduled"
    titles = [event["title"] for event in seen["trace"]]
    assert titles[0] == "Accepted"
    assert "Attempt 1: refused for now" in titles
    assert "Retry planned" in titles
    assert seen["trace"][-1]["at"] == seen["due_at"]
    holds.hold("channel", "simulator", reason="a wrong price")
    told = call.ok("GET", f"/notifications/{made['id']}")["trace"]
    assert "Held back: channel simulator" in [event["title"] for event in told]
    assert [event["at"] for event in told] == sorted(event["at"] for event in told)
    later = call.ok("POST", "/notifications", SIMULATED)
    told = call.ok("GET", f"/notifications/{later['id']}")["trace"]
    assert told[0]["title"] == "Accepted"  # though the hold is older


def test_a_callback_url_is_told_how_it_ended(call: Caller, settings: Settings) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True
    url = "http://127.0.0.1:9/told"
    made = call.ok("POST", "/notifications", {**SIMULATED, "callback_url": url})
    assert call.ok("GET", f"/notifications/{made['id']}")["callback_url"] == url
    deliveries.deliver_one(UUID(made["id"]), worker="test")
    outbound.tick()
    callback = Notification.objects.get(channel="callback")
    assert callback.recipient == url
    told = json.loads(callback.body)
    assert (told["type"], told["data"]["id"]) == ("notification.sent", made["id"])


def test_options_are_kept_and_refused_by_name(call: Caller, settings: Settings) -> None:
    settings.OUTBOX = True
    push = {"channel": "push", "recipient": "token-1", "subject": "S", "body": "B"}
    made = call.ok("POST", "/notifications", {**push, "options": {"ttl": 60, "topic": "a"}})
    shown = call.ok("GET", f"/notifications/{made['id']}")
    assert shown["options"] == {"ttl": 60, "topic": "a"}
    for options, field in (
        ({"ttl": "soon"}, "options.ttl"),
        ({"colour": "red"}, "options.colour"),
    ):
        refused = call("POST", "/notifications", {**push, "options": options})
        assert (refused.status_code, refused.json()["field"]) == (422, field)


@pytest.mark.parametrize("url", ["nowhere", "ftp://example.org/x", 7])
def test_a_callback_url_that_cannot_be_told_is_refused(call: Caller, url: int | str) -> None:
    refused = call("POST", "/notifications", {**SIMULATED, "callback_url": url})
    assert refused.status_code == 422
    assert refused.json()["field"] == "callback_url"


def test_an_unknown_notification_is_not_found(call: Caller) -> None:
    response = call("GET", "/notifications/11111111-2222-4333-8444-555555555555")
    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "asked", ["ada.king@example.org", "ADA.KING@EXAMPLE.ORG", "Ada.King@x.org"]
)
def test_a_mail_address_is_found_in_any_letter_case(call: Caller, asked: str) -> None:
    mail = {"channel": "email", "subject": "Hi", "body": "Hello"}
    for recipient in ("Ada.King@Example.org", "ada.king@example.org", "aDA.kING@example.org"):
        call.ok("POST", "/notifications", {**mail, "recipient": recipient})
    call.ok("POST", "/notifications", {**SIMULATED, "recipient": "Ada.King@Example.org"})
    expected = 0 if asked.endswith("@x.org") else 3
    for filters in ({}, {"channel": "email"}):
        query = {"recipient": asked, **filters}
        found = call.ok("GET", "/notifications", query=query)["items"]
        assert len([entry for entry in found if entry["channel"] == "email"]) == expected
    assert len(search.find(Notification.objects.all(), asked)) >= expected
    assert call.ok("GET", "/notifications", query={"recipient": asked, "archived": True}) == {
        "items": [],
        "next_cursor": None,
    }


def test_lists_are_filtered(call: Caller) -> None:
    wanted = call.ok("POST", "/notifications", {**SIMULATED, "reference": "a"})
    call.ok("POST", "/notifications", {**SIMULATED, "reference": "b", "recipient": "bob"})
    call.ok("POST", "/notifications", {**SIMULATED, "countdown": 60, "priority": "low"})

    def found(**filters: Any) -> list[Any]:
        return [item["id"] for item in call.ok("GET", "/notifications", query=filters)["items"]]

    assert found(reference="a") == [wanted["id"]]
    assert len(found(recipient="ada")) == 2
    assert found(recipient=" ada ") == found(recipient="ada")
    assert len(found(status="scheduled")) == 1
    assert len(found(priority="low", channel="simulator")) == 1
    assert found(channel="email") == []
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert found(created_after=tomorrow) == []
    assert len(found(created_before=tomorrow)) == 3
