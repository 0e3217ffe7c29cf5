"""Events and their rules over HTTP."""

from collections.abc import Callable
from typing import Any

import pytest

from notifications.models import Event, EventRule, Notification
from tests.integration.notifications.api.conftest import Caller
from tests.integration.notifications.api.test_projects import publish

pytestmark = pytest.mark.django_db

RULE = {
    "name": "reminder",
    "event": "invoice.issued",
    "channel": "simulator",
    "recipients": "data.customer",
    "template": "reminder",
    "delay": 3600,
    "cancel_on": "payment.settled",
    "match": "data.invoice",
}
EVENT = {"name": "invoice.issued", "key": "k", "data": {"customer": "ada", "invoice": 7}}


@pytest.fixture
def rule(call: Caller) -> Any:
    publish(call, "reminder", "Please pay")
    return call.ok("POST", "/event-rules", RULE)


def test_an_event_says_what_it_caused_and_what_cancelled_it(call: Caller, rule: Any) -> None:
    first = call("POST", "/events", EVENT)
    again = call("POST", "/events", EVENT)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    [effect] = first.json()["effects"]
    assert (effect["rule"], effect["outcome"], effect["cancellation"]) == ("reminder", "caused", "")
    assert call.ok("GET", f"/notifications/{effect['notification']}")["status"] == "scheduled"
    settled = call.ok("POST", "/events", {"name": "payment.settled", "data": {"invoice": 7}})
    [effect] = call.ok("GET", f"/events/{first.json()['id']}")["effects"]
    assert (effect["cancellation"], effect["cancelled_by"]) == ("cancelled", settled["id"])
    assert call.ok("GET", f"/notifications/{effect['notification']}")["status"] == "cancelled"
    found = call.ok("GET", "/events", query={"name": "payment.settled"})["items"]
    assert [event["id"] for event in found] == [settled["id"]]


@pytest.mark.parametrize(
    ("changes", "headers", "status", "field"),
    [
        ({"data": {"customer": "bob", "invoice": 7}}, {}, 409, "key"),
        ({"name": "no name"}, {}, 422, "name"),
        ({"data": [1]}, {}, 422, "data"),
        ({"more": 1}, {}, 422, "more"),
        ({"key": "one"}, {"Idempotency_Key": "another"}, 422, "key"),
    ],
)
def test_what_is_no_event_is_refused_by_field(
    call: Caller, changes: dict[str, Any], headers: dict[str, Any], status: int, field: str
) -> None:
    call.ok("POST", "/events", EVENT)
    refused = call("POST", "/events", {**EVENT, **changes}, **headers)
    assert (refused.status_code, refused.json()["field"]) == (status, field)
    assert Event.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"condition": "data.amount >"}, 422, "condition"),
        ({"condition": "system('x')"}, 422, "condition"),
        ({"recipients": "customer"}, 422, "recipients"),
        ({"template": "none"}, 422, "template"),
        ({"match": ""}, 422, "match"),
        ({"delay": -1}, 422, "delay"),
        ({"name": "taken"}, 409, "name"),
    ],
)
def test_a_rule_is_refused_by_field_when_made_and_when_changed(
    call: Caller, rule: Any, changes: dict[str, Any], status: int, field: str
) -> None:
    call.ok("POST", "/event-rules", {**RULE, "name": "taken"})
    made = call("POST", "/event-rules", {**RULE, "name": "new", **changes})
    changed = call("PATCH", f"/event-rules/{rule['id']}", changes)
    for refused in (made, changed):
        assert (refused.status_code, refused.json()["field"]) == (status, field)
    assert call.ok("GET", f"/event-rules/{rule['id']}") == rule


def test_a_rule_is_changed_and_deleted(call: Caller, rule: Any) -> None:
    where = f"/event-rules/{rule['id']}"
    assert call.ok("PATCH", where, {"enabled": False}) == {**rule, "enabled": False}
    assert call.ok("POST", "/events", EVENT)["effects"] == []
    assert call.ok("GET", "/event-rules", query={"event": "invoice.issued"})["items"] != []
    assert call("DELETE", where).status_code == 204
    assert not EventRule.objects.exists()


def test_a_test_keys_event_sends_tests_and_its_rules_serve_tests_alone(
    caller: Callable[..., Caller], call: Caller, rule: Any
) -> None:
    tester = caller(kind="test")
    tester.ok("POST", "/event-rules", {**RULE, "name": "mine"})
    assert len(call.ok("POST", "/events", EVENT)["effects"]) == 1
    assert len(tester.ok("POST", "/events", EVENT)["effects"]) == 2
    assert sorted(Notification.objects.values_list("test", flat=True)) == [False, True, True]
