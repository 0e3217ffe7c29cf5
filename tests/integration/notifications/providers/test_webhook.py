"""Webhooks against real HTTP servers, and against what only looks like one."""

import json
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
import svix
import trustme
from pytest_django import Settings
from pytest_httpserver import HTTPServer
from werkzeug import Response

from notifications.channels.special_addresses import is_public
from notifications.core.attempt import Result
from tests.integration.notifications.providers import peers

OLD, NEW = ("whsec_" + b64encode(bytes([n]) * 32).decode() for n in (1, 2))


@pytest.fixture
def webhook(provider: Callable[..., Any], settings: Settings) -> Any:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True
    return provider("webhook", secrets={"signing": f"{NEW} {OLD}"})


@pytest.fixture
def send(webhook: Any, message: Callable[..., Any]) -> Callable[..., Any]:
    def send(url: str, body: str = "Hello", **changes: Any) -> Any:
        content = {"subject": "", "body": body}
        return webhook.outcome_of(message("webhook", url, content=content, **changes))

    return send


def test_another_implementation_verifies_the_signature_with_either_secret(
    send: Callable[..., Any], httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/hook", method="POST").respond_with_data("", 204)
    assert send(httpserver.url_for("/hook"), '{"order": 7}').result is Result.SENT
    request = httpserver.log[0][0]
    for secret in (OLD, NEW):
        headers = dict(request.headers)
        svix.Webhook(secret).verify(request.data, headers)  # raises unless it is right
    assert json.loads(request.data) == {"order": 7}
    with pytest.raises(svix.WebhookVerificationError):
        svix.Webhook(NEW).verify(request.data + b" ", dict(request.headers))


def test_the_id_is_the_notifications_on_each_try_and_text_is_wrapped(
    webhook: Any, message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/hook").respond_with_data("", 503)
    call = message("webhook", httpserver.url_for("/hook"), content={"subject": "S", "body": "B"})
    webhook.outcome_of(call)
    webhook.outcome_of(call)
    assert [r.headers["webhook-id"] for r, _ in httpserver.log] == [str(call.id)] * 2
    assert json.loads(httpserver.log[0][0].data) == {"subject": "S", "body": "B"}


@pytest.mark.parametrize(
    ("status", "headers", "expected", "retry_after"),
    [
        (200, {}, Result.SENT, None),
        (301, {"Location": "http://127.0.0.1:1/"}, Result.TRANSIENT, None),
        (400, {}, Result.TRANSIENT, None),
        (404, {"Retry-After": "9"}, Result.TRANSIENT, 9.0),
        (410, {}, Result.PERMANENT, None),
        (429, {"Retry-After": "7"}, Result.TRANSIENT, 7.0),
        (500, {}, Result.TRANSIENT, None),
        (503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, Result.TRANSIENT, 0.0),
        (503, {"Retry-After": "nan"}, Result.TRANSIENT, None),
        (503, {"Retry-After": "1e99"}, Result.TRANSIENT, 86_400.0),
        (504, {}, Result.UNKNOWN, None),
    ],
)
def test_a_status_is_classed(
    send: Callable[..., Any],
    httpserver: HTTPServer,
    status: int,
    headers: dict[str, Any],
    expected: Any,
    retry_after: float | None,
) -> None:
    httpserver.expect_request("/hook").respond_with_response(
        Response("<html>", status, headers=headers)
    )
    outcome = send(httpserver.url_for("/hook"))
    assert (outcome.result, outcome.retry_after) == (expected, retry_after)
    assert len(httpserver.log) == 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (peers.hang, Result.UNKNOWN),
        (peers.hang_up, Result.UNKNOWN),
        (peers.drip, Result.UNKNOWN),
        (peers.say(b"220 mail.example.org ESMTP\r\n"), Result.UNKNOWN),
        (peers.http(b"\x00\xff" * 100), Result.UNKNOWN),
        (
            peers.http(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nx"),
            Result.UNKNOWN,
        ),
        (peers.http(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000), Result.UNKNOWN),
        # Its status came; what is wrong with its body changes nothing.
        (peers.http(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort"), Result.SENT),
        (peers.http(b"HTTP/1.1 503 No\r\nContent-Encoding: gzip\r\n\r\nplain"), Result.TRANSIENT),
        (peers.endless, Result.SENT),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_broken_server_gives_a_classed_outcome(
    send: Callable[..., Any], peer: Callable[..., Any], behaviour: Any, expected: Any
) -> None:
    outcome = send(f"http://127.0.0.1:{peer(behaviour).port}/hook", timeout=3.0)
    assert outcome.result is expected
    assert outcome.reason == ""  # nothing was a bug


def test_a_connection_that_is_cut_during_the_tls_handshake_handed_nothing_over(
    send: Callable[..., Any], peer: Callable[..., Any]
) -> None:
    outcome = send(f"https://127.0.0.1:{peer(peers.say(b'not tls')).port}/", timeout=2.0)
    assert outcome.result is Result.TRANSIENT


def test_tls_that_is_cut_after_the_request_is_an_unknown_outcome(
    peer: Callable[..., Any], provider: Callable[..., Any], message: Callable[..., Any]
) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    def cut(connection: Any) -> None:
        encrypted = context.wrap_socket(connection, server_side=True)
        encrypted.recv(65536)
        encrypted.detach()  # and the socket is closed without a word

    with authority.cert_pem.tempfile() as trusted:
        slack = provider(
            "slack",
            secrets={"token": "xoxb"},
            settings={"url": f"https://localhost:{peer(cut).port}/", "ca_file": trusted},
        )
        outcome = slack.outcome_of(message("chat", "#room", content={"text": "Hi"}))
    assert outcome.result is Result.UNKNOWN


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1"),
        *("::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::10.0.0.1", "ff02::1"),
        *("192.0.0.1", "192.0.0.8", "192.0.0.170", "192.0.2.1", "192.88.99.1", "198.18.0.1"),
        *("198.51.100.1", "203.0.113.1", "240.0.0.1", "239.1.1.1", "168.63.129.16"),
        *("64:ff9b:1::1", "fec0::1", "::7f00:1", "::127.0.0.1", "::ffff:0:7f00:1", "100::1"),
        *("2001::1", "2001:2::1", "2001:db8::1", "3fff::1", "5f00::1", "fd00:ec2::254", "4000::1"),
        *("64:ff9b::a83f:8110", "::ffff:168.63.129.16", "2002:a9fe:a9fe::1"),
    ],
)
def test_private_addresses_are_not_public(address: Any) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "192.0.1.1", "2002:808:808::1"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]"])
def test_a_private_address_is_refused_however_it_is_written(
    provider: Callable[..., Any], message: Callable[..., Any], httpserver: HTTPServer, host: str
) -> None:
    guarded = provider("webhook", secrets={"signing": NEW})
    outcome = guarded.outcome_of(message("webhook", f"http://{host}:{httpserver.port}/hook"))
    assert (outcome.result, outcome.code) == (Result.PERMANENT, "private_address")
    assert httpserver.log == []


def test_a_name_that_changes_after_the_check_is_not_resolved_again(
    provider: Callable[..., Any],
    message: Callable[..., Any],
    httpserver: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: the first answer is public, the next one is ours."""
    answers = iter(["127.0.0.2", "127.0.0.1"])
    asked = []
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *args: Any, **options: Any) -> Any:
        if host != "rebind.example":
            return real(host, port, *args, **options)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr("notifications.channels.outgoing.is_public", lambda a: a != "127.0.0.1")
    monkeypatch.setattr("notifications.channels.outgoing.socket.getaddrinfo", resolve)
    guarded = provider("webhook", secrets={"signing": NEW})
    url = f"http://rebind.example:{httpserver.port}/hook"
    outcome = guarded.outcome_of(message("webhook", url, timeout=0.5))
    assert outcome.result is Result.TRANSIENT  # nobody is at the address that was checked
    assert asked == ["rebind.example"]
    assert httpserver.log == []
