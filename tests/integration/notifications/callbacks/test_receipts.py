"""Receipts as providers send them: signed, forged, early, late, doubled, out of order."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db.models import F
from django.test import Client
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from notifications.callbacks import receipts
from notifications.channels.base import Receipt
from notifications.models import (
    Attempt,
    FailedDelivery,
    PendingReceipt,
    ProviderAccount,
    Suppression,
)
from notifications.providers import accounts
from notifications.providers.twilio import signature
from notifications.submission import send

PUBLIC = "https://n.example.org"


def told(event: Any, sent: Any, **more: Any) -> Receipt:
    [attempt] = sent.attempts.all()
    return Receipt(event, provider_message_id=attempt.provider_message_id, **more)


@pytest.fixture
def sent(account: Any, text: Any, deliver: Callable[..., Any]) -> Any:
    account("sms-a")
    return deliver(text())[0]


def take(*given: Any) -> None:
    receipts.take(given, account="sms-a", channel="sms")


def fresh(row: Any) -> Any:
    row.refresh_from_db()
    return row


def test_a_receipt_moves_sent_to_delivered(sent: Any) -> None:
    take(told("delivered", sent))
    assert fresh(sent).status == "delivered"


def test_a_failed_one_becomes_a_dead_letter_with_its_history(sent: Any) -> None:
    take(told("failed", sent, code="30003", detail="Unreachable"))
    assert (fresh(sent).status, sent.reason) == ("failed", "failed")
    dead = FailedDelivery.objects.get()
    assert (dead.code, dead.provider, dead.reason) == ("30003", "sms-a", "failed")
    assert [entry["result"] for entry in dead.history] == ["sent"]


@pytest.mark.parametrize(
    ("event", "status", "reason", "scope"),
    [
        ("bounced", "failed", "hard_bounce", "everything"),
        ("complained", "delivered", "complaint", "everything"),
        ("unsubscribed", "delivered", "unsubscribed", "marketing"),
    ],
)
def test_bounces_complaints_and_opt_outs_suppress(
    sent: Any, event: str, status: str, reason: str, scope: str
) -> None:
    take(told(event, sent))
    assert fresh(sent).status == status
    kept = Suppression.objects.get()
    assert (kept.recipient, kept.reason, kept.scope) == (sent.recipient, reason, scope)


def test_doubled_and_contradicting_receipts_change_nothing_more(sent: Any) -> None:
    take(told("delivered", sent), told("delivered", sent), told("failed", sent))
    assert fresh(sent).status == "delivered"
    assert not FailedDelivery.objects.exists()
    assert not PendingReceipt.objects.exists()


def test_an_unknown_message_does_no_harm_and_is_forgotten_after_an_hour(sent: Any) -> None:
    take(Receipt("delivered", provider_message_id="never ours"))
    assert fresh(sent).status == "sent"
    hours = timedelta(hours=2)
    PendingReceipt.objects.update(due_at=F("due_at") - hours, received_at=F("received_at") - hours)
    receipts.tick()
    assert not PendingReceipt.objects.exists()


def test_another_accounts_message_is_not_touched(sent: Any) -> None:
    receipts.take([told("failed", sent)], account="sms-b", channel="sms")
    assert fresh(sent).status == "sent"


def test_a_receipt_that_is_quicker_than_the_worker_counts_later(
    account: Any, text: Any, deliver: Callable[..., Any]
) -> None:
    account("sms-a")
    row = text()
    take(Receipt("delivered", provider_message_id=f"simulated-{row.id}"))
    assert PendingReceipt.objects.count() == 1
    deliver(row)
    PendingReceipt.objects.update(due_at=F("due_at") - timedelta(seconds=5))
    receipts.tick()
    assert fresh(row).status == "delivered"
    assert not PendingReceipt.objects.exists()


def test_the_simulator_sends_late_and_failing_receipts(
    account: Any, text: Any, deliver: Callable[..., Any]
) -> None:
    account("sms-a", settings={"behaviour": "receipt=bounced&receipt_after=30"})
    [row] = deliver(text())
    receipts.tick()
    assert fresh(row).status == "sent"
    PendingReceipt.objects.update(due_at=F("due_at") - timedelta(seconds=30))
    receipts.tick()
    assert (fresh(row).status, row.reason) == ("failed", "bounced")


# --- through the web ----------------------------------------------------------------------


def test_twilios_own_example_has_this_signature() -> None:
    # The example of https://www.twilio.com/docs/usage/security, as its libraries test it.
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert signature("12345", url, list(form.items())) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.fixture
def twilio(
    account: Any,
    text: Any,
    deliver: Callable[..., Any],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """A text that Twilio took as SM1."""
    settings.PUBLIC_URL = PUBLIC
    monkeypatch.setenv("SECRET_TWILIO", "12345")
    row = account("sms-a")
    sent = deliver(text())[0]
    Attempt.objects.update(provider_message_id="SM1")
    row.kind = "twilio"
    row.settings = {"account_sid": "AC1", "from": "+15005550006"}
    row.secrets = {"auth_token": "env:SECRET_TWILIO"}
    row.save()
    accounts.forget()
    return sent


AS_A_FORM: Any = {"content_type": "application/x-www-form-urlencoded"}


def test_twilios_callback_is_believed_when_signed(client: Client, twilio: Any) -> None:
    form = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+4366412345678"}
    signed = signature("12345", f"{PUBLIC}/webhooks/sms-a", list(form.items()))
    answer = client.post(
        "/webhooks/sms-a", urlencode(form), headers={"X-Twilio-Signature": signed}, **AS_A_FORM
    )
    assert answer.status_code == 204
    assert fresh(twilio).status == "delivered"


@pytest.mark.parametrize("token", ["", "wrong", "12345 of another body"])
def test_a_forged_callback_gets_403(client: Client, twilio: Any, token: str) -> None:
    form = {"MessageSid": "SM1", "MessageStatus": "failed"}
    signed = signature(token, f"{PUBLIC}/webhooks/sms-a", list(form.items())) if token else ""
    if token.startswith("12345"):
        signed = signature("12345", f"{PUBLIC}/webhooks/sms-a", [("MessageSid", "SM2")])
    answer = client.post(
        "/webhooks/sms-a", urlencode(form), headers={"X-Twilio-Signature": signed}, **AS_A_FORM
    )
    assert answer.status_code == 403
    assert fresh(twilio).status == "sent"


def test_a_status_on_the_way_is_no_receipt(client: Client, twilio: Any) -> None:
    form = {"MessageSid": "SM1", "MessageStatus": "queued"}
    signed = signature("12345", f"{PUBLIC}/webhooks/sms-a", list(form.items()))
    headers = {"X-Twilio-Signature": signed}
    answer = client.post("/webhooks/sms-a", urlencode(form), headers=headers, **AS_A_FORM)
    assert (answer.status_code, fresh(twilio).status) == (204, "sent")


def test_garbage_gets_400_and_an_unknown_account_404(client: Client, twilio: Any) -> None:
    assert client.post("/webhooks/sms-a", b"\xff", **AS_A_FORM).status_code == 400
    assert client.post("/webhooks/nobody").status_code == 404
    assert client.get("/webhooks/sms-a").status_code == 405


def test_a_provider_without_callbacks_believes_nobody(client: Client, account: Any) -> None:
    account("sms-a")
    assert client.post("/webhooks/sms-a", "{}", "application/json").status_code == 403


@pytest.fixture
def postmark(
    account: Any,
    deliver: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    transactional_db: None,
) -> Any:
    """A mail that Postmark took as message 1, with its callbacks protected by a password."""
    monkeypatch.setenv("SECRET_CREDENTIALS", '{"server_token": "x"}')
    monkeypatch.setenv("SECRET_HOOK", "hook:password")
    row = account("mail-a", channel="email")
    [sent] = deliver(send(channel="email", recipient="ada@example.org", subject="S", body="B"))
    Attempt.objects.update(provider_message_id="m-1")
    row.kind = "anymail"
    row.settings = {"service": "postmark", "from": "shop@example.org"}
    row.secrets = {"credentials": "env:SECRET_CREDENTIALS", "webhook": "env:SECRET_HOOK"}
    row.save()
    accounts.forget()
    return sent


BOUNCE = {
    "RecordType": "Bounce",
    "MessageID": "m-1",
    "Type": "HardBounce",
    "Email": "ada@example.org",
    "BouncedAt": "2026-01-01T00:00:00Z",
    "Description": "The server was unable to deliver your message",
}


def basic(credentials: Any) -> dict[Any, Any]:
    return {"Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}


def test_a_services_bounce_fails_the_mail_and_suppresses(client: Client, postmark: Any) -> None:
    answer = client.post(
        "/webhooks/mail-a",
        json.dumps(BOUNCE),
        "application/json",
        headers=basic("hook:password"),
    )
    assert answer.status_code == 204
    assert (fresh(postmark).status, postmark.reason) == ("failed", "bounced")
    assert Suppression.objects.get().reason == "hard_bounce"


def test_a_services_soft_bounce_fails_the_mail_only(client: Client, postmark: Any) -> None:
    soft = json.dumps({**BOUNCE, "Type": "SoftBounce"})
    client.post("/webhooks/mail-a", soft, "application/json", headers=basic("hook:password"))
    assert (fresh(postmark).status, postmark.reason) == ("failed", "failed")
    assert not Suppression.objects.exists()


@pytest.mark.parametrize("headers", [{}, basic("hook:guess")])
def test_a_forged_bounce_gets_403(client: Client, postmark: Any, headers: Any) -> None:
    answer = client.post(
        "/webhooks/mail-a", json.dumps(BOUNCE), "application/json", headers=headers
    )
    assert answer.status_code == 403
    assert fresh(postmark).status == "sent"


@pytest.mark.parametrize("body", ["", "[]", "{}", "nonsense", '{"RecordType": 7}'])
def test_a_services_garbage_gets_400(client: Client, postmark: Any, body: str) -> None:
    answer = client.post(
        "/webhooks/mail-a", body, "application/json", headers=basic("hook:password")
    )
    assert answer.status_code in (204, 400)
    assert fresh(postmark).status == "sent"


# --- Amazon SES by SNS ----------------------------------------------------------------------


@pytest.fixture
def ses(
    account: Any,
    deliver: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    transactional_db: None,
) -> Any:
    """A mail that SES took as message ses-1; its events come by SNS, with a password."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    monkeypatch.setenv("SECRET_CREDENTIALS", json.dumps({"client_params": keys}))
    monkeypatch.setenv("SECRET_HOOK", "hook:password")
    row = account("mail-a", channel="email")
    [sent] = deliver(send(channel="email", recipient="ada@example.org", subject="S", body="B"))
    Attempt.objects.update(provider_message_id="ses-1")
    row.kind = "anymail"
    row.settings = {
        "service": "amazon_ses",
        "from": "shop@example.org",
        "options": {"client_params": {"region_name": "eu-central-1"}},
    }
    row.secrets = {"credentials": "env:SECRET_CREDENTIALS", "webhook": "env:SECRET_HOOK"}
    row.save()
    accounts.forget()
    return sent


