"""Addresses, senders and subjects as people have them, sent to a real server."""

import email
import itertools
import re
from collections.abc import Callable
from email.header import decode_header, make_header
from email.utils import parseaddr
from typing import Any

import pytest

from notifications.core.attempt import Result
from tests.integration.notifications.providers import peers
from tests.servers.smtp import SmtpServer

FROM = "Shop <shop@example.org>"


@pytest.fixture
def smtp(provider: Callable[..., Any]) -> Callable[..., Any]:
    def make(url: str, sender: Any = FROM, **more: Any) -> Any:
        return provider("smtp", settings={"from": sender, **more}, secrets={"url": url})

    return make


@pytest.fixture(params=[False, True], ids=["one by one", "pipelined"])
def server(make_smtp_server: Callable[..., SmtpServer], request: pytest.FixtureRequest) -> Any:
    return make_smtp_server(pipelining=request.param)


def send(provider: Any, *messages: Any) -> list[Any]:
    return [outcome for _, outcome in provider.send_many(messages)]


def test_an_international_domain_goes_out_as_its_a_label(
    smtp: Callable[..., Any], server: Any, message: Callable[..., Any]
) -> None:
    mail = message(recipient="ada@bücher.example")
    assert send(smtp(server.url), message(), mail)[1].result is Result.SENT
    got = server.messages[1]
    assert got.recipients == ["ada@xn--bcher-kva.example"]
    assert got.message["To"] == "ada@xn--bcher-kva.example"


def test_a_name_that_is_not_ascii_goes_out_by_smtputf8(
    smtp: Callable[..., Any], server: Any, message: Callable[..., Any]
) -> None:
    mails = [message(), message(recipient="jörg@bücher.example"), message()]
    assert [o.result for o in send(smtp(server.url), *mails)] == [Result.SENT] * 3
    got = server.messages[1]
    assert got.recipients == ["jörg@xn--bcher-kva.example"]
    assert "To: jörg@xn--bcher-kva.example".encode() in got.octets


@pytest.mark.parametrize("pipelining", [False, True])
def test_a_server_without_smtputf8_costs_that_message_and_no_other(
    smtp: Callable[..., Any],
    make_smtp_server: Callable[..., SmtpServer],
    message: Callable[..., Any],
    pipelining: bool,
) -> None:
    server = make_smtp_server(smtputf8=False, pipelining=pipelining)
    mails = [message(), message(recipient="jörg@example.org"), message()]
    first, refused, last = send(smtp(server.url), *mails)
    assert (first.result, last.result) == (Result.SENT, Result.SENT)
    assert (refused.result, refused.reason) == (Result.PERMANENT, "")
    assert "SMTPUTF8" in refused.detail
    assert server.greetings == 1


@pytest.mark.parametrize("smtputf8", [True, False])
@pytest.mark.parametrize("pipelining", [False, True])
def test_a_reply_address_that_is_not_ascii_goes_out_by_smtputf8_or_not_at_all(
    smtp: Callable[..., Any],
    make_smtp_server: Callable[..., SmtpServer],
    message: Callable[..., Any],
    pipelining: bool,
    smtputf8: bool,
) -> None:
    server = make_smtp_server(smtputf8=smtputf8, pipelining=pipelining)
    content = {"subject": "Hi", "text": "Hello", "reply_to": ["Jörg <jörg@bücher.example>"]}
    first, mail, last = send(smtp(server.url), message(), message(content=content), message())
    assert (first.result, last.result) == (Result.SENT, Result.SENT)
    if smtputf8:
        assert mail.result is Result.SENT
        got = server.messages[1]
        assert "<jörg@xn--bcher-kva.example>\r\n".encode() in got.octets
        assert str(got.message["Reply-To"]).startswith("Jörg <")
        assert got.is_utf8
    else:
        assert (mail.result, mail.code) == (Result.PERMANENT, "smtputf8")


