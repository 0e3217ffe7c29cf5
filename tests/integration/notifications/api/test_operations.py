"""Queues, providers and suppressions over HTTP."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from notifications.models import Notification, ProviderAccount, Suppression
from notifications.providers import health
from notifications.providers.health import Tally
from notifications.queueing import allocation
from tests.integration.notifications.api.conftest import SIMULATED, Caller

pytestmark = pytest.mark.django_db

LONG_AGO = "2020-01-01T00:00:00Z"


def test_a_queue_tells_what_it_gets_of_the_workers(call: Caller, took: Callable[..., None]) -> None:
    took({"simulator.low": (3.0, 6), "jobs": (1.0, 1)})
    allocation.override("email.low", 3)
    found = {queue["name"]: queue["allocation"] for queue in call.ok("GET", "/queues")}
    usual = {"weight": 1, "source": "settings", "share": 0, "service_time": 0}
    assert found["simulator.low"] == {**usual, "share": 0.75, "service_time": 0.5}
    assert found["email.low"] == {**usual, "weight": 3, "source": "operator"}
    assert found["email.high"] == {**usual, "weight": 16}


def test_a_queue_tells_what_waits_and_for_how_long(call: Caller) -> None:
    for _ in range(3):
        call.ok("POST", "/notifications", {**SIMULATED, "priority": "low"})
    call.ok("POST", "/notifications", {**SIMULATED, "priority": "low", "countdown": 3600})
    Notification.objects.filter(status="queued").update(due_at=LONG_AGO, scheduled_at=LONG_AGO)
    queues = {queue["name"]: queue for queue in call.ok("GET", "/queues")}
    low = queues["simulator.low"]
    assert low["depth"] == 3
    assert low["oldest_age"] > 3600
    assert low["next_due_at"]
    assert low["released"] is not None
    assert (queues["email.high"]["depth"], queues["email.high"]["oldest_age"]) == (0, None)


def test_a_provider_tells_its_health(call: Caller) -> None:
    ProviderAccount.objects.create(name="sim-a", channel="sms", kind="simulator")
    health.forget()
    health.report("sim-a", Tally(bad=6, seconds=3.0, trailing=6))
    found = {provider["name"]: provider for provider in call.ok("GET", "/providers")}
    assert found["sim-a"]["state"] == "circuit_open"
    assert found["sim-a"]["failures_in_a_row"] == 6
    assert found["sim-a"]["open_until"]
    assert found["simulator"]["state"] == "ready"


def test_a_suppressed_recipient_is_not_written_to_until_it_is_lifted(call: Caller) -> None:
    made = call.ok("POST", "/suppressions", {"channel": "email", "recipient": "Ada@Example.org"})
    assert (made["scope"], made["reason"]) == ("everything", "operator")
    body = {"channel": "email", "recipient": "ada@example.org", "body": "Hi", "subject": "x"}
    held = call.ok("POST", "/notifications", body, Idempotency_Key="s")
    assert held["status"] == "suppressed"
    assert call.ok("POST", "/notifications", body, Idempotency_Key="s") == held
    assert call.ok("GET", "/suppressions", query={"channel": "email"})["items"] == [made]
    assert call("DELETE", f"/suppressions/{made['id']}").status_code == 204
    assert call("DELETE", f"/suppressions/{made['id']}").status_code == 404
    assert call.ok("POST", "/notifications", body)["status"] == "queued"
    assert call.ok("GET", "/suppressions")["items"] == []
    assert len(call.ok("GET", "/suppressions", query={"lifted": "true"})["items"]) == 1


@pytest.mark.parametrize(
    ("channel", "kept", "asked"),
    [
        ("email", "Big.Case@Example.ORG", "BIG.case@example.org"),
        ("email", "ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("sms", "+447700900123", "+44 (0)7700 900123"),
    ],
)
def test_a_recipient_is_found_however_it_is_written(
    call: Caller, admin_client: Client, channel: str, kept: str, asked: str
) -> None:
    body = {"channel": channel, "recipient": kept}
    made = call.ok("POST", "/suppressions", body)
    text = {"body": "Hi"} | ({"subject": "x"} if channel == "email" else {})
    sent = call.ok("POST", "/notifications", {**body, **text})
    for spelling in (kept, asked):
        for query in ({"recipient": spelling}, {"recipient": spelling, "channel": channel}):
            assert call.ok("GET", "/suppressions", query=query)["items"] == [made]
        (found,) = call.ok("GET", "/notifications", query={"recipient": kept})["items"]
        assert found["id"] == sent["id"]
        page = admin_client.get("/admin/notifications/suppression/", {"q": spelling})
        assert [row.pk for row in page.context["cl"].result_list] == [made["id"]]
    assert call.ok("GET", "/suppressions", query={"recipient": "bob@example.org"})["items"] == []


def test_suppressing_twice_changes_nothing(call: Caller) -> None:
    body = {"channel": "sms", "recipient": "+393331234567", "scope": "marketing"}
    assert call.ok("POST", "/suppressions", body) == call.ok("POST", "/suppressions", body)
    assert Suppression.objects.count() == 1


@pytest.mark.parametrize(
    "body",
    [
        {"channel": "pigeon", "recipient": "x"},
        {"channel": "email", "recipient": "nobody"},
        {"channel": "email", "recipient": "a@b.example", "scope": "some"},
    ],
)
def test_what_is_no_suppression_is_refused(call: Caller, body: dict[str, Any]) -> None:
    assert call("POST", "/suppressions", body).status_code == 422
