"""What is no answer of a provider, over real sockets, for each kind that is reached by HTTP."""

import gzip
import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from py_vapid import Vapid
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from notifications.channels import kinds
from notifications.channels.http_client import ANSWER_LIMIT
from notifications.core.attempt import Result
from tests.integration.notifications.providers import peers
from tests.integration.notifications.providers.browser import Browser

HTML = b"<!doctype html><title>502 Bad Gateway</title>"


def answer(
    status: bytes, body: bytes, length: int | None = None, more: bytes = b""
) -> Callable[..., None]:
    length = len(body) if length is None else length
    return peers.http(
        b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, length, more, body)
    )


@pytest.fixture
def token_uri(httpserver: HTTPServer) -> Any:
    told = {"access_token": "ya29", "expires_in": 3600, "token_type": "Bearer"}
    httpserver.expect_request("/token").respond_with_json(told)
    return httpserver.url_for("/token")


def twilio(url: str, _: Any) -> Any:
    return {"account_sid": "AC1", "from": "+15005550006", "url": url}, {"auth_token": "1"}


def sns(url: str, _: Any) -> Any:
    return {"region": "eu-central-1", "url": url}, {"access_key_id": "a", "secret_access_key": "b"}


def slack(url: str, _: Any) -> Any:
    return {"url": url}, {"token": "xoxb"}


def telegram(url: str, _: Any) -> Any:
    return {"url": url}, {"token": "123:ABC"}


def discord(url: str, _: Any) -> Any:
    return {}, {"url": f"{url}/api/webhooks/1/{{recipient}}"}


def teams(url: str, _: Any) -> Any:
    return {}, {"url": f"{url}/workflows/ab/triggers/manual/paths/invoke?to={{recipient}}"}


def fcm(url: str, token_uri: Any) -> Any:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    service_account = {
        "type": "service_account",
        "project_id": "shop",
        "private_key": key.decode(),
        "client_email": "push@shop.iam.gserviceaccount.com",
        "token_uri": token_uri,
    }
    return {"url": url}, {"service_account": json.dumps(service_account)}


def webpush(url: str, _: Any) -> Any:
    vapid = Vapid()
    vapid.generate_keys()
    return {"subject": "mailto:push@example.org"}, {
        "vapid_private_key": vapid.private_pem().decode()
    }


def webhook(url: str, _: Any) -> Any:
    return {}, {"signing": "whsec_" + b64encode(b"1" * 32).decode()}


def postmark(url: str, _: Any) -> Any:
    options = {"api_url": f"{url}/"}
    return {"service": "postmark", "from": "a@example.org", "options": options}, {
        "credentials": '{"server_token": "x"}'
    }


def ses(url: str, _: Any) -> Any:
    place = {"endpoint_url": url, "region_name": "eu-central-1"}
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    options = {"client_params": place}
    return {"service": "amazon_ses", "from": "a@example.org", "options": options}, {
        "credentials": json.dumps({"client_params": keys})
    }


def apprise(url: str, _: Any) -> Any:
    scheme, _, place = url.partition("://")
    return {}, {"url": f"{'jsons' if scheme == 'https' else 'json'}://{place}/?verify=no"}


READS = (
    twilio,
    sns,
    slack,
    telegram,
    discord,
    fcm,
    postmark,
    ses,
)  # the provider's id from the answer
HEARS = (webpush, webhook, apprise, teams)  # the status alone
KIND = {postmark: "anymail", ses: "anymail"}
CHANNEL = {twilio: "sms", sns: "sms", fcm: "push", webpush: "push", webhook: "webhook"} | {
    postmark: "email",
    ses: "email",
}
WITHOUT_HTTP = {"smtp", "outbox", "simulator"}
U, T, SENT = Result.UNKNOWN, Result.TRANSIENT, Result.SENT


