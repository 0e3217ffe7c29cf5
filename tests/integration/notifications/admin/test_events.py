"""Events in the admin: what each has caused, and rules that are checked as the API checks them."""

from typing import Any

import pytest
from django.urls import reverse

from notifications import events
from notifications.models import EventRule, Notification
from templates_engine import catalog
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.admin.test_roles import as_role

__all__ = ["as_role"]

RULE = {
    "project": "default",
    "name": "reminder",
    "enabled": "on",
    "event": "invoice.issued",
    "channel": "simulator",
    "recipients": "data.customer",
    "template": "reminder",
    "context": "{}",
    "delay": "0",
    "priority": "medium",
}


@pytest.fixture(autouse=True)
def _template(db: None) -> None:
    catalog.clear()
    made = Template.objects.create(name="reminder", channel="simulator")
    publish(create_version(made, {"body": "Please pay"}))


def test_a_rule_is_made_by_its_form_and_a_bad_one_is_refused_by_field(as_role: Any) -> None:
    client = as_role("admin")
    page = reverse("admin:notifications_eventrule_add")
    for field, value in (("condition", "data.x >"), ("context", '{"a": "nope()"}')):
        refused = client.post(page, {**RULE, field: value})
        assert field in refused.context["adminform"].form.errors
    assert client.post(page, RULE).status_code == 302
    assert EventRule.objects.get().template == "reminder"


def test_an_events_page_links_to_what_it_caused_and_hides_its_data(as_role: Any) -> None:
    EventRule.objects.create(
        **{k: RULE[k] for k in ("name", "event", "channel", "recipients", "template")}
    )
    emission = events.emit("invoice.issued", {"customer": "ada@example.org"})
    page = reverse("admin:notifications_event_change", args=[emission.id])
    link = reverse("admin:notifications_notification_change", args=[Notification.objects.get().pk])
    for role, sees in (("operator", True), ("viewer", False)):
        shown = as_role(role).get(page).content.decode()
        assert link in shown
        assert ("ada@example.org" in shown) == sees


@pytest.mark.parametrize(("role", "sees"), [("viewer", False), ("operator", True)])
def test_an_address_in_a_rule_is_shown_to_who_may_see_contents(
    as_role: Any, role: str, sees: bool
) -> None:
    rule = EventRule.objects.create(
        name="tell the shop",
        event="order.paid",
        channel="email",
        condition="data.by != 'ada@shop.example'",
        recipients="'office@shop.example'",
        template="reminder",
        context={"note": "'4711-secret'"},
    )
    page = as_role(role).get(reverse("admin:notifications_eventrule_change", args=[rule.pk]))
    said = page.content.decode()
    for word in ("office@shop.example", "ada@shop.example", "4711-secret"):
        assert (word in said) is sees, word
    assert "tell the shop" in said