@pytest.fixture
def sns_tells(client: Client) -> Callable[..., Any]:
    """Post an event of SES as SNS does."""

    def tell(kind: str, event: Any, credentials: str = "hook:password") -> Any:
        mail = {"messageId": "ses-1", "destination": ["ada@example.org"], "headers": [], "tags": {}}
        told = {"eventType": kind, "mail": mail, kind.lower(): event}
        notification = {
            "Type": "Notification",
            "MessageId": "sns-7",
            "TopicArn": "arn:aws:sns:eu-central-1:123456789012:ses",
            "Message": json.dumps(told),
            "Timestamp": "2026-01-01T00:00:00.000Z",
        }
        return client.post(
            "/webhooks/mail-a",
            json.dumps(notification),
            "text/plain; charset=UTF-8",
            headers={
                "X-Amz-Sns-Message-Type": "Notification",
                "X-Amz-Sns-Message-Id": "sns-7",
                **basic(credentials),
            },
        )

    return tell


@pytest.mark.parametrize(
    ("kind", "event", "status", "reasons"),
    [
        ("Delivery", {"recipients": ["ada@example.org"]}, "delivered", []),
        (
            "Bounce",
            {
                "bounceType": "Permanent",
                "bounceSubType": "General",
                "bouncedRecipients": [{"emailAddress": "ada@example.org"}],
                "timestamp": "2026-01-01T00:00:00.000Z",
            },
            "failed",
            ["hard_bounce"],
        ),
        (
            "Bounce",
            {
                "bounceType": "Transient",
                "bounceSubType": "MailboxFull",
                "bouncedRecipients": [{"emailAddress": "ada@example.org"}],
                "timestamp": "2026-01-01T00:00:00.000Z",
            },
            "failed",
            [],
        ),
        (
            "Complaint",
            {
                "complainedRecipients": [{"emailAddress": "ada@example.org"}],
                "timestamp": "2026-01-01T00:00:00.000Z",
            },
            "delivered",
            ["complaint"],
        ),
    ],
)
def test_what_ses_tells_by_sns_moves_the_mail(
    ses: Any,
    sns_tells: Callable[..., Any],
    kind: str,
    event: dict[str, Any],
    status: str,
    reasons: list[Any],
) -> None:
    assert sns_tells(kind, event).status_code == 204
    assert fresh(ses).status == status
    assert [s.reason for s in Suppression.objects.all()] == reasons