@pytest.fixture(params=READS + HEARS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def outcome_at(
    kind: Any,
    provider: Callable[..., Any],
    message: Callable[..., Any],
    token_uri: Any,
    settings: Settings,
) -> Callable[..., Any]:
    """Send one message by this kind to a URL."""
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True

    def outcome_at(url: str) -> Any:
        given, secrets = kind(url, token_uri)
        channel = CHANNEL.get(kind, "chat")
        made = provider(KIND.get(kind, kind.__name__), channel, given, secrets)
        recipient = {
            webpush: Browser(f"{url}/push").subscription,
            webhook: f"{url}/hook",
            postmark: "ada@example.org",
            ses: "ada@example.org",
        }.get(kind, "+4366412345678")
        content = {"subject": "Hi", "text": "Hi", "title": "Hi", "body": "Hi"}
        return made.outcome_of(message(channel, recipient, content=content, timeout=1.5))

    return outcome_at


def test_every_kind_that_is_reached_by_http_is_tried_here() -> None:
    every: list[Any] = [*READS, *HEARS]
    tried = {KIND.get(kind, kind.__name__) for kind in every}
    assert tried == kinds.KINDS.keys() - WITHOUT_HTTP


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_provider_reaches_a_private_address_that_is_not_exempt(
    kind: Any,
    outcome_at: Callable[..., Any],
    peer: Callable[..., Any],
    settings: Settings,
    host: str,
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = False
    settings.OUTGOING_PRIVATE_HOSTS = []
    connected: list[object] = []
    port = peer(connected.append).port
    outcome = outcome_at(f"http://{host}:{port}")
    refused = "AccountRefused" if kind is fcm else "private_address"  # its token is fetched first
    assert outcome.code == refused, outcome
    assert connected == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("behaviour", "reads", "hears"),
    [
        (answer(b"200 OK", HTML), U, SENT),
        (answer(b"200 OK", b"{" * 50_000), U, SENT),
        (answer(b"200 OK", HTML, length=9_999_999), U, SENT),
        (answer(b"502 Bad Gateway", HTML), T, T),
        (answer(b"302 Found", HTML, more=b"Location: http://127.0.0.1:1/\r\n"), T, T),
        (answer(b"429 Slow down", HTML, more=b"Retry-After: 7\r\n"), T, T),
        (peers.endless, U, SENT),
        (peers.http(b"\x00\xff" * 100), U, U),
        (peers.http(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000), U, U),
        (peers.hang_up, U, U),
        (peers.hang, U, U),
        (peers.drip, U, U),
    ],
    ids=[
        *("html", "deep", "wrong_length", "502", "redirect", "429", "endless", "binary"),
        *("long_head", "hang_up", "hang", "drip"),
    ],
)
def test_garbage_is_a_classed_outcome(
    kind: Any,
    outcome_at: Callable[..., Any],
    peer: Callable[..., Any],
    behaviour: Any,
    reads: Any,
    hears: Any,
) -> None:
    outcome = outcome_at(f"http://127.0.0.1:{peer(behaviour).port}")
    expected = reads if kind in READS else hears
    assert outcome.result is expected, outcome
    assert outcome.reason == ""  # nothing was a bug
    if "302" in outcome.code:
        assert outcome.local is (kind in (webhook, webpush))  # else it counts against the account
        assert kind is webhook or "redirects are not followed" in outcome.detail
    if "429" in outcome.code:
        assert outcome.retry_after == 7.0


@pytest.mark.timeout(60)
@pytest.mark.parametrize("behaviour", [peers.say(b"not tls"), peers.hang_up], ids=["no_tls", "cut"])
def test_tls_that_fails_hands_nothing_over(
    outcome_at: Callable[..., Any], peer: Callable[..., Any], behaviour: Any
) -> None:
    outcome = outcome_at(f"https://127.0.0.1:{peer(behaviour).port}")
    assert (outcome.result, outcome.reason) == (T, ""), outcome


def test_nobody_is_asked_to_pack_an_answer_that_is_cut_off(
    outcome_at: Callable[..., Any], peer: Callable[..., Any]
) -> None:
    heads = []

    def packed(connection: Any) -> None:
        heads.append(connection.recv(65536).lower())
        body = gzip.compress(b"x" * 100 * ANSWER_LIMIT)
        connection.sendall(b"HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\n")
        connection.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    outcome = outcome_at(f"http://127.0.0.1:{peer(packed).port}")
    assert outcome.result is T
    assert b"accept-encoding: identity" in heads[0]
