"""SMTP over real sockets, with servers that behave and servers that do not."""

import itertools
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from notifications.channels.mail import StoredFile
from notifications.core.attempt import Result
from tests.integration.notifications.providers import peers
from tests.servers.smtp import HANG, SmtpServer

FROM = {"from": "Shop <shop@example.org>"}


@pytest.fixture
def smtp(provider: Callable[..., Any]) -> Callable[..., Any]:
    return lambda url: provider("smtp", settings=FROM, secrets={"url": url})


@pytest.fixture(params=[False, True], ids=["one by one", "pipelined"])
def server(make_smtp_server: Callable[..., SmtpServer], request: pytest.FixtureRequest) -> Any:
    return make_smtp_server(pipelining=request.param)


def send(provider: Any, *messages: Any) -> list[Any]:
    return [outcome for _, outcome in provider.send_many(messages)]


def test_a_mail_arrives_with_text_html_and_the_notifications_id(
    smtp: Callable[..., Any], server: Any, message: Callable[..., Any]
) -> None:
    content = {"subject": "Grüße", "text": "Dear Ada,\n.\n..bye", "html": "<p>Dear Zoë</p>"}
    mail = message(content=content)
    assert send(smtp(server.url), mail)[0].result is Result.SENT
    got = server.messages[0].message
    assert got["Subject"] == "Grüße"
    assert got["From"] == "Shop <shop@example.org>"
    assert str(mail.id) in got["Message-ID"]
    assert got.get_body(("plain",)).get_content().splitlines() == ["Dear Ada,", ".", "..bye"]
    assert got.get_body(("html",)).get_content().strip() == "<p>Dear Zoë</p>"


def test_a_long_subject_and_long_lines_survive(
    smtp: Callable[..., Any], server: Any, message: Callable[..., Any]
) -> None:
    content = {"subject": "long " * 60 + "ende ü", "text": "x" * 5000 + "\r\rNächste"}
    assert send(smtp(server.url), message(content=content))[0].result is Result.SENT
    got = server.messages[0].message
    assert got["Subject"] == ("long " * 60 + "ende ü")
    assert got.get_content().split() == ["x" * 5000, "Nächste"]


def test_each_line_ends_by_crlf_however_it_was_kept(
    smtp: Callable[..., Any], server: Any, message: Callable[..., Any]
) -> None:
    raw = (
        b"From: shop@example.org\r\n\r\nx\n.\r\nMAIL FROM:<a@b.example>\r.\rRCPT TO:<a@b.example>\n"
    )
    file = StoredFile(len(raw), "", lambda: raw)
    smtp(server.url).send(message(content={"raw": file}))
    [got] = server.messages
    assert got.octets.endswith(
        b"x\r\n.\r\nMAIL FROM:<a@b.example>\r\n.\r\nRCPT TO:<a@b.example>\r\n"
    )


def test_many_mails_share_one_connection(
    smtp: Callable[..., Any], server: Any, message: Callable[..., Any]
) -> None:
    messages = [message(recipient=f"user{n}@example.org") for n in range(20)]
    provider = smtp(server.url)
    assert {o.result for o in send(provider, *messages)} == {Result.SENT}
    assert [m.recipients for m in server.messages] == [[m.recipient] for m in messages]
    assert server.greetings == 1


def test_a_refused_recipient_touches_only_its_own_mail(
    smtp: Callable[..., Any], server: Any, message: Callable[..., Any]
) -> None:
    server.answer("bad@example.org", itertools.repeat("550 5.7.1 Not you"))
    server.answer("busy@example.org", ["451 4.7.1 Try later"])
    server.answer("gone@example.org", ["550 5.1.1 No such user"])
    names = ["ada", "bad", "busy", "gone", "bob"]
    outcomes = send(smtp(server.url), *(message(recipient=f"{n}@example.org") for n in names))
    assert [(o.result, o.code, o.reason) for o in outcomes] == [
        (Result.SENT, "", ""),
        (Result.PERMANENT, "550", ""),
        (Result.TRANSIENT, "451", ""),
        (Result.PERMANENT, "550", "invalid_recipient"),
        (Result.SENT, "", ""),
    ]
    assert [m.recipients for m in server.messages] == [["ada@example.org"], ["bob@example.org"]]
    assert server.greetings == 1


def test_a_mail_refused_after_its_data_is_classed_by_its_code(
    smtp: Callable[..., Any], server: Any, message: Callable[..., Any]
) -> None:
    server.answer("ada@example.org", ["554 5.6.0 Spam", "452 4.2.2 Full"], at="DATA")
    outcomes = send(smtp(server.url), message(), message(), message())
    assert [(o.result, o.code) for o in outcomes] == [
        (Result.PERMANENT, "554"),
        (Result.TRANSIENT, "452"),
        (Result.SENT, ""),
    ]


def test_a_server_that_says_421_is_connected_to_anew(
    smtp: Callable[..., Any], server: Any, message: Callable[..., Any]
) -> None:
    provider = smtp(server.url)
    server.answer("busy@example.org", ["421 4.3.2 Going down"])
    first, second = send(provider, message(), message(recipient="busy@example.org"))
    assert (first.result, second.result) == (Result.SENT, Result.SENT)
    assert server.greetings == 2


