"""One deadline bounds an attempt with all of its steps, and nothing begins after it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from notifications.core.attempt import Result
from notifications.providers import smtp
from notifications.submission import send
from tests.integration.notifications.providers import peers
from tests.servers.smtp import HANG, SmtpServer

FROM = {"from": "Shop <shop@example.org>"}
EHLOS = {"one by one": b"250 me\r\n", "pipelined": b"250-me\r\n250 PIPELINING\r\n"}


@pytest.fixture(params=EHLOS)
def moody(peer: Callable[..., Any], request: pytest.FixtureRequest) -> Callable[..., Any]:
    """A mail server of which the connections do, one after the other, what it is told.

    It lists in ``mails`` by which of them a mail came; after the last it serves properly.
    """

    def make(*moods: Any) -> Any:
        ehlo = EHLOS[request.param]
        left = iter(moods)

        def handle(connection: Any) -> Any:
            number = len(server.connections)
            mood = next(left, None)
            if mood is not None:
                return mood(connection)
            ended = peers.smtp_until("dot", lambda same: note(same, number), ehlo=ehlo)
            return ended(connection)

        def note(connection: Any, number: int) -> None:
            server.mails.append(number)
            connection.sendall(b"250 Queued\r\n")

        server = peer(handle)
        server.mails = []
        return server

    return make


@pytest.fixture
def mailer(provider: Callable[..., Any]) -> Callable[..., Any]:
    """Make a provider of mail for a port."""
    return lambda port: provider("smtp", settings=FROM, secrets={"url": f"smtp://127.0.0.1:{port}"})


def results(provider: Any, *messages: Any) -> list[Any]:
    return [outcome.result for _, outcome in provider.send_many(messages)]


def test_an_attempt_whose_connection_gets_no_banner_makes_no_second_one(
    moody: Callable[..., Any], mailer: Callable[..., Any], message: Callable[..., Any]
) -> None:
    server = moody(peers.hang)
    provider = mailer(server.port)
    assert results(provider, message(timeout=0.5)) == [Result.TRANSIENT]
    assert server.mails == []
    assert results(provider, message()) == [Result.SENT]
    assert server.mails == [2]


def test_a_refused_connection_is_tried_once_for_each_message(
    moody: Callable[..., Any], mailer: Callable[..., Any], message: Callable[..., Any]
) -> None:
    server = moody(peers.hang_up, peers.hang_up)
    assert results(mailer(server.port), message(), message(), message()) == [
        Result.TRANSIENT,
        Result.TRANSIENT,
        Result.SENT,
    ]
    assert server.mails == [3]


def test_a_kept_connection_that_died_gives_its_message_no_more_time(
    moody: Callable[..., Any],
    mailer: Callable[..., Any],
    message: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = moody(peers.smtp_until("NOOP", peers.hang_up), peers.hang)
    provider = mailer(server.port)
    assert results(provider, message()) == [Result.SENT]
    monkeypatch.setattr(smtp, "IDLE_LIMIT", 0.0)
    assert results(provider, message(timeout=0.5)) == [Result.TRANSIENT]
    assert server.mails == []


def test_a_mail_that_expires_while_its_connection_is_made_never_arrives(
    moody: Callable[..., Any],
    account: Callable[..., Any],
    deliver: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = moody(peers.hang)
    monkeypatch.setenv("SECRET_MAIL", f"smtp://127.0.0.1:{server.port}")
    account("mail", "smtp", "email", settings=FROM, secrets={"url": "env:SECRET_MAIL"})
    notification = send(
        channel="email", recipient="ada@example.org", subject="Hello", body="Dear Ada", expires=1.0
    )
    (row,) = deliver(notification)
    assert row.status != "sent"
    assert server.mails == []


def test_a_mail_whose_time_ends_right_before_its_content_is_not_begun(
    peer: Callable[..., Any], mailer: Callable[..., Any], message: Callable[..., Any]
) -> None:
    server = peer(peers.smtp_until("never", peers.hang, ehlo=EHLOS["pipelined"]))
    late, other = message(timeout=1.0), message(recipient="bob@example.org")

    def messages() -> Iterator[Any]:
        yield late
        time.sleep(1.0)  # so long that the first one's time is over, whoever measures it
        yield other

    outcomes = list(mailer(server.port).send_many(messages()))
    assert [outcome.result for _, outcome in outcomes] == [Result.TRANSIENT, Result.SENT]
    assert len(server.connections) == 2  # the first was left without the mail


def test_a_mail_that_waits_for_another_ones_answer_is_held_to_its_own_deadline(
    make_smtp_server: Callable[..., SmtpServer],
    mailer: Callable[..., Any],
    message: Callable[..., Any],
) -> None:
    server = make_smtp_server(pipelining=True)
    server.answer("slow@example.org", [HANG], at="DATA")
    slow = message(recipient="slow@example.org", timeout=1.0)
    expiring = message(deadline=time.monotonic() + 0.9)
    assert results(mailer(server.port), slow, expiring, message(recipient="bob@example.org")) == [
        Result.UNKNOWN,
        Result.TRANSIENT,
        Result.SENT,
    ]
    assert [mail.recipients for mail in server.messages] == [["bob@example.org"]]


def test_no_request_is_begun_after_its_deadline(
    provider: Callable[..., Any], message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    url = httpserver.url_for("")
    slack = provider("slack", settings={"url": url}, secrets={"token": "xoxb-1"})
    over = message("chat", "C012345", content={"text": "Hello"}, deadline=time.monotonic())
    assert [(outcome.result, outcome.code) for _, outcome in slack.send_many([over])] == [
        (Result.TRANSIENT, "timeout")
    ]
    assert httpserver.log == []


@pytest.fixture
def fcm(provider: Callable[..., Any], httpserver: HTTPServer, service_key: str) -> Any:
    service_account = {
        "type": "service_account",
        "project_id": "shop",
        "private_key": service_key,
        "client_email": "push@shop.example",
        "token_uri": httpserver.url_for("/token"),
    }
    httpserver.expect_request("/v1/projects/shop/messages:send").respond_with_json({"name": "m/1"})
    return provider(
        "fcm",
        settings={"url": httpserver.url_for("")},
        secrets={"service_account": json.dumps(service_account)},
    )


def test_a_token_is_asked_for_once_in_an_attempt(
    fcm: Any, message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/token").respond_with_json({"error": "internal_failure"}, 503)
    push = message("push", "device-token", content={"title": "Hello", "body": "Ada"})
    assert results(fcm, push) == [Result.TRANSIENT]
    assert [request.path for request, _ in httpserver.log] == ["/token"]


def test_a_message_waits_no_longer_for_anothers_token_than_it_has_time(
    fcm: Any, message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    asked, answer = threading.Event(), threading.Event()

    def token(_: Any) -> Response:
        asked.set()
        answer.wait(20)
        given = {"access_token": "ya29", "expires_in": 3600, "token_type": "Bearer"}
        return Response(json.dumps(given), content_type="application/json")

    httpserver.expect_request("/token").respond_with_handler(token)
    content = {"title": "Hello", "body": "Ada"}
    patient = message("push", "device-token", content=content, timeout=30.0)
    told = []
    thread = threading.Thread(target=lambda: told.extend(results(fcm, patient)))
    thread.start()
    assert asked.wait(20)
    hurried = patient._replace(timeout=0.2)
    assert [o.code for _, o in fcm.send_many([hurried])] == ["timeout"]
    assert told == []
    answer.set()
    thread.join(20)
    assert told == [Result.SENT]