@pytest.mark.parametrize(
    ("sender", "shown", "address"),
    [
        ("Shop, Inc. <shop@shop.example>", "Shop, Inc.", "shop@shop.example"),
        ("Müller, Shop & Co <a@b.example>", "Müller, Shop & Co", "a@b.example"),
        ("shop@bücher.example", "", "shop@xn--bcher-kva.example"),
        ("=?utf-8?q?x?= <a@b.example>", "=?utf-8?q?x?=", "a@b.example"),
        ("Ы" * 300 + " <a@b.example>", "Ы" * 300, "a@b.example"),
        ("x" * 900 + " <a@b.example>", "x" * 900, "a@b.example"),
    ],
)
def test_the_senders_name_is_shown_as_it_is_written(
    smtp: Callable[..., Any],
    server: Any,
    message: Callable[..., Any],
    sender: str,
    shown: str,
    address: str,
) -> None:
    assert send(smtp(server.url, sender), message())[0].result is Result.SENT
    got = server.messages[0]
    # The old parser: the new one leaves blanks between the encoded words of a name (Python 3.11).
    raw = email.message_from_bytes(got.octets)["From"]
    decoded = str(make_header(decode_header(raw)))
    assert parseaddr(raw)[1] == address
    assert decoded.removesuffix(f"<{address}>").strip(' "') == (shown or address)
    assert got.sender == address
    assert max(map(len, got.octets.split(b"\r\n"))) <= 100


@pytest.mark.parametrize(
    "subject",
    [
        "x" * 2000,
        "=?utf-8?q?x?=",
        "see =?utf-8?q?x?= there",
        "Grüße " * 100 + "Ende",
        "🎉" * 300,
        "long " * 300 + "end",
        "two  blanks " * 20 + "end",
        "日本語の件名" * 50,
    ],
)
def test_a_subject_is_shown_as_typed_on_lines_of_a_good_length(
    smtp: Callable[..., Any], server: Any, message: Callable[..., Any], subject: str
) -> None:
    mail = message(content={"subject": subject, "text": "Dear Ada"})
    assert send(smtp(server.url), mail)[0].result is Result.SENT
    got = server.messages[0]
    assert got.message["Subject"] == subject
    head = got.octets.split(b"\r\n\r\n")[0]
    assert max(map(len, head.split(b"\r\n"))) <= 78
    assert all(len(word) <= 75 for word in re.findall(rb"=\?utf-8\?.\?.*?\?=", head))


def test_a_server_is_greeted_by_a_full_name_or_an_address(
    smtp: Callable[..., Any], server: Any, message: Callable[..., Any]
) -> None:
    send(smtp(server.url), message())
    send(smtp(server.url, ehlo="mx.shop.example"), message())
    own, chosen = server.names
    assert re.fullmatch(r"\[127\.0\.0\.1\]|[\w-]+(\.[\w-]+)+", own)
    assert chosen == "mx.shop.example"


def test_a_goodbye_within_a_pipelined_envelope_keeps_the_servers_words(
    smtp: Callable[..., Any], peer: Callable[..., Any], message: Callable[..., Any]
) -> None:
    words = b"421 4.7.0 Too many connections from you\r\n"
    ehlo = b"250-me\r\n250 PIPELINING\r\n"
    server = peer(peers.smtp_until("RCPT", peers.say(words), ehlo=ehlo))
    outcome = send(smtp(f"smtp://127.0.0.1:{server.port}"), message())[0]
    assert (outcome.result, outcome.code) == (Result.TRANSIENT, "421")
    assert "Too many connections from you" in outcome.detail


def test_a_refusal_of_the_sender_says_nothing_against_the_message(
    smtp: Callable[..., Any], server: Any, message: Callable[..., Any]
) -> None:
    server.answer("ada@example.org", itertools.repeat("550 5.7.26 Unauthenticated"))
    outcome = send(smtp(server.url), message())[0]
    assert (outcome.result, outcome.local) == (Result.TRANSIENT, False)
