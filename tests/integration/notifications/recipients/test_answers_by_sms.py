"""What recipients answer by SMS: STOP, START and HELP, and what a chain waits for."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from pytest_django import Settings

from notifications.chains import send_chain
from notifications.core.world import World
from notifications.db import clock
from notifications.maintenance import retention
from notifications.models import (
    Consent,
    Notification,
    Project,
    ProviderAccount,
    Recipient,
    Suppression,
    TakenReply,
)
from notifications.providers import accounts
from notifications.providers.twilio import signature
from notifications.recipients import suppressions
from notifications.submission import choose_preferences, save_recipient, send
from tests.integration.notifications.recipients.preferring import PUBLIC, TO, _outbox, ada

__all__ = ["_outbox", "ada"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def answer(client: Client, account: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Send a text to one of our numbers at Twilio, as Twilio tells of it."""
    monkeypatch.setenv("SECRET_TWILIO", "12345")
    for name in ("sms-a", "sms-b"):
        row = account(name)
        row.kind = "twilio"
        row.settings = {"account_sid": "AC1", "from": "+15005550006"}
        row.secrets = {"auth_token": "env:SECRET_TWILIO"}
        row.save()
    accounts.forget()

    def answer(text: str, at: str = "sms-a", **more: str) -> None:
        form = {"SmsStatus": "received", "From": "+4366412345678", "Body": text, **more}
        signed = signature("12345", f"{PUBLIC}/webhooks/{at}", list(form.items()))
        said = client.post(
            f"/webhooks/{at}",
            urlencode(form),
            content_type="application/x-www-form-urlencoded",
            headers={"X-Twilio-Signature": signed},
        )
        assert said.status_code == 204

    return answer


def test_stop_start_and_help_by_sms(
    answer: Callable[..., None], ada: Recipient, settings: Settings
) -> None:
    sms: dict[str, Any] = {"channel": "sms", "body": "Hi"}
    known, plain = {**sms, **TO}, {**sms, "recipient": "+4366412345678"}
    answer(" Stop. ")
    ada.refresh_from_db()
    assert ada.choices == {"": {"sms": False}}
    assert (Consent.objects.get().means, Consent.objects.get().text) == ("sms", " Stop. ")
    assert [send(**known).status, send(**plain).status] == ["suppressed", "suppressed"]
    codes = [send(**known, category="security"), send(**plain, category="security")]
    assert [row.status for row in codes] == ["queued", "queued"]
    answer("please stop that")  # no such word alone
    answer("whatever", OptOutType="START")
    ada.refresh_from_db()
    assert ada.choices == {}
    assert [send(**known).status, send(**plain).status] == ["queued", "queued"]
    answer("HELP")
    before = Notification.objects.count()
    settings.SMS_HELP = "Shop: call +43 1 234. STOP to end."
    answer("HELP", OptOutType="HELP")  # Twilio has answered that
    assert Notification.objects.count() == before
    answer("HELP")
    assert Notification.objects.count() == before + 1
    assert Notification.objects.latest("created_at").body.startswith("Shop")
    assert Suppression.objects.filter(lifted_at=None).count() == 0


@pytest.mark.parametrize(
    "text",
    [
        "“STOP”",
        "\uff33\uff34\uff2f\uff30",
        "\u200eSTOP\u200b",
        "Arre\u0302t",
        "stop 🛑",
        "STOP!!",
        "s t o p",
        "Unsubscribe",
        "İPTAL",
        "iptal",
        "СТОП",
        "停止",
        "Baja",
        "ARRÊTÉ",
        "abmelden",
        "Opt-Out",
        "ยกเลิก",
    ],
)
def test_stop_is_known_however_a_phone_writes_it(
    answer: Callable[..., None], ada: Recipient, text: str
) -> None:
    answer(text)
    ada.refresh_from_db()
    assert ada.choices == {"": {"sms": False}}


def test_start_takes_back_what_stop_did_and_nothing_else(
    answer: Callable[..., None], ada: Recipient
) -> None:
    """What was refused on the page, or at another number, in whichever project, stays."""
    Project.objects.create(name="shop")
    world = World("shop")
    bob = save_recipient("bob", project="shop", addresses={"sms": "+4366412345678"})
    of_shop: dict[str, Any] = {"channel": "sms", "body": "Hi", "project": "shop"}
    choose_preferences("bob", {"": {"sms": False}}, project="shop")
    suppressions.suppress("sms", "+4366412345678", "unsubscribed", world=world, source="sms-b")
    answer("START")
    bob.refresh_from_db()
    assert bob.choices == {"": {"sms": False}}
    assert send(**of_shop, recipient="+4366412345678").reason == "unsubscribed"
    answer("STOP")
    assert send(channel="sms", body="Hi", **TO).status == "suppressed"
    answer("START")
    assert send(channel="sms", body="Hi", **TO).status == "queued"
    bob.refresh_from_db()
    assert bob.choices == {"": {"sms": False}}
    assert send(**of_shop, recipient="+4366412345678").reason == "unsubscribed"