def test_a_subscription_of_sns_is_confirmed_with_the_accounts_keys(
    ses: Any, client: Client, httpserver: HTTPServer
) -> None:
    confirmed = """<ConfirmSubscriptionResponse><ConfirmSubscriptionResult>
        <SubscriptionArn>arn:aws:sns:eu-west-1:123456789012:ses:1</SubscriptionArn>
        </ConfirmSubscriptionResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>
        </ConfirmSubscriptionResponse>"""
    httpserver.expect_request("/", method="POST").respond_with_data(confirmed)
    row = ProviderAccount.objects.get()
    row.settings["options"]["client_params"]["endpoint_url"] = httpserver.url_for("")
    row.save()
    accounts.forget()
    wish = {
        "Type": "SubscriptionConfirmation",
        "TopicArn": "arn:aws:sns:eu-west-1:123456789012:ses",
        "Token": "t-1",
    }

    def ask(password: str) -> Any:
        headers = {"X-Amz-Sns-Message-Type": wish["Type"], **basic(f"hook:{password}")}
        body = json.dumps(wish)
        return client.post("/webhooks/mail-a", body, "text/plain", headers=headers).status_code

    assert ask("guess") == 403
    assert httpserver.log == []
    assert ask("password") == 204
    [(request, _)] = httpserver.log
    assert request.form["Action"] == "ConfirmSubscription"
    assert request.form["Token"] == "t-1"
    assert "Credential=test/" in request.headers["Authorization"]


@pytest.mark.parametrize("body", ["", "nonsense", "[]", '{"Type": "Notification", "Message": 7}'])
def test_what_is_no_event_of_ses_gets_400(ses: Any, client: Client, body: str) -> None:
    headers = {"X-Amz-Sns-Message-Type": "Notification", **basic("hook:password")}
    answer = client.post("/webhooks/mail-a", body, "text/plain", headers=headers)
    assert answer.status_code == 400
    assert fresh(ses).status == "sent"


def test_an_event_that_somebody_else_posts_gets_403(
    ses: Any, sns_tells: Callable[..., Any]
) -> None:
    event = {"recipients": ["ada@example.org"]}
    assert sns_tells("Delivery", event, "hook:guess").status_code == 403
    assert fresh(ses).status == "sent"
