"""Status callbacks: each final state is told once, signed, and through queues of their own."""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
import svix
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from notifications.callbacks import outbound
from notifications.core.errors import InvalidField
from notifications.models import Notification, Project
from notifications.providers import accounts
from notifications.submission import cancel, send


@pytest.fixture(autouse=True)
def _local(settings: Settings) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True


@pytest.fixture
def url(httpserver: HTTPServer) -> str:
    httpserver.expect_request("/status", method="POST").respond_with_data("", 200)
    return httpserver.url_for("/status")


@pytest.fixture
def call_back(deliver: Callable[..., Any]) -> Callable[..., Any]:
    """Make the callbacks that are due, and deliver them."""

    def call_back() -> Any:
        outbound.tick()
        waiting = Notification.objects.filter(channel="callback", status="queued")
        return deliver(*waiting)

    return call_back


def test_the_final_state_is_told_once_and_another_implementation_verifies_it(
    account: Any,
    text: Any,
    deliver: Callable[..., Any],
    call_back: Callable[..., Any],
    url: str,
    httpserver: HTTPServer,
    settings: Settings,
) -> None:
    account("sms-a")
    [row] = deliver(text(callback_url=url, reference="order 7", metadata={"shop": 1}))
    [callback] = call_back()
    assert callback.status == "sent"
    [(request, _)] = httpserver.log
    svix.Webhook(accounts.webhook_secrets()[0]).verify(request.data, dict(request.headers))
    told = json.loads(request.data)
    assert told["type"] == "notification.sent"
    assert told["data"] == {
        "id": str(row.id),
        "status": "sent",
        "reason": "",
        "channel": "sms",
        "reference": "order 7",
        "metadata": {"shop": 1},
    }
    assert "+43664" not in request.data.decode()
    assert call_back() == []


@pytest.mark.parametrize(("behaviour", "expected"), [("result=permanent", "failed"), ("", "sent")])
def test_whatever_ends_a_notification_is_told(
    account: Any,
    text: Any,
    deliver: Callable[..., Any],
    call_back: Callable[..., Any],
    url: str,
    httpserver: HTTPServer,
    behaviour: str,
    expected: str,
) -> None:
    account("sms-a", settings={"behaviour": behaviour})
    cancelled = text(callback_url=url, countdown=60)
    cancel(cancelled.id)
    deliver(text(callback_url=url))
    call_back()
    types = sorted(json.loads(request.data)["type"] for request, _ in httpserver.log)
    assert types == sorted(["notification.cancelled", f"notification.{expected}"])


def test_a_receipt_is_told_after_the_sending(
    account: Any,
    text: Any,
    deliver: Callable[..., Any],
    call_back: Callable[..., Any],
    url: str,
    httpserver: HTTPServer,
) -> None:
    account("sms-a")
    [row] = deliver(text(callback_url=url))
    call_back()
    Notification.objects.filter(pk=row.pk).update(status="delivered")  # plain SQL is seen, too
    call_back()
    types = [json.loads(request.data)["type"] for request, _ in httpserver.log]
    assert types == ["notification.sent", "notification.delivered"]


def test_a_refused_callback_is_retried_and_has_queues_of_its_own(
    account: Any,
    text: Any,
    deliver: Callable[..., Any],
    call_back: Callable[..., Any],
    httpserver: HTTPServer,
) -> None:
    account("sms-a")
    httpserver.expect_request("/down").respond_with_data("", 503)
    deliver(text(callback_url=httpserver.url_for("/down")))
    [callback] = call_back()
    assert (callback.status, callback.queue) == ("scheduled", "callback.low")
    assert callback.attempts.get().code == "HTTP 503"


def test_a_callback_has_no_callback(url: str, transactional_db: None) -> None:
    with pytest.raises(InvalidField, match="cannot have a callback_url"):
        send(channel="callback", recipient=url, body="{}", callback_url=url)
    row = send(channel="callback", recipient=url, body="{}")
    with pytest.raises(IntegrityError), transaction.atomic():
        Notification.objects.filter(pk=row.pk).update(callback_url=url)


@pytest.mark.parametrize("bad", ["ftp://example.org", "example.org", "http://a:b@example.org/"])
def test_what_is_no_url_is_refused_at_the_door(text: Any, bad: str) -> None:
    with pytest.raises(InvalidField, match="callback_url"):
        text(callback_url=bad)


def test_two_sweeps_tell_once(
    account: Any, text: Any, deliver: Callable[..., Any], url: str, in_threads: Any
) -> None:
    account("sms-a")
    deliver(*(text(callback_url=url) for _ in range(5)))

    def sweep() -> float:
        try:
            return outbound.tick()
        finally:
            connection.close()

    in_threads(3, sweep)
    assert Notification.objects.filter(channel="callback").count() == 5


def test_each_project_signs_by_a_secret_of_its_own(
    account: Any,
    text: Any,
    deliver: Callable[..., Any],
    call_back: Callable[..., Any],
    url: str,
    httpserver: HTTPServer,
) -> None:
    account("sms-a")
    for name in ("shop", "bank"):
        Project.objects.create(name=name)
    secrets = {}
    for name in ("default", "shop", "bank"):
        out = StringIO()
        call_command("webhook_secrets", "--project", name, stdout=out)
        secrets[name] = out.getvalue().split()[0]
    for name in secrets:
        deliver(text(callback_url=url, project=name))
        assert [row.status for row in call_back()] == ["sent"]
        request, _ = httpserver.log.pop()
        for whose, secret in secrets.items():
            check = svix.Webhook(secret)
            if whose == name:
                check.verify(request.data, dict(request.headers))
            else:
                with pytest.raises(svix.WebhookVerificationError):
                    check.verify(request.data, dict(request.headers))
    with pytest.raises(CommandError, match="no project"):
        call_command("webhook_secrets", "--project", "nobody")


def test_receivers_of_a_project_have_time_to_take_a_new_secret(settings: Settings) -> None:
    before = accounts.webhook_secrets("shop")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another"
    assert accounts.webhook_secrets("shop")[1:] == before
