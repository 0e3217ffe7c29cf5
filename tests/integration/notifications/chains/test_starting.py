"""A run is started over HTTP, in Python and in the admin, or refused by field."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from notifications.admin.project import TAKEN
from notifications.chains import save_chain, send_chain
from notifications.core import errors
from notifications.db import clock
from notifications.models import Chain, ChainRun, Notification, ProviderAccount
from notifications.operations import personal_data
from notifications.providers import accounts
from notifications.submission import save_recipient, send
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.api.conftest import Caller, call, caller
from tests.integration.notifications.chains.running import chain, rows, step

__all__ = ["call", "caller"]

pytestmark = pytest.mark.django_db(transaction=True)

Deliver = Callable[..., Any]
Age = Callable[..., None]


def test_a_stored_recipient_gets_each_step_at_its_channel_and_one_without_is_skipped(
    call: Caller, deliver: Deliver
) -> None:
    made = Template.objects.create(name="code.email", channel="email")
    publish(create_version(made, {"subject": "Code", "text": "{{ code }}", "html": "{{ code }}"}))
    sms = Template.objects.create(name="code.sms", channel="sms")
    publish(create_version(sms, {"text": "{{ code }}"}))
    push = Template.objects.create(name="code.push", channel="push")
    publish(create_version(push, {"title": "Code", "body": "{{ code }}"}))
    save_recipient(
        "customer-17",
        addresses={"email": "ada@example.org", "push": ["a" * 40, "b" * 40]},
        test=True,
    )
    save_chain(
        "code",
        [
            {"channel": "sms", "wait": 60},
            {"channel": "push", "wait": 120},
            {"channel": "email"},
        ],
        template="code",
        expires=3600,
        test=True,
    )
    body: dict[str, Any] = {
        "chain": "code",
        "to": {"recipient": "customer-17"},
        "context": {"code": "1"},
    }
    started = send_chain(**body, test=True, category="security", idempotency_key="k")
    steps = [(row.chain_step, row.channel, row.recipient) for row in rows(started)]
    assert sorted(steps) == [
        (2, "push", "a" * 40),
        (2, "push", "b" * 40),
        (3, "email", "ada@example.org"),
    ]
    assert started.notifications == [row.id for row in rows(started)]
    again = send_chain(**body, test=True, category="security", idempotency_key="k")
    assert again.notifications == started.notifications
    assert started.skipped == [{"step": 1, "channel": "sms", "reason": "no_address"}]
    first, other, mail = rows(started)
    assert first.status == other.status == "queued"
    assert mail.due_at
    assert mail.expires_at
    assert 100 < (mail.due_at - mail.created_at).total_seconds() < 125
    deliver(first, other)  # both devices
    assert [row.status for row in rows(started)] == ["sent", "sent", "scheduled"]
    personal_data.forget("customer-17", project="default")
    assert [row.recipient for row in rows(started)] == ["forgotten"] * 3
    run = ChainRun.objects.get(pk=started.id)
    assert (run.recipient_key, run.idempotency_key) == ("", "")


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"chain": "nobody"}, "unknown-chain", "chain"),
    ({"chain": chain()}, "invalid-chain", "steps"),
    ({"chain": chain(*[step("a", 1)] * 11)}, "invalid-chain", "steps"),
    ({"chain": chain(step("a"), step("b"))}, "invalid-chain", "steps.0.wait"),
    ({"chain": chain(step("a", 0.1), step("b"))}, "invalid-chain", "steps.0.wait"),
    ({"chain": chain(step("a", 1e9), step("b"))}, "invalid-chain", "steps.0.wait"),
    ({"chain": chain(step("a", 60), step("b"), expires=60)}, "invalid-chain", "steps.0.wait"),
    ({"chain": chain(step("a", 60), step("b")), "expires": 30}, "invalid-chain", "expires"),
    ({"chain": chain(step("a", channel="fax"))}, "unknown-channel", "steps.0.channel"),
    (
        {"chain": chain(step("a", 1), step("b", body="", template="x"))},
        "unknown-template",
        "steps.1.template",
    ),
    ({"chain": chain(step("a", body=""))}, "missing-content", "steps.0.template"),
    ({"chain": chain(step("a"), stop_on="never")}, "invalid-field", "stop_on"),
    (
        {"chain": chain({"channel": "sms", "body": "B"})},
        "invalid-field",
        "recipients.sms",
    ),
    (
        {"chain": chain({"channel": "simulator", "body": "B"}), "to": {"recipient": "nobody"}},
        "unknown-recipient",
        "to.recipient",
    ),
    (
        {"chain": chain({"channel": "email", "body": "B"}), "recipients": {"email": "x"}},
        "malformed-recipient",
        "steps.0.recipient",
    ),
    (
        {"chain": chain(step("a", 1), step("b", from_email="a@example.org"))},
        "invalid-field",
        "steps.1.from_email",
    ),
    (
        {"chain": chain(step("a@example.org", channel="email", from_email="no address"))},
        "invalid-field",
        "steps.0.from_email",
    ),
    ({"chain": chain(step("a", account="none"))}, "unknown-account", "steps.0.account"),
    ({"chain": chain(step("a", account="N" * 51))}, "invalid-field", "steps.0.account"),
    ({"chain": chain(step("a")), "category": "none"}, "unknown-category", "steps.0.category"),
    ({"chain": chain(step("a")), "recipients": {"fax": "1"}}, "unknown-channel", "recipients"),
]


@pytest.mark.parametrize(("body", "kind", "field"), BAD)
def test_a_chain_that_cannot_be_sent_is_refused_by_field(
    call: Caller, body: dict[str, Any], kind: str, field: str
) -> None:
    answer = call("POST", "/chain-runs", body)
    said = answer.json()
    assert (answer.status_code, said["type"], said["field"]) == (
        422,
        f"/api/v1/problems/{kind}",
        field,
    ), said
    assert not ChainRun.objects.exists()
    assert not Notification.objects.exists()


def test_a_step_by_mail_goes_from_a_sender_of_its_own() -> None:
    ProviderAccount.objects.create(
        name="mail-a",
        channel="email",
        kind="smtp",
        settings={"from": "shop@example.org", "senders": ["alarm@example.org"]},
    )
    accounts.forget()
    mail = step("ada@example.org", channel="email", subject="S")
    started = send_chain(chain({**mail, "from_email": "Alarm <alarm@example.org>"}))
    kept = rows(started)[0].mail
    assert kept is not None
    assert kept.fields["from_email"] == "Alarm <alarm@example.org>"
    with pytest.raises(errors.InvalidField) as refused:
        save_chain("alarm", [{**mail, "from_email": "eve@example.org"}])
    assert refused.value.field == "steps.0.from_email"


WIDE = {code: code + 0xFEE0 for code in range(ord("!"), ord("~") + 1)}


@pytest.mark.parametrize("sender", ["eve@example.org", "Eve <eve@example.org>", "alarm@example"])
def test_a_sender_in_full_width_letters_is_refused_for_a_step_as_for_a_send(sender: str) -> None:
    ProviderAccount.objects.create(
        name="mail-a", channel="email", kind="simulator", settings={"from": "alarm@example.org"}
    )
    accounts.forget()
    mail: dict[str, Any] = {"channel": "email", "recipient": "ada@example.org", "body": "B"}
    given = {**mail, "from_email": sender.translate(WIDE)}
    messages = set()
    for ask in (
        lambda: send(**given),
        lambda: save_chain("alarm", [given]),
        lambda: send_chain(chain(given)),
    ):
        with pytest.raises(errors.InvalidField) as refused:
            ask()
        assert refused.value.field.endswith("from_email")
        messages.add(refused.value.message)
    assert len(messages) == 1
    own = {**mail, "from_email": "Alarm <alarm@example.org>".translate(WIDE)}
    assert (send(**own).status, len(rows(send_chain(chain(own))))) == ("queued", 1)


def test_a_step_goes_by_the_account_that_it_names(deliver: Deliver) -> None:
    for name in ("first", "second"):
        ProviderAccount.objects.create(name=name, channel="simulator", kind="simulator")
    accounts.forget()
    steps = [
        step("ada?result=permanent", 60, account="first"),
        step("bob", 60, account="second"),
        step("eve"),
    ]
    started = send_chain(chain(*steps))
    for row in rows(started):
        deliver(row)
    assert [row.provider for row in rows(started)] == ["first", "second", ""]
    ProviderAccount.objects.filter(name="first").delete()
    accounts.forget()
    with pytest.raises(errors.UnknownAccount) as refused:
        save_chain("alarm", steps)
    assert refused.value.field == "steps.0.account"


def test_a_step_whose_account_was_deleted_has_the_next_one_sent_at_once(deliver: Deliver) -> None:
    for name in ("first", "second"):
        ProviderAccount.objects.create(name=name, channel="simulator", kind="simulator")
    accounts.forget()
    started = send_chain(chain(step("ada", 60, account="first"), step("bob")))
    ProviderAccount.objects.filter(name="first").delete()
    accounts.forget()
    deliver(rows(started)[0])
    first, second = rows(started)
    assert first.status == "failed"
    assert second.due_at is not None
    assert second.due_at <= clock.now()
    deliver(second)
    assert rows(started)[1].provider == "second"


def test_over_http_a_run_tells_its_story_and_reading_ends_it(
    call: Caller, deliver: Deliver, age: Age, admin_client: Client
) -> None:
    made = call.ok("POST", "/chains", {"name": "code", **chain(step("ada", 60), step("bob"))})
    assert made["steps"][0]["wait"] == 60
    call.ok(
        "POST", "/chains", {"name": "code", **chain(step("ada", 60), step("bob"), stop_on="read")}
    )
    assert [chain["stop_on"] for chain in call.ok("GET", "/chains")] == ["read"]
    run = call.ok("POST", "/chain-runs", {"chain": "code"}, Idempotency_Key="k")
    assert (run["state"], [step["status"] for step in run["steps"]]) == (
        "running",
        ["queued", "scheduled"],
    )
    assert call("POST", "/chain-runs", {"chain": "code"}, Idempotency_Key="k").status_code == 200
    first, second = Notification.objects.order_by("chain_step")
    assert call("POST", f"/notifications/{first.id}/read").status_code == 409
    deliver(first)
    read = call.ok("POST", f"/notifications/{first.id}/read")
    assert read["read_at"]
    assert read["status"] == "delivered"
    assert call.ok("POST", f"/notifications/{first.id}/read")["read_at"] == read["read_at"]
    age(second)
    deliver(second)
    ended = call.ok("GET", run["url"].removeprefix("/api/v1"))
    assert (ended["state"], ended["steps"][1]["reason"]) == ("reached", "chain_reached")
    shown = call.ok("GET", f"/notifications/{second.id}")
    assert (shown["chain_run"], shown["chain_step"]) == (run["id"], 2)
    titles = [event["title"] for event in shown["trace"]]
    assert "Step 1 of the chain, by simulator: delivered" in titles
    page = admin_client.get(f"/admin/notifications/notification/{second.id}/change/")
    assert "Step 1 of the chain" in page.content.decode()
    other = call.ok("POST", "/chain-runs", {"chain": "code"})
    stopped = call.ok("POST", f"/chain-runs/{other['id']}/cancel")
    assert stopped["state"] == "unreached"
    assert call("DELETE", "/chains/code").status_code == 204
    assert call("DELETE", "/chains/code").status_code == 404


def test_the_form_of_the_admin_says_beside_the_field_what_is_wrong(admin_client: Client) -> None:
    form = {"project": "default", "name": "code", "stop_on": "sent", "steps": "[]"}
    page = admin_client.post("/admin/notifications/chain/add/", form)
    assert page.status_code == 200
    assert not Chain.objects.exists()
    form["steps"] = '[{"channel": "sms", "body": "B"}, {"channel": "email", "body": "B"}]'
    page = admin_client.post("/admin/notifications/chain/add/", form)
    assert "steps.0.wait: Say how many seconds" in page.content.decode()
    form["steps"] = form["steps"].replace('"sms"', '"sms", "wait": 60')
    assert admin_client.post("/admin/notifications/chain/add/", form).status_code == 302
    assert "sms → email" in admin_client.get("/admin/notifications/chain/").content.decode()
    again = admin_client.post("/admin/notifications/chain/add/", form)
    assert again.context["adminform"].form.errors == {"name": [TAKEN]}