def test_stop_to_two_accounts_is_taken_back_by_start_to_both(
    answer: Callable[..., None], ada: Recipient
) -> None:
    known: dict[str, Any] = {"channel": "sms", "body": "Hi", **TO}
    plain: dict[str, Any] = {"channel": "sms", "body": "Hi", "recipient": "+4366412345678"}
    for first, second in (("sms-a", "sms-b"), ("sms-b", "sms-a")):
        answer("STOP", at="sms-a")
        answer("STOP", at="sms-b")
        answer("START", at=first)
        assert [send(**fields).status for fields in (known, plain)] == ["suppressed", "suppressed"]
        answer("START", at=first)  # said again it takes no more back
        assert [send(**fields).status for fields in (known, plain)] == ["suppressed", "suppressed"]
        answer("START", at=second)
        assert [send(**fields).status for fields in (known, plain)] == ["queued", "queued"]
    suppressions.suppress("sms", "+4366412345678", "hard_bounce")
    answer("STOP")
    answer("START")
    assert send(**plain).reason == "hard_bounce"
    assert send(**plain, category="security").reason == "hard_bounce"


def test_an_answer_by_sms_ends_a_chain_that_asks_for_one(
    answer: Callable[..., None], ada: Recipient
) -> None:
    step: dict[str, Any] = {"channel": "sms", "body": "Disk is full. Answer OK."}
    steps = [{**step, "wait": 300}, {"channel": "email", "subject": "Disk", "body": "Full"}]
    runs = {
        stop: send_chain({"steps": steps, "stop_on": stop}, **TO) for stop in ("read", "answered")
    }
    sent = Notification.objects.filter(channel="sms")
    sent.update(status="sent", provider="sms-a", sent_at=clock.now(), due_at=None)
    answer("HELP")
    answer("OK", From="+4366400000000")
    answer("OK", at="sms-b")  # which sent nothing
    answer(" \n")
    assert not Notification.objects.exclude(read_at=None).exists()
    answer("Yes!")
    read = Notification.objects.exclude(read_at=None).get()
    assert (read.chain_run, read.status) == (runs["answered"].id, "delivered")
    mails = Notification.objects.filter(channel="email")
    assert {row.chain_run: (row.status, row.reason) for row in mails} == {
        runs["answered"].id: ("cancelled", "chain_reached"),
        runs["read"].id: ("scheduled", ""),
    }


def test_stop_to_an_account_that_is_gone_is_taken_back_by_start_to_another(
    answer: Callable[..., None], ada: Recipient
) -> None:
    known: dict[str, Any] = {"channel": "sms", "body": "Hi", **TO}
    plain: dict[str, Any] = {"channel": "sms", "body": "Hi", "recipient": "+4366412345678"}
    answer("STOP", at="sms-a")
    ProviderAccount.objects.filter(name="sms-a").delete()
    accounts.forget()
    answer("START", at="sms-b")
    assert [send(**fields).status for fields in (known, plain)] == ["queued", "queued"]


def test_a_text_that_is_posted_again_does_nothing_again(
    answer: Callable[..., None], ada: Recipient, settings: Settings
) -> None:
    settings.SMS_HELP = "Shop: call +43 1 234."
    answer("STOP", MessageSid="SM1")
    answer("START", MessageSid="SM2")
    answer("STOP", MessageSid="SM1")
    assert send(channel="sms", body="Hi", **TO).status == "queued"
    before = Notification.objects.count()
    for _ in range(2):
        answer("HELP", MessageSid="SM3")
    assert Notification.objects.count() == before + 1
    answer("STOP", at="sms-b", MessageSid="SM1")  # another account's
    assert send(channel="sms", body="Hi", **TO).status == "suppressed"
    TakenReply.objects.update(received_at=clock.now() - timedelta(days=31))
    retention.prune()
    assert not TakenReply.objects.exists()


def test_further_words_of_stop_and_start_are_a_setting(
    answer: Callable[..., None], ada: Recipient, settings: Settings
) -> None:
    settings.SMS_STOP_WORDS, settings.SMS_START_WORDS = ["Lopeta jo"], ["Jatka"]
    known: dict[str, Any] = {"channel": "sms", "body": "Hi", **TO}
    answer("LOPETA JO!")
    assert send(**known).status == "suppressed"
    answer("jatka")
    assert send(**known).status == "queued"


@pytest.mark.parametrize(
    ("kept", "sender"),
    [
        ("+525512345678", "+5215512345678"),  # as networks gave it until 2019, and some still do
        ("+5491123456789", "+541123456789"),
        ("+541123456789", "+5491123456789"),
    ],
)
def test_stop_counts_in_each_form_in_which_a_network_gives_the_sender(
    answer: Callable[..., None], kept: str, sender: str
) -> None:
    sms: dict[str, Any] = {"channel": "sms", "recipient": kept, "body": "Hi"}
    answer("STOP", From=sender)
    assert send(**sms).status == "suppressed"
    answer("START", From=sender)
    assert send(**sms).status == "queued"


def test_a_text_from_a_short_code_does_nothing(
    answer: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    answer("STOP", From="32665")
    assert not Suppression.objects.exists()
    assert "reply_from_no_number" in caplog.text
    assert "ERROR" not in caplog.text