def test_no_answer_to_the_data_is_an_unknown_outcome(
    smtp: Callable[..., Any], server: Any, message: Callable[..., Any]
) -> None:
    server.answer("ada@example.org", [HANG], at="DATA")
    outcome = send(smtp(server.url), message(timeout=3))[0]
    assert outcome.result is Result.UNKNOWN


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_tls_and_login(
    smtp: Callable[..., Any],
    make_smtp_server: Callable[..., SmtpServer],
    message: Callable[..., Any],
    tls: str,
) -> None:
    server = make_smtp_server(tls=tls, login=("user", "p@ss"))
    url = server.url.replace("p@ss", "p%40ss")
    assert send(smtp(url), message())[0].result is Result.SENT
    assert server.logins == ["user"]


def test_a_wrong_password_is_the_operators_to_mend_so_the_mail_waits(
    smtp: Callable[..., Any],
    make_smtp_server: Callable[..., SmtpServer],
    message: Callable[..., Any],
) -> None:
    server = make_smtp_server(tls="starttls", login=("user", "right"))
    outcome = send(smtp(server.url.replace("right", "wrong")), message())[0]
    assert (outcome.result, outcome.code) == (Result.TRANSIENT, "535")
    assert "wrong" not in outcome.detail


def test_an_untrusted_certificate_gets_no_mail(
    smtp: Callable[..., Any],
    make_smtp_server: Callable[..., SmtpServer],
    message: Callable[..., Any],
) -> None:
    server = make_smtp_server(tls="starttls")
    outcome = send(smtp(f"smtp://localhost:{server.port}?starttls=require"), message())[0]
    assert (outcome.result, outcome.code) == (Result.TRANSIENT, "SSLCertVerificationError")
    assert server.messages == []


def test_a_password_does_not_go_to_a_server_that_cannot_encrypt(
    smtp: Callable[..., Any],
    make_smtp_server: Callable[..., SmtpServer],
    message: Callable[..., Any],
) -> None:
    server = make_smtp_server()
    url = f"smtp://user:secret@127.0.0.1:{server.port}?starttls=require"
    outcome = send(smtp(url), message())[0]
    assert outcome.result is Result.TRANSIENT
    assert server.logins == []


def test_what_was_said_before_the_handshake_is_not_believed(
    smtp: Callable[..., Any], peer: Callable[..., Any], message: Callable[..., Any]
) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    said = []

    def inject(connection: Any) -> None:
        connection.sendall(b"220 Go\r\n250-injected\r\n250 AUTH PLAIN\r\n")
        with context.wrap_socket(connection, server_side=True) as encrypted:
            said.append(encrypted.recv(1000))

    ehlo = b"250-me\r\n250 STARTTLS\r\n"
    server = peer(peers.smtp_until("STAR", inject, ehlo=ehlo))
    with authority.cert_pem.tempfile() as trusted:
        url = f"smtp://localhost:{server.port}?starttls=require&ca_file={trusted}"
        outcome = send(smtp(url), message(timeout=20))[0]
    assert outcome.result is Result.TRANSIENT
    assert said[0].startswith(b"ehlo")


ENDS = {"hang": peers.hang, "drip": peers.drip, "hang up": peers.hang_up}
PIPELINING = b"250-me\r\n250 PIPELINING\r\n"


PHASES = ["banner", "EHLO", "MAIL", "RCPT", "DATA", "dot"]
FAILURES = list(itertools.product(PHASES, ENDS, [b"250 me\r\n", PIPELINING]))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_a_server_that_fails_in_any_phase_holds_nobody(
    smtp: Callable[..., Any], peer: Callable[..., Any], message: Callable[..., Any], failure: Any
) -> None:
    phase, end, ehlo = failure
    server = peer(peers.smtp_until(phase, ENDS[end], ehlo=ehlo))
    timeout = 5 if phase == "dot" else 1  # the mail is to come as far, on a busy machine, too
    outcome = send(smtp(f"smtp://127.0.0.1:{server.port}"), message(timeout=timeout))[0]
    # Until the final dot nothing was handed over; after it nobody knows.
    expected = Result.UNKNOWN if phase == "dot" else Result.TRANSIENT
    assert outcome.result is expected


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff\xfe\r\n", b"22\r\n", b"", b"220-more\r\n" * 9000],
)
def test_a_server_that_does_not_speak_smtp_is_a_transient_failure(
    smtp: Callable[..., Any], peer: Callable[..., Any], message: Callable[..., Any], garbage: bytes
) -> None:
    server = peer(peers.say(garbage))
    outcome = send(smtp(f"smtp://127.0.0.1:{server.port}"), message(timeout=2))[0]
    assert outcome.result is Result.TRANSIENT


def test_a_server_that_wants_data_for_a_refused_recipient_gets_no_mail(
    smtp: Callable[..., Any], peer: Callable[..., Any], message: Callable[..., Any]
) -> None:
    seen = []

    def handle(connection: Any) -> None:
        connection.sendall(b"220 me\r\n")
        file = connection.makefile("rb")
        file.readline()
        connection.sendall(PIPELINING)
        for answer in (b"250 OK\r\n", b"550 5.1.1 No\r\n", b"354 Go\r\n"):
            file.readline()
            connection.sendall(answer)
        seen.append(file.readline())
        connection.sendall(b"554 No recipients\r\n")
        file.readline()

    server = peer(handle)
    outcome = send(smtp(f"smtp://127.0.0.1:{server.port}"), message())[0]
    assert (outcome.result, outcome.reason) == (Result.PERMANENT, "invalid_recipient")
    assert seen == [b".\r\n"]


def test_nobody_listening_is_a_transient_failure(
    smtp: Callable[..., Any], message: Callable[..., Any]
) -> None:
    outcome = send(smtp("smtp://127.0.0.1:9"), message())[0]
    assert (outcome.result, outcome.code) == (Result.TRANSIENT, "ConnectionRefusedError")
