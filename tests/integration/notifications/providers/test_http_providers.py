"""Providers that are HTTP APIs, each against a local server that speaks like the real one."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import http_ece
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from py_vapid import Vapid
from pytest_django import Settings
from pytest_httpserver import HTTPServer
from werkzeug import Response

from notifications.channels.base import Fit
from notifications.core.attempt import Result
from notifications.core.errors import InvalidRecipient
from tests.integration.notifications.providers import peers
from tests.unit.templates_engine.content import version

R = Result


def answers(
    httpserver: HTTPServer, path: Any, body: Any, status: int = 200, headers: Any = None
) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    httpserver.expect_request(path).respond_with_response(Response(text, status, headers=headers))


def last(httpserver: HTTPServer) -> Any:
    return httpserver.log[-1][0]


# --- Twilio -------------------------------------------------------------------------------

TWILIO_PATH = "/2010-04-01/Accounts/AC1/Messages.json"


@pytest.fixture
def twilio(provider: Callable[..., Any], httpserver: HTTPServer) -> Any:
    return provider(
        "twilio",
        settings={"account_sid": "AC1", "from": "+15005550006", "url": httpserver.url_for("")},
        secrets={"auth_token": "12345"},
    )


@pytest.fixture
def sms(message: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **changes: message("sms", "+4366412345678", content={"text": "Grüße"}, **changes)


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


# --- Slack --------------------------------------------------------------------------------


@pytest.fixture
def slack(provider: Callable[..., Any], httpserver: HTTPServer) -> Any:
    return provider("slack", settings={"url": httpserver.url_for("")}, secrets={"token": "xoxb-1"})


@pytest.fixture
def chat(message: Callable[..., Any]) -> Any:
    return message("chat", "#alerts", content={"text": "Disk full"})


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


# --- Firebase Cloud Messaging -------------------------------------------------------------

FCM_PATH = "/v1/projects/shop/messages:send"


@pytest.fixture(scope="module")
def rsa_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture
def fcm(provider: Callable[..., Any], httpserver: HTTPServer, rsa_key: str) -> Any:
    service_account = {
        "type": "service_account",
        "project_id": "shop",
        "private_key_id": "1",
        "private_key": rsa_key,
        "client_email": "push@shop.iam.gserviceaccount.com",
        "token_uri": httpserver.url_for("/token"),
    }
    return provider(
        "fcm",
        settings={"url": httpserver.url_for("")},
        secrets={"service_account": json.dumps(service_account)},
    )


@pytest.fixture
def push(message: Callable[..., Any]) -> Callable[..., Any]:
    content = {"title": "Hello", "body": "World", "data": {"order": "7"}}
    return lambda **changes: message("push", "device-token", content=content, **changes)


@pytest.fixture
def token(httpserver: HTTPServer) -> None:
    answers(
        httpserver, "/token", {"access_token": "ya29", "expires_in": 3600, "token_type": "Bearer"}
    )


def test_fcm_takes_a_message_with_its_time_to_live(
    fcm: Any, push: Callable[..., Any], token: None, httpserver: HTTPServer
) -> None:
    answers(httpserver, FCM_PATH, {"name": "projects/shop/messages/1"})
    expires = datetime.now(UTC) + timedelta(seconds=60)
    outcome = fcm.outcome_of(push(ttl=60))
    assert (outcome.result, outcome.provider_message_id) == (R.SENT, "projects/shop/messages/1")
    sent = last(httpserver).json["message"]
    assert sent["token"] == "device-token"
    assert sent["notification"] == {"title": "Hello", "body": "World"}
    assert sent["data"] == {"order": "7"}
    assert sent["android"] == {"ttl": "60s"}
    assert abs(int(sent["apns"]["headers"]["apns-expiration"]) - expires.timestamp()) < 30
    assert last(httpserver).headers["Authorization"] == "Bearer ya29"


def test_fcm_fetches_one_token_for_many_messages(
    fcm: Any, push: Callable[..., Any], token: None, httpserver: HTTPServer
) -> None:
    answers(httpserver, FCM_PATH, {"name": "projects/shop/messages/1"})
    outcomes = [outcome for _, outcome in fcm.send_many(push() for _ in range(20))]
    assert {outcome.result for outcome in outcomes} == {R.SENT}
    assert [request.path for request, _ in httpserver.log].count("/token") == 1


NO_TOKEN = "The registration token is not a valid FCM registration token"
DEAD = InvalidRecipient.reason


def fcm_error(status: str, code: Any = None, message: str = "") -> dict[Any, Any]:
    details = [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}]
    return {"error": {"status": status, "message": message, "details": details if code else []}}


@pytest.mark.parametrize(
    ("status", "body", "expected", "code", "reason"),
    [
        (404, fcm_error("NOT_FOUND", "UNREGISTERED"), R.PERMANENT, "UNREGISTERED", DEAD),
        (
            400,
            fcm_error("INVALID_ARGUMENT", None, NO_TOKEN),
            R.PERMANENT,
            "INVALID_ARGUMENT",
            "invalid_recipient",
        ),
        (400, fcm_error("INVALID_ARGUMENT", None, "too big"), R.PERMANENT, "INVALID_ARGUMENT", ""),
        (401, fcm_error("UNAUTHENTICATED"), R.TRANSIENT, "UNAUTHENTICATED", ""),
        (429, fcm_error("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), R.TRANSIENT, "QUOTA_EXCEEDED", ""),
        (503, fcm_error("UNAVAILABLE"), R.TRANSIENT, "UNAVAILABLE", ""),
        (500, '{"error": "text"}', R.TRANSIENT, "HTTP 500", ""),
        (200, '["name"]', R.UNKNOWN, "bad_answer", ""),
    ],
)
def test_fcms_refusals_are_classed(
    fcm: Any,
    push: Callable[..., Any],
    token: None,
    httpserver: HTTPServer,
    status: int,
    body: Any,
    expected: Any,
    code: str,
    reason: Any,
) -> None:
    answers(httpserver, FCM_PATH, body, status)
    outcome = fcm.outcome_of(push())
    assert (outcome.result, outcome.code, outcome.reason) == (expected, code, reason)


def test_without_a_token_nothing_is_handed_over(
    fcm: Any, push: Callable[..., Any], httpserver: HTTPServer
) -> None:
    answers(httpserver, "/token", {"error": "invalid_grant"}, 400)
    outcome = fcm.outcome_of(push())
    assert (outcome.result, outcome.code) == (R.TRANSIENT, "RefreshError")


# --- Web Push -----------------------------------------------------------------------------


class Browser:
    """What a browser keeps: it alone can read what was encrypted for it."""

    def __init__(self, endpoint: Any) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.secret = b"0123456789abcdef"
        public = self.key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        keys = {"p256dh": _text(public), "auth": _text(self.secret)}
        self.subscription = json.dumps({"endpoint": endpoint, "keys": keys})

    def read(self, data: Any) -> Any:
        return json.loads(
            http_ece.decrypt(
                data, private_key=self.key, auth_secret=self.secret, version="aes128gcm"
            )
        )


def _text(raw: Any) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


@pytest.fixture
def webpush(provider: Callable[..., Any], settings: Settings) -> Any:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True
    vapid = Vapid()
    vapid.generate_keys()
    return provider(
        "webpush",
        settings={"subject": "mailto:push@example.org"},
        secrets={"vapid_private_key": vapid.private_pem().decode()},
    )


@pytest.fixture
def browser(httpserver: HTTPServer) -> Browser:
    return Browser(httpserver.url_for("/push/1"))


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
        ("p256dh", _text(b"\x04" + bytes(64))),  # no point of the curve
        ("p256dh", _text(bytes(65))),
        ("auth", _text(bytes(15))),
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


# --- Apprise ------------------------------------------------------------------------------


def test_apprise_notifies_the_service_of_its_url(
    provider: Callable[..., Any], message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    answers(httpserver, "/team/room-1", "")
    url = f"json://127.0.0.1:{httpserver.port}/team/{{recipient}}"
    apprise = provider("apprise", secrets={"url": url})
    outcome = apprise.outcome_of(message("chat", "room-1", content={"text": "Disk full"}))
    assert outcome.result is R.SENT
    assert last(httpserver).json["message"] == "Disk full"


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, R.PERMANENT), (401, R.TRANSIENT), (429, R.TRANSIENT), (500, R.TRANSIENT)],
)
def test_apprises_refusal_is_classed_by_its_services_answer(
    provider: Callable[..., Any],
    message: Callable[..., Any],
    httpserver: HTTPServer,
    status: int,
    expected: Any,
) -> None:
    answers(httpserver, "/", "", status)
    apprise = provider("apprise", secrets={"url": f"json://127.0.0.1:{httpserver.port}/"})
    outcome = apprise.outcome_of(message("chat", "room-1", content={"text": "Disk full"}))
    assert (outcome.result, outcome.code) == (expected, f"HTTP {status}")


@pytest.mark.timeout(60)
def test_apprise_is_given_up_on_when_the_message_has_no_more_time(
    provider: Callable[..., Any], message: Callable[..., Any], peer: Callable[..., Any]
) -> None:
    url = f"json://127.0.0.1:{peer(peers.drip).port}/"
    apprise = provider("apprise", secrets={"url": url})
    outcome = apprise.outcome_of(message("chat", "a", content={"text": "Hi"}, timeout=0.5))
    assert outcome.result is R.UNKNOWN


@pytest.mark.parametrize("url", ["syslog://", "dbus://", "file:///etc/passwd", "exec://x", "x"])
def test_apprise_refuses_what_is_not_on_its_list(provider: Callable[..., Any], url: str) -> None:
    with pytest.raises(ValueError, match="not among the schemas"):
        provider("apprise", secrets={"url": url})
