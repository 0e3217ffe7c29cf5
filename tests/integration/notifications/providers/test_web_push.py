"""Web Push, against a local server that takes messages like a push service."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from notifications.channels.base import Fit
from tests.integration.notifications.providers.browser import Browser, encoded
from tests.integration.notifications.providers.http_answers import R, answers, last


def test_web_push_reaches_a_browser_that_alone_can_read_it(
    webpush: Any, browser: Browser, message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    answers(httpserver, "/push/1", "", 201, {"Location": "https://push.example/m/9"})
    content = {"title": "Hello", "body": "Wörld"}
    outcome = webpush.outcome_of(message("push", browser.subscription, content=content, ttl=30))
    assert (outcome.result, outcome.provider_message_id) == (R.SENT, "https://push.example/m/9")
    request = last(httpserver)
    assert browser.read(request.data) == content
    assert request.headers["TTL"] == "30"
    assert request.headers["Content-Encoding"] == "aes128gcm"
    assert request.headers["Authorization"].startswith("vapid t=")


@pytest.mark.parametrize(
    ("status", "expected", "reason"),
    [
        (410, R.PERMANENT, "invalid_recipient"),
        (404, R.PERMANENT, "invalid_recipient"),
        (413, R.PERMANENT, ""),
        (403, R.TRANSIENT, ""),
        (429, R.TRANSIENT, ""),
        (500, R.TRANSIENT, ""),
    ],
)
def test_a_push_services_refusals_are_classed(
    webpush: Any,
    browser: Browser,
    message: Callable[..., Any],
    httpserver: HTTPServer,
    status: int,
    expected: Any,
    reason: str,
) -> None:
    answers(httpserver, "/push/1", "", status)
    outcome = webpush.outcome_of(message("push", browser.subscription, content={"title": "Hi"}))
    assert (outcome.result, outcome.reason) == (expected, reason)


@pytest.mark.parametrize(
    "recipient",
    ["token", "[]", "{}", '{"endpoint": "x", "keys": {"p256dh": "AAAA", "auth": "AAAA"}}'],
)
def test_what_is_not_a_subscription_is_refused_but_not_dead(
    webpush: Any, message: Callable[..., Any], recipient: str
) -> None:
    outcome = webpush.outcome_of(message("push", recipient, content={"title": "Hi"}))
    assert (outcome.result, outcome.reason) == (R.PERMANENT, "")
    assert outcome.elsewhere


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("endpoint", "https://"),
        ("endpoint", "https://user@push.example/1"),
        ("endpoint", "https://[2001:db8::1]/1"),
        ("endpoint", "https://push .example/1"),
        ("endpoint", "https://push.example/\u200b1"),
        ("p256dh", encoded(b"\x04" + bytes(64))),  # no point of the curve
        ("p256dh", encoded(bytes(65))),
        ("auth", encoded(bytes(15))),
        ("auth", None),
    ],
)
def test_a_subscription_by_which_nobody_could_be_told_is_none(
    webpush: Any, browser: Browser, name: str, value: Any
) -> None:
    given = json.loads(browser.subscription)
    (given if name == "endpoint" else given["keys"])[name] = value
    assert webpush.takes(browser.subscription) is Fit.CERTAIN
    assert webpush.takes(json.dumps(given)) is Fit.NO


def test_a_subscription_is_not_a_token_of_fcm_but_not_dead(
    fcm: Any, webpush: Any, browser: Browser, message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    outcome = fcm.outcome_of(message("push", browser.subscription, content={"title": "Hi"}))
    assert (outcome.result, outcome.reason, outcome.elsewhere) == (R.PERMANENT, "", True)
    assert httpserver.log == []


def test_a_push_in_any_script_takes_up_to_what_push_services_take(
    webpush: Any, browser: Browser, message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    answers(httpserver, "/push/1", "", 201)
    text = "Ж" * 1980
    outcome = webpush.outcome_of(message("push", browser.subscription, content={"body": text}))
    assert outcome.result is R.SENT
    assert len(last(httpserver).data) <= 4096
    assert browser.read(last(httpserver).data) == {"body": text}


def test_vapid_is_signed_for_less_than_a_day(
    webpush: Any, browser: Browser, message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    answers(httpserver, "/push/1", "", 201)
    webpush.outcome_of(message("push", browser.subscription, content={"title": "Hi"}))
    token = last(httpserver).headers["Authorization"].partition("t=")[2].partition(",")[0]
    claims = json.loads(urlsafe_b64decode(token.split(".")[1] + "=="))
    ahead = int(claims["exp"]) - datetime.now(UTC).timestamp()
    assert 6 * 3600 < ahead < 23 * 3600


def test_a_subscription_into_the_private_network_is_refused(
    webpush: Any,
    provider: Callable[..., Any],
    browser: Browser,
    message: Callable[..., Any],
    httpserver: HTTPServer,
    settings: Settings,
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = False
    guarded = provider(
        "webpush", settings=webpush.account.settings, secrets=webpush.account.secrets
    )
    outcome = guarded.outcome_of(message("push", browser.subscription, content={"title": "Hi"}))
    assert (outcome.result, outcome.code) == (R.PERMANENT, "private_address")
    assert httpserver.log == []
