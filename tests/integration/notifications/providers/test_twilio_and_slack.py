"""Text messages by Twilio and Slack, against a local server that speaks like the real ones."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from notifications.channels.base import Fit
from tests.integration.notifications.providers.browser import Browser
from tests.integration.notifications.providers.http_answers import R, answers, last
from tests.unit.templates_engine.content import version

TWILIO_PATH = "/2010-04-01/Accounts/AC1/Messages.json"


def test_twilio_takes_a_text_with_its_time_to_live(
    twilio: Any, sms: Callable[..., Any], httpserver: HTTPServer, settings: Settings
) -> None:
    settings.PUBLIC_URL = "https://n.example.org"
    answers(httpserver, TWILIO_PATH, {"sid": "SM1", "status": "queued"}, 201)
    outcome = twilio.outcome_of(sms(ttl=90))
    assert (outcome.result, outcome.provider_message_id) == (R.SENT, "SM1")
    assert parse_qs(last(httpserver).data.decode()) == {
        "To": ["+4366412345678"],
        "From": ["+15005550006"],
        "Body": ["Grüße"],
        "ValidityPeriod": ["90"],
        "StatusCallback": ["https://n.example.org/webhooks/test-twilio"],
    }
    assert last(httpserver).authorization.parameters == {"username": "AC1", "password": "12345"}


@pytest.mark.parametrize(
    ("status", "body", "expected", "code", "reason"),
    [
        (400, {"code": 21211, "message": "no number"}, R.PERMANENT, "21211", "invalid_recipient"),
        (400, {"code": 21617, "message": "too long"}, R.PERMANENT, "21617", ""),
        (401, {"code": 20003, "message": "Authenticate"}, R.TRANSIENT, "HTTP 401", ""),
        (429, {"code": 20429, "message": "slow down"}, R.TRANSIENT, "20429", ""),
        (503, "<html>busy</html>", R.TRANSIENT, "HTTP 503", ""),
        (504, "<html>gateway</html>", R.UNKNOWN, "HTTP 504", ""),
        (201, "<html>a proxy's welcome</html>", R.UNKNOWN, "bad_answer", ""),
        (201, "[" * 100_000, R.UNKNOWN, "bad_answer", ""),
        (201, {"sid": None}, R.UNKNOWN, "bad_answer", ""),
    ],
)
def test_twilios_refusals_are_classed(
    twilio: Any,
    sms: Callable[..., Any],
    httpserver: HTTPServer,
    status: int,
    body: dict[str, Any] | str,
    expected: Any,
    code: str,
    reason: str,
) -> None:
    answers(httpserver, TWILIO_PATH, body, status)
    outcome = twilio.outcome_of(sms())
    assert (outcome.result, outcome.code, outcome.reason) == (expected, code, reason)


def test_twilio_is_told_the_sender_of_the_country(
    provider: Callable[..., Any], message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    service = "MG" + "0" * 32
    senders = {"+43": "Shop", "+43664": "+4366400", "+1": service}
    twilio = provider(
        "twilio",
        settings={
            "account_sid": "AC1",
            "from": "+15005550006",
            "senders": senders,
            "url": httpserver.url_for(""),
        },
        secrets={"auth_token": "12345"},
    )
    answers(httpserver, TWILIO_PATH, {"sid": "SM1"}, 201)
    told = {}
    for number in ("+4366412345678", "+43190000", "+12025550123", "+4930901820"):
        outcome = twilio.outcome_of(message("sms", number, content={"text": "Hi"}))
        assert outcome.result is R.SENT
        form = parse_qs(last(httpserver).data.decode())
        told[number] = form.get("From") or form["MessagingServiceSid"]
    assert told == {
        "+4366412345678": ["+4366400"],  # the longest prefix
        "+43190000": ["Shop"],
        "+12025550123": [service],
        "+4930901820": ["+15005550006"],
    }


def test_slack_takes_a_message(slack: Any, chat: Any, httpserver: HTTPServer) -> None:
    answers(httpserver, "/api/chat.postMessage", {"ok": True, "channel": "C1", "ts": "17.5"})
    outcome = slack.outcome_of(chat)
    assert (outcome.result, outcome.provider_message_id) == (R.SENT, "C1:17.5")
    assert last(httpserver).json == {"channel": "#alerts", "text": "Disk full"}
    assert last(httpserver).headers["Authorization"] == "Bearer xoxb-1"


def test_slack_answers_in_the_thread_of_a_message_that_it_took(
    slack: Any, message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    ts = "1503435956.000247"
    answers(httpserver, "/api/chat.postMessage", {"ok": True, "channel": "C024BE91L", "ts": ts})
    content = {"text": "Disk full"}
    first = slack.outcome_of(message("chat", "#alerts", content=content))
    assert slack.takes(first.provider_message_id) is Fit.CERTAIN
    slack.outcome_of(message("chat", first.provider_message_id, content=content))
    assert last(httpserver).json == {"channel": "C024BE91L", "thread_ts": ts, "text": "Disk full"}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            "{{ name }}: <{{ url }}|see it> & *now*",
            "Eve &lt;!channel&gt; &amp; co: <https://x.example/?a=1&amp;b=2|see it> & *now*",
        ),
        ("{{ 'a' ~ name ~ '<' }}", "aEve &lt;!channel&gt; &amp; co&lt;"),
        (
            "{% macro link(label) %}<{{ url }}|{{ label }}>{% endmacro %}{{ link(name) }}",
            "<https://x.example/?a=1&amp;b=2|Eve &lt;!channel&gt; &amp; co>",
        ),
        ("{{ link }}", "&lt;https://evil.example|Sign in&gt;"),
        ("{{ names|join(' & ') }}", "&lt;a&gt; &amp; b"),
        ("{{ name|upper }}", "EVE &lt;!CHANNEL&gt; &amp; CO"),
    ],
)
def test_a_value_is_no_markup_for_slack(
    slack: Any, message: Callable[..., Any], httpserver: HTTPServer, source: str, text: str
) -> None:
    answers(httpserver, "/api/chat.postMessage", {"ok": True, "channel": "C1", "ts": "17.5"})
    content = version("chat", text=source).render(
        {
            "name": "Eve <!channel> & co",
            "url": "https://x.example/?a=1&b=2",
            "link": "<https://evil.example|Sign in>",
            "names": ["<a>", "b"],
        }
    )
    assert slack.outcome_of(message("chat", "#alerts", content=content)).result is R.SENT
    assert last(httpserver).json["text"] == text
    # Other services get what was typed.
    assert content["text"] == text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@pytest.mark.parametrize(
    ("status", "body", "expected", "code"),
    [
        (200, {"ok": False, "error": "channel_not_found"}, R.PERMANENT, "channel_not_found"),
        (200, {"ok": False, "error": "invalid_auth"}, R.TRANSIENT, "invalid_auth"),
        (200, {"ok": False, "error": "fatal_error"}, R.UNKNOWN, "fatal_error"),
        (200, {"ok": "yes"}, R.UNKNOWN, "bad_answer"),
        (200, "<html>", R.UNKNOWN, "bad_answer"),
        (429, {"ok": False, "error": "ratelimited"}, R.TRANSIENT, "HTTP 429"),
    ],
)
def test_slacks_refusals_are_classed(
    slack: Any,
    chat: Any,
    httpserver: HTTPServer,
    status: int,
    body: dict[str, Any] | str,
    expected: Any,
    code: str,
) -> None:
    answers(httpserver, "/api/chat.postMessage", body, status, {"Retry-After": "30"})
    outcome = slack.outcome_of(chat)
    assert (outcome.result, outcome.code) == (expected, code)
    assert outcome.retry_after == (30.0 if status == 429 else None)


@pytest.mark.parametrize(
    ("kind", "recipient", "content"),
    [
        ("webpush", None, {"body": "Ж" * 2000}),
        ("fcm", "token", {"title": "x", "body": "ж" * 2000}),
        ("fcm", "token", {"title": "x", "body": "y", "data": {"from": "me"}}),
        ("fcm", "token", {"title": "x", "body": "y", "data": {"google.x": "1"}}),
        ("twilio", "+4366412345678", {"text": "x" * 1601}),
        ("slack", "#alerts", {"text": "x" * 40_001}),
    ],
)
def test_what_a_provider_cannot_take_is_permanent_before_any_call(
    request: pytest.FixtureRequest,
    browser: Browser,
    message: Callable[..., Any],
    httpserver: HTTPServer,
    kind: str,
    recipient: str | None,
    content: dict[str, Any],
) -> None:
    provider = request.getfixturevalue(kind)
    channel = provider.account.channel
    outcome = provider.outcome_of(
        message(channel, recipient or browser.subscription, content=content)
    )
    assert (outcome.result, outcome.code, outcome.elsewhere) == (R.PERMANENT, "content", True)
    assert httpserver.log == []
