"""Channels whose recipients are of several kinds: each goes to a provider of its kind."""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from notifications.core import errors
from notifications.core.attempt import Outcome, Report, Result
from notifications.db import clock
from notifications.delivery import claims, outcomes
from notifications.models import Notification, OutboxMessage, Suppression
from notifications.submission import send


@pytest.fixture
def subscription(httpserver: HTTPServer) -> str:
    public = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    )
    keys = {
        "p256dh": urlsafe_b64encode(public).decode(),
        "auth": urlsafe_b64encode(bytes(16)).decode(),
    }
    return json.dumps({"endpoint": httpserver.url_for("/browser"), "keys": keys})


def test_tokens_and_subscriptions_go_each_to_their_own_provider(
    push_accounts: None, subscription: str, deliver: Callable[..., Any]
) -> None:
    recipients = ["token-1", subscription] * 4
    rows = deliver(*(send(channel="push", recipient=r, subject="S", body="B") for r in recipients))
    assert [(row.status, row.provider) for row in rows] == [
        ("sent", "fcm-a"),
        ("sent", "web-a"),
    ] * 4
    assert {attempt.choice for row in rows for attempt in row.attempts.all()} == {"only account"}
    assert not Suppression.objects.exists()


def test_slack_beside_apprise_gets_what_is_slacks(
    account: Callable[..., Any],
    httpserver: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    deliver: Callable[..., Any],
) -> None:
    monkeypatch.setenv("SECRET_SLACK", "xoxb-1")
    monkeypatch.setenv("SECRET_TEAM", f"json://127.0.0.1:{httpserver.port}/team/{{recipient}}")
    url = {"url": httpserver.url_for("")}
    account("slack-a", "slack", "chat", settings=url, secrets={"token": "env:SECRET_SLACK"})
    account("team-a", "apprise", "chat", secrets={"url": "env:SECRET_TEAM"})
    httpserver.expect_request("/api/chat.postMessage").respond_with_json(
        {"ok": True, "channel": "C1", "ts": "1"}
    )
    rows = deliver(
        *(send(channel="chat", recipient=r, body="B") for r in ["#alerts", "C024BE91L"] * 3)
    )
    assert {(row.status, row.provider) for row in rows} == {("sent", "slack-a")}


def test_a_recipient_that_no_account_takes_is_refused_at_once(
    push_accounts: None, account: Callable[..., Any]
) -> None:
    with pytest.raises(errors.MalformedRecipient, match="send to this kind of recipient"):
        send(channel="push", recipient='{"endpoint": 7}', subject="S", body="B")


def test_a_recipient_that_no_account_takes_any_more_ends_without_a_suppression(
    account: Callable[..., Any], deliver: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = account("any-a", channel="push")
    waiting = send(channel="push", recipient="token-1", subject="S", body="B")
    row.delete()
    monkeypatch.setenv("SECRET_VAPID", "x")
    account("web-a", "webpush", "push", secrets={"vapid_private_key": "env:SECRET_VAPID"})
    [ended] = deliver(waiting)
    assert (ended.status, ended.attempts.get().code) == ("failed", "no_account")
    assert not Suppression.objects.exists()


def test_a_push_that_no_account_could_take_is_refused_at_once(
    push_accounts: None, subscription: str
) -> None:
    for recipient in ("token-1", subscription):
        with pytest.raises(errors.InvalidField) as refused:
            send(channel="push", recipient=recipient, subject="S", body="Ж" * 2500)
        assert refused.value.field == "body"


@pytest.fixture
def endpoint(
    httpserver: HTTPServer, settings: Settings, transactional_db: None
) -> Callable[..., Any]:
    """Accept a webhook to an endpoint that answers with these statuses, one after the other."""
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True
    settings.WEBHOOK_SECRETS = ["whsec_" + b64encode(bytes(32)).decode()]

    def accept(*statuses: Any, **fields: Any) -> Notification:
        for status in statuses:
            httpserver.expect_ordered_request("/hook").respond_with_data("", status)
        url = httpserver.url_for("/hook")
        return send(**{"channel": "webhook", "recipient": url, "body": "{}", **fields})

    return accept


@pytest.mark.parametrize("status", [400, 404, 302, 401, 500])
def test_an_endpoint_in_a_deploy_is_tried_until_the_deadline(
    endpoint: Callable[..., Any], deliver: Callable[..., Any], status: int
) -> None:
    row = endpoint(status)
    [row] = deliver(row)
    assert (row.status, row.attempt_count) == ("scheduled", 1)
    type(row).objects.filter(id=row.id).update(attempt_count=50, status="queued")
    [row] = deliver(row)
    assert row.status == "scheduled"
    assert not Suppression.objects.exists()


def test_an_endpoints_own_number_of_attempts_holds(
    endpoint: Callable[..., Any], deliver: Callable[..., Any]
) -> None:
    [row] = deliver(endpoint(404, retry={"max_attempts": 1}))
    assert row.status == "failed"


def test_gone_disables_an_endpoint_until_somebody_lifts_it(
    endpoint: Callable[..., Any], deliver: Callable[..., Any]
) -> None:
    [gone] = deliver(endpoint(410))
    assert gone.status == "failed"
    kept = Suppression.objects.get()
    assert (kept.recipient, kept.reason) == (gone.recipient, "endpoint_gone")
    assert endpoint().status == "suppressed"


def test_a_success_enables_an_endpoint_again(
    endpoint: Callable[..., Any], deliver: Callable[..., Any]
) -> None:
    [under_way] = claims.claim([endpoint(410).id])
    deliver(endpoint())
    assert Suppression.objects.filter(lifted_at=None).exists()
    took = Report(under_way, Outcome(Result.SENT), "webhook", started_at=clock.now())
    outcomes.record([took], worker="test")
    assert not Suppression.objects.filter(lifted_at=None).exists()


def test_an_own_text_is_made_as_cheap_as_a_templates(
    account: Callable[..., Any],
    text: Callable[..., Notification],
    deliver: Callable[..., Any],
    settings: Settings,
) -> None:
    account("box", "outbox")
    dear = "It\u2019s\u00a0\u201cready\u201d \u2013 call us\u2026"
    [row] = deliver(text(body=dear))
    assert OutboxMessage.objects.get().content["text"] == 'It\'s "ready" - call us...'
    assert row.segments == 1
    settings.TEMPLATES_KEEP_SMS_TYPOGRAPHY = True
    deliver(text(body=dear))
    texts = {kept.content["text"] for kept in OutboxMessage.objects.all()}
    assert dear.replace("\u00a0", " ") in texts
