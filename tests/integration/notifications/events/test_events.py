"""What an event causes, and what cancels it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from notifications import events
from notifications.core.errors import IdempotencyConflict, InvalidNotification
from notifications.db import clock
from notifications.delivery import claims
from notifications.events import rules
from notifications.maintenance import retention
from notifications.models import Event, EventEffect, EventRule, Notification, Project, Status
from notifications.submission import choose_preferences, save_recipient
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.events.conftest import REMINDER, RULE

DATA = {"customer": "ada", "invoice": 7}


def effects() -> list[Any]:
    return list(EventEffect.objects.order_by("pk").values_list("outcome", "field", "cancellation"))


def test_an_event_sends_a_rules_template_to_the_addresses_in_its_data(
    rule: Callable[..., EventRule], deliver: Callable[..., Any]
) -> None:
    rule(recipients="data.customers", condition="data.invoice > 5", priority="high")
    emission = events.emit("invoice.issued", {"customers": ["ada", "bob", "ada"], "invoice": 7})
    sent = list(Notification.objects.order_by("recipient"))
    assert [(row.recipient, row.priority, row.context["invoice"]) for row in sent] == [
        ("ada", "high", 7),
        ("bob", "high", 7),
    ]
    assert {row.pk for row in sent} == set(emission.notifications)
    assert sent[0].metadata == {"event": str(emission.id), "rule": "reminder"}
    deliver(*sent)
    assert {row.status for row in Notification.objects.all()} == {Status.SENT}


def test_a_rule_writes_to_stored_recipients_as_they_have_chosen(
    rule: Callable[..., EventRule],
) -> None:
    for key in ("7", "ada"):
        save_recipient(key, addresses={"simulator": f"of {key}"})
    choose_preferences("ada", {"billing": {"simulator": False}})
    rule(recipients="", to="data.whom", category="billing", context={"invoice": "'x'"})
    events.emit("invoice.issued", {"whom": [7, "7", "ada", "nobody"]})
    found = Notification.objects.order_by("recipient")
    assert list(found.values_list("recipient_key", "recipient", "category", "reason")) == [
        ("7", "of 7", "billing", ""),
        ("ada", "of ada", "billing", "category_refused_on_channel"),
    ]
    assert [effect[:2] for effect in effects()].count(("refused", "to.recipient")) == 1
    events.emit("invoice.issued", {"whom": 7})
    assert found.filter(recipient_key="7").count() == 2
    events.emit("invoice.issued", {"whom": True})
    assert ("refused", "to", "") in effects()
    for changes, field in (
        ({"to": "data.whom"}, "to"),
        ({"recipients": ""}, "recipients"),
        ({"recipients": "", "to": "1.5"}, "to"),
        ({"category": "nope"}, "category"),
    ):
        with pytest.raises(InvalidNotification) as refused:
            rule(name="wrong", **changes)
        assert refused.value.field == field


def test_a_rule_waits_as_long_as_it_says_and_names_the_variables(
    rule: Callable[..., EventRule],
) -> None:
    rule(delay=3600, context={"invoice": "'no. ' + string(data.invoice)"})
    events.emit("invoice.issued", DATA)
    row = Notification.objects.get()
    assert (row.status, row.context) == (Status.SCHEDULED, {"invoice": "no. 7"})
    assert 3590 < (row.scheduled_at - row.created_at).total_seconds() < 3610


def test_a_condition_that_is_false_and_a_rule_that_is_off_send_nothing(
    rule: Callable[..., EventRule],
) -> None:
    rule(condition="data.invoice > 100")
    rule(name="off", enabled=False)
    events.emit("invoice.issued", DATA)
    events.emit("other.event", DATA)
    assert not Notification.objects.exists()
    assert effects() == [("unmet", "", "")]
    assert Event.objects.count() == 2


@pytest.mark.parametrize(
    ("changes", "data", "field"),
    [
        ({"condition": "data.total > 1"}, DATA, "condition"),
        ({"condition": "data.invoice"}, DATA, "condition"),
        ({"recipients": "data.nobody"}, DATA, "recipients"),
        ({"recipients": "data.invoice"}, DATA, "recipients"),
        ({"context": {"invoice": "data.total"}}, DATA, "context.invoice"),
        ({}, {"customer": "ada"}, "context"),
        ({}, {"customer": "", "invoice": 7}, "recipient"),
    ],
)
def test_a_rules_fault_is_written_down_and_stops_no_other(
    rule: Callable[..., EventRule], changes: dict[str, Any], data: Any, field: str
) -> None:
    rule(**changes)
    rule(name="whole", recipients="'bob'", context={"invoice": "'x'"})
    events.emit("invoice.issued", data)
    assert [row.recipient for row in Notification.objects.all()] == ["bob"]
    assert {effect[:2] for effect in effects()} == {("refused", field), ("caused", "")}


def test_the_same_key_is_the_same_event(rule: Callable[..., EventRule]) -> None:
    rule()
    first = events.emit("invoice.issued", DATA, key="k")
    again = events.emit("invoice.issued", DATA, key="k")
    assert (first.created, again.created, again.id) == (True, False, first.id)
    assert again.notifications == first.notifications
    with pytest.raises(IdempotencyConflict) as refused:
        events.emit("invoice.issued", {**DATA, "invoice": 8}, key="k")
    assert refused.value.field == "key"
    assert Notification.objects.count() == 1


def test_an_event_is_of_its_project_and_of_its_tests(rule: Callable[..., EventRule]) -> None:
    Project.objects.create(name="shop")
    rule()
    events.emit("invoice.issued", DATA, key="k", project="shop")
    assert not Notification.objects.exists()
    events.emit("invoice.issued", DATA, key="k", test=True)
    assert Notification.objects.get().test
    assert events.emit("invoice.issued", DATA, key="k").created


def test_the_other_event_cancels_what_waits_and_nothing_else(
    rule: Callable[..., EventRule],
) -> None:
    rule(**REMINDER)
    for invoice in (7, 8):
        events.emit("invoice.issued", {**DATA, "invoice": invoice})
    settled = events.emit("payment.settled", {"paid": 7})
    events.emit("payment.settled", {"paid": 9})
    events.emit("payment.settled", {"other": 8})
    assert [row.status for row in Notification.objects.order_by("pk")] == ["cancelled", "scheduled"]
    assert effects() == [("caused", "", "cancelled"), ("caused", "", "")]
    assert EventEffect.objects.order_by("pk")[0].cancelled_by_id == settled.id
    events.emit("invoice.issued", DATA)  # issued anew: what came before does not count
    assert Notification.objects.filter(status="scheduled").count() == 2


@pytest.mark.parametrize(
    ("issued", "paid"),
    [(7, 7.0), (7.0, 7), (2**53, 2.0**53), (2**64, 2.0**64), (1e300, 10**300), (0, -0.0)],
)
def test_numbers_that_are_equal_are_one_matter(
    rule: Callable[..., EventRule], issued: float, paid: float
) -> None:
    rule(**{**REMINDER, "cancel_match": ""})
    events.emit("invoice.issued", {**DATA, "invoice": issued})
    events.emit("payment.settled", {"invoice": 8})
    assert effects() == [("caused", "", "")]
    events.emit("payment.settled", {"invoice": paid})
    assert effects() == [("caused", "", "cancelled")]


def test_an_entry_that_is_no_address_costs_itself_and_one_mailbox_gets_one(
    rule: Callable[..., EventRule],
) -> None:
    template = Template.objects.create(name="mail", channel="email")
    publish(create_version(template, {"subject": "S", "text": "B"}))
    rule(channel="email", template="mail", recipients="data.list")
    entries: list[Any] = ["ok@example.org", None, 7, {"a": 1}, [], "ok@EXAMPLE.org", "bad"]
    events.emit("invoice.issued", {"list": entries})
    assert [row.recipient for row in Notification.objects.all()] == ["ok@example.org"]
    assert effects() == [("caused", "", ""), *[("refused", "recipient", "")] * 5]
    assert all(effect.detail for effect in EventEffect.objects.filter(outcome="refused"))
    EventEffect.objects.all().delete()
    events.emit("invoice.issued", {"list": []})
    assert effects() == [("refused", "recipients", "")]


def test_what_is_being_sent_is_not_cancelled_and_not_tried_again(
    rule: Callable[..., EventRule], age: Callable[..., None], deliver: Callable[..., Any]
) -> None:
    rule(**{**REMINDER, "delay": 0})
    events.emit("invoice.issued", DATA)
    row = Notification.objects.get()
    assert claims.claim([row.pk])
    events.emit("payment.settled", {"paid": 7})
    assert effects() == [("caused", "", "too_late")]
    Notification.objects.update(status=Status.SCHEDULED, due_at=row.due_at)  # its attempt failed
    deliver(row)
    assert Notification.objects.get().status == Status.EXPIRED


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"event": "no name"}, "event"),
        ({"condition": "data.amount >"}, "condition"),
        ({"condition": "data.amount > [10]"}, "condition"),
        ({"recipients": ""}, "recipients"),
        ({"recipients": "customer"}, "recipients"),
        ({"context": {"a": "nope()"}}, "context.a"),
        ({"context": ["a"]}, "context"),
        ({"channel": "email"}, "template"),
        ({"template": "none"}, "template"),
        ({"project": "none"}, "project"),
        ({"delay": -1}, "delay"),
        ({"priority": "urgent"}, "priority"),
        ({"cancel_on": "payment.settled"}, "match"),
        ({"cancel_on": "invoice.issued", "match": "data.invoice"}, "cancel_on"),
        ({"match": "data.invoice"}, "match"),
        ({"cancel_on": "x", "match": "data.invoice", "cancel_match": "y"}, "cancel_match"),
    ],
)
def test_a_rule_that_could_not_work_is_refused_by_field(
    template: None, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidNotification) as refused:
        rules.check(EventRule(**{**RULE, **changes}))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("name", "data", "key", "field"),
    [
        ("", DATA, "", "name"),
        ("a b", DATA, "", "name"),
        ("a" * 101, DATA, "", "name"),
        ("a", [1], "", "data"),
        ("a", {"a": "x" * 64_001}, "", "data"),
        ("a", {"a": float("nan")}, "", "data"),
        ("a", DATA, "k" * 256, "key"),
    ],
)
def test_what_is_no_event_is_refused_by_field(
    transactional_db: None, name: str, data: Any, key: str, field: str
) -> None:
    with pytest.raises(InvalidNotification) as refused:
        events.emit(name, data, key=key)
    assert refused.value.field == field
    assert not Event.objects.exists()


def test_an_old_event_leaves_once_nothing_that_it_caused_waits(
    rule: Callable[..., EventRule],
) -> None:
    rule(delay=3600)
    events.emit("invoice.issued", DATA)
    events.emit("other.event", DATA)
    Event.objects.update(created_at=clock.now() - timedelta(days=400))
    events.emit("other.event", DATA)
    retention.prune()
    assert list(Event.objects.order_by("created_at").values_list("name", flat=True)) == [
        "invoice.issued",
        "other.event",
    ]
    Notification.objects.update(status=Status.CANCELLED, due_at=None, finished_at=clock.now())
    retention.prune()
    assert Event.objects.get().name == "other.event"
