"""What recipients want to get: chosen over the API or by a mail's link."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from notifications.callbacks import receipts
from notifications.channels.base import Receipt
from notifications.core import errors
from notifications.models import (
    Consent,
    Notification,
    Recipient,
    Suppression,
)
from notifications.operations import personal_data
from notifications.recipients import categories, preference_links, suppressions, unsubscribe_links
from notifications.recipients.categories import Kind
from notifications.recipients.preferences import held_by
from notifications.submission import choose_preferences, send, send_many
from tests.integration.notifications.api.conftest import Caller, call, caller
from tests.integration.notifications.providers.templates import published
from tests.integration.notifications.recipients.preferring import MAIL, PUBLIC, TO, _outbox, ada

__all__ = ["_outbox", "ada", "call", "caller"]

pytestmark = pytest.mark.django_db

OPEN, CLOSED = Kind("news", "News"), Kind("offers", "Offers", default=False)

BY_MAIL = Kind("report", "Report", default=False, channel_defaults={"email": True})

CODES = Kind("security", "Security", required=True)


@pytest.mark.parametrize(
    ("kind", "choices", "rule"),
    [
        (OPEN, {}, ""),
        (CLOSED, {}, "consent_missing"),
        (BY_MAIL, {}, ""),
        (None, {}, ""),
        (OPEN, {"news": {"email": False}}, "category_refused_on_channel"),
        (OPEN, {"news": {"sms": False}}, ""),
        (OPEN, {"news": {"": False}}, "category_refused"),
        (OPEN, {"news": {"": False, "email": True}}, ""),
        (CLOSED, {"offers": {"": True}}, ""),
        (CLOSED, {"offers": {"": True, "email": False}}, "category_refused_on_channel"),
        (OPEN, {"": {"email": False}}, "channel_refused"),
        (OPEN, {"": {"email": False}, "news": {"email": True}}, "channel_refused"),
        (OPEN, {"": {"sms": False}}, ""),
        (None, {"": {"email": False}}, "channel_refused"),
        (None, {"": {"": False}}, "everything_refused"),
        (OPEN, {"": {"": False}, "news": {"email": True}}, "everything_refused"),
        (OPEN, {"": {"": False, "email": True}}, ""),
        (CLOSED, {"": {"": False, "email": True}}, "consent_missing"),
        (CODES, {"": {"email": False}, "security": {"": False}}, ""),
    ],
)
def test_the_rule_says_what_holds_a_mail_back(kind: Any, choices: Any, rule: str) -> None:
    assert held_by(kind, "email", choices) == rule


def test_a_choice_holds_at_acceptance_and_says_which_rule(call: Caller, ada: Recipient) -> None:
    assert send(**MAIL).status == "queued"
    assert send(**MAIL, category="billing").status == "queued"
    held = call.ok("POST", "/notifications", {**MAIL, "category": "marketing"})
    assert (held["status"], held["reason"]) == ("suppressed", "consent_missing")
    choose_preferences(
        "customer-17", {"marketing": {"email": True}, "billing": {"": False}}, text="Yes"
    )
    assert send(**MAIL, category="marketing").status == "queued"
    refused = send(**MAIL, category="billing", idempotency_key="k")
    assert (refused.status, refused.reason) == ("suppressed", "category_refused")
    story = call.ok("GET", f"/notifications/{refused.id}")["trace"]
    assert "the recipient has refused this category" in story[-1]["detail"]
    assert send(**MAIL, category="security").status == "queued"
    plain = {name: value for name, value in MAIL.items() if name != "to"}
    assert send(**plain, recipient="ada@example.org", category="billing").status == "queued"


def test_a_choice_made_later_holds_at_the_claim(
    ada: Recipient, deliver: Callable[..., Any]
) -> None:
    fields: dict[str, Any] = {"channel": "simulator", "body": "Hello", **TO}
    first, second = send(**fields, category="product"), send(**fields, category="security")
    choose_preferences("customer-17", {"": {"simulator": False}})
    deliver(first, second)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, first.reason, first.attempt_count) == ("suppressed", "channel_refused", 0)
    assert second.status == "sent"


def test_a_marketing_template_is_of_that_category(ada: Recipient, call: Caller) -> None:
    published("sale", "marketing")
    fields: dict[str, Any] = {"channel": "email", "template": "sale", **TO}
    assert send(**fields).reason == "consent_missing"
    choose_preferences("customer-17", {"marketing": {"": True}})
    assert send(**fields).status == "queued"
    with pytest.raises(errors.InvalidField) as refused:
        send(**fields, category="security")
    assert refused.value.field == "category"


@pytest.mark.parametrize("category", ["nothing", "a b", 7, ["billing"]])
def test_an_unknown_category_is_refused_by_field(ada: Recipient, category: Any) -> None:
    with pytest.raises(errors.UnknownCategory) as refused:
        send(**MAIL, category=category)
    assert refused.value.field == "category"
    submitted = send_many([{**MAIL, "category": category}, MAIL])
    assert (submitted.accepted, submitted.refused) == (1, 1)


def test_a_projects_own_category_is_saved_used_and_deleted(call: Caller, ada: Recipient) -> None:
    own = {"name": "report", "title": "Report", "default": False, "channel_defaults": {"sms": True}}
    assert call("POST", "/categories", own).status_code == 201
    assert call("POST", "/categories", own).status_code == 200
    names = [category["name"] for category in call.ok("GET", "/categories")]
    assert names == ["security", "billing", "product", "marketing", "report"]
    assert send(**MAIL, category="report").reason == "consent_missing"
    shown = call.ok("GET", "/recipients/customer-17/preferences")
    [report] = [
        preference for preference in shown["preferences"] if preference["category"] == "report"
    ]
    assert (report["channels"]["email"], report["channels"]["sms"]) == (False, True)
    assert call("DELETE", "/categories/report").status_code == 204
    assert call("DELETE", "/categories/security").status_code == 404
    bad = [
        ({"name": "A b"}, "name"),
        ({"name": "security"}, "required"),
        ({"name": "marketing", "required": True}, "required"),
        ({"name": "x", "channel_defaults": {"fax": True}}, "channel_defaults"),
        ({"name": "x", "title": "t" * 101}, "title"),
    ]
    for given, field in bad:
        answer = call("POST", "/categories", given)
        assert (answer.status_code, answer.json()["field"]) == (422, field), given


def test_the_api_writes_choices_and_keeps_their_history(call: Caller, ada: Recipient) -> None:
    path = "/recipients/customer-17"
    agreed = {"category": "marketing", "channel": "email", "granted": True}
    shown = call.ok("POST", f"{path}/preferences", {"choices": [agreed], "text": "Send me offers."})
    assert shown["choices"] == {"marketing": {"email": True}}
    assert shown["url"].startswith(f"{PUBLIC}/preferences/")
    call.ok("POST", f"{path}/preferences", {"choices": [agreed]})  # nothing new
    call.ok("POST", f"{path}/preferences", {"choices": [{**agreed, "granted": None}]})
    history = call.ok("GET", f"{path}/consent")["items"]
    assert [(consent["granted"], consent["means"], consent["text"]) for consent in history] == [
        (None, "api", ""),
        (True, "api", "Send me offers."),
    ]
    assert call.ok("GET", f"{path}/preferences")["choices"] == {}
    for text in ("Terms 1", "Terms 2", "Terms 2"):  # a renewed agreement is one of its own
        call.ok("POST", f"{path}/preferences", {"choices": [agreed], "text": text})
    history = call.ok("GET", f"{path}/consent")["items"]
    assert [consent["text"] for consent in history][:3] == ["Terms 2", "Terms 1", ""]
    call.ok("POST", f"{path}/preferences", {"choices": [{**agreed, "granted": None}]})
    everything = {"choices": [{"category": "", "granted": False}]}
    assert call.ok("POST", f"{path}/preferences", everything)["choices"] == {"": {"": False}}
    everything["choices"][0]["granted"] = True
    assert call.ok("POST", f"{path}/preferences", everything)["choices"] == {}
    for change, field in (
        ({"granted": True}, "choices.0.category"),
        ({"granted": False}, "choices.0.category"),
        ({"category": "nope", "granted": True}, "choices.0.category"),
        ({"channel": "fax", "granted": True}, "choices.0.channel"),
        ({"category": "security", "granted": False}, "choices.0.granted"),
    ):
        answer = call("POST", f"{path}/preferences", {"choices": [change]})
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert personal_data.export("customer-17", project="default")["consents"]


@pytest.mark.parametrize(
    ("choices", "field"), [({"marketing": True}, "choices.marketing"), ([], "choices")]
)
def test_choices_that_name_no_channel_are_refused_by_name(
    ada: Recipient, choices: Any, field: str
) -> None:
    with pytest.raises(errors.InvalidField) as refused:
        choose_preferences("customer-17", choices)
    assert refused.value.field == field
    assert choose_preferences("customer-17", {"marketing": {"": True}}).choices == {
        "marketing": {"": True}
    }


def test_unsubscribing_by_a_mails_link_writes_the_same_consent(
    client: Client, ada: Recipient, deliver: Callable[..., Any]
) -> None:
    published("sale", "marketing")
    choose_preferences("customer-17", {"marketing": {"email": True}})
    row = send(channel="email", template="sale", **TO)
    link = unsubscribe_links.url(row.id, row.channel, row.recipient).removeprefix(PUBLIC)
    done = client.post(link, {"List-Unsubscribe": "One-Click"})
    assert preference_links.url(ada.world, ada.key) in done.content.decode()
    ada.refresh_from_db()
    assert ada.choices == {"marketing": {"email": False}}
    assert Consent.objects.latest("pk").means == "unsubscribe"
    assert send(channel="email", template="sale", **TO).status == "suppressed"
    choose_preferences("customer-17", {"marketing": {"email": True}})
    assert send(channel="email", template="sale", **TO).status == "queued"


def test_a_broad_yes_replaces_a_refusal_by_a_mails_link(
    client: Client, call: Caller, ada: Recipient
) -> None:
    published("sale", "marketing")
    path = "/recipients/customer-17"
    broad = {"choices": [{"category": "marketing", "granted": True}], "text": "Yes"}
    call.ok("POST", f"{path}/preferences", broad)
    row = send(channel="email", template="sale", **TO)
    link = unsubscribe_links.url(row.id, row.channel, row.recipient).removeprefix(PUBLIC)
    client.post(link, {"List-Unsubscribe": "One-Click"})
    chosen = call.ok("POST", f"{path}/preferences", broad)["choices"]
    assert chosen == {"marketing": {"": True}}
    history = call.ok("GET", f"{path}/consent")["items"]
    assert [(consent["channel"], consent["granted"], consent["means"]) for consent in history] == [
        ("", True, "api"),
        ("email", False, "unsubscribe"),
        ("", True, "api"),
    ]
    assert send(channel="email", template="sale", **TO).status == "queued"
    assert not Suppression.objects.filter(lifted_at=None).exists()


def test_a_suppression_stays_while_another_choice_refuses_and_its_end_is_in_the_history(
    ada: Recipient,
) -> None:
    suppressions.suppress("email", "ada@example.org", "unsubscribed", scope="marketing")
    left = Suppression.objects.filter(lifted_at=None)
    choose_preferences("customer-17", {"marketing": {"": True, "email": False}})
    choose_preferences("customer-17", {"marketing": {"email": None}, "": {"email": False}})
    choose_preferences("customer-17", {"marketing": {"": True}})
    assert left.exists()
    written = Consent.objects.count()
    choose_preferences("customer-17", {"": {"email": None}})
    assert left.exists()  # marketing by mail is for them to agree to again
    choose_preferences("customer-17", {"marketing": {"": True}})
    assert not left.exists()
    assert Consent.objects.count() == written + 2
    choose_preferences("customer-17", {"marketing": {"": False, "sms": True}})
    choose_preferences("customer-17", {"marketing": {"": False}})
    ada.refresh_from_db()
    assert ada.choices == {"marketing": {"": False}}


def test_a_complaint_refuses_all_that_can_be_refused(
    ada: Recipient, deliver: Callable[..., Any]
) -> None:
    row = send(channel="simulator", body="B", **TO)
    deliver(row)
    Notification.objects.filter(pk=row.pk).update(provider="a")
    receipts.take([Receipt("complained", notification_id=row.id)], account="a", channel="simulator")
    ada.refresh_from_db()
    assert ada.choices == {"": {"simulator": False}}
    assert Consent.objects.get().means == "complaint"


def test_acceptance_asks_one_query_more_however_many_choose(
    ada: Recipient, django_assert_max_num_queries: Any
) -> None:
    send(channel="simulator", body="B", recipient="a")
    categories.of(ada.world)
    with django_assert_max_num_queries(3):  # who it is, the row, and a suppression
        send(channel="simulator", body="B", category="billing", **TO)
