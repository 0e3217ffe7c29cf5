"""Mail that programs hand over by SMTP, from their session to the mail server it is sent by."""

import os
import smtplib
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email import policy
from typing import Any

import pytest
import trustme
from pytest_django import Settings

from notifications.channels import return_paths
from notifications.models import MailContent, Notification
from notifications.operations import api_keys
from notifications.providers import accounts
from notifications.submission import send
from tests.integration.notifications.gateways.handed_over import SENDER, mail
from tests.pages import examples
from tests.servers.smtp import SmtpServer


@pytest.fixture
def client(start: Callable[..., Any], token: str) -> Iterator[smtplib.SMTP]:
    """A session that is logged in, over a connection on this machine."""
    with smtplib.SMTP("127.0.0.1", start()) as session:
        session.login("any name", token)
        yield session


def test_the_lines_of_readme_have_a_program_send_by_us(
    start: Callable[..., int], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_KEY", token)
    (lines,) = examples("../README.md", "smtp")
    program: dict[str, Any] = {"smtplib": smtplib, "os": os}
    exec(lines.replace("2525", str(start())), program)
    with program["server"] as server:
        server.send_message(mail(), SENDER, ["ada@example.org"])
    assert Notification.objects.get().subject == "Grüße"


def refused(call: Any, *arguments: Any) -> Any:
    with pytest.raises(smtplib.SMTPResponseException) as raised:
        call(*arguments)
    return raised.value.smtp_code, raised.value.smtp_error


def test_each_recipient_is_a_row_and_the_mail_arrives_unchanged(
    client: smtplib.SMTP, deliver: Callable[..., Any], smtp_server: SmtpServer
) -> None:
    message = mail()
    client.send_message(message, SENDER, ["ada@example.org", "bob@example.org"])
    rows = list(Notification.objects.order_by("id"))
    assert [row.recipient for row in rows] == ["ada@example.org", "bob@example.org"]
    assert {row.subject for row in rows} == {"Grüße"}
    assert MailContent.objects.count() == 1
    assert {recorded.status for recorded in deliver(*rows)} == {"sent"}
    arrived = sorted(smtp_server.messages, key=lambda mail: mail.recipients)
    assert [mail.recipients for mail in arrived] == [["ada@example.org"], ["bob@example.org"]]
    for got, row in zip(arrived, rows, strict=True):
        trace, original = got.octets.split(b"Message-ID", 1)[0], got.octets
        assert f"X-Notification-Id: {row.id}\r\n".encode() in trace
        assert b"Received: from" in trace
        assert b"with ESMTPA id" in trace
        assert original.endswith(message.as_bytes(policy=message.policy.clone(linesep="\r\n")))
        assert got.sender == SENDER


def test_headers_for_us_steer_it_and_are_taken_out(
    client: smtplib.SMTP, deliver: Callable[..., Any], smtp_server: SmtpServer
) -> None:
    message = mail(
        X_Notification_Priority="high",
        X_Notification_Reference="order 7 " + "x" * 100,
        X_Order="7",
        Bcc="carol@example.org",
        Resent_Bcc="dave@example.org",
    )
    # smtplib's send_message would take Bcc out by itself
    client.sendmail(SENDER, ["ada@example.org"], message.as_bytes(policy=policy.SMTP))
    row = Notification.objects.get()
    assert (row.priority, row.reference[:7]) == ("high", "order 7")
    deliver(row)
    [got] = smtp_server.messages
    assert got.message["X-Order"] == "7"
    assert b"X-Notification-Priority" not in got.octets
    assert b"xxxx" not in got.octets
    assert b"bcc" not in got.octets.lower()


@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
@pytest.mark.parametrize("smtputf8", [True, False])
def test_raw_letters_in_headers_arrive_at_any_server(
    client: smtplib.SMTP,
    account: Any,
    monkeypatch: pytest.MonkeyPatch,
    deliver: Callable[..., Any],
    make_smtp_server: Callable[..., SmtpServer],
    charset: str,
    smtputf8: bool,
) -> None:
    server = make_smtp_server(smtputf8=smtputf8)
    monkeypatch.setenv("SECRET_MAIL_URL", server.url)
    accounts.forget()
    raw = (
        f"From: Müller Shop <{SENDER}>\r\nTo: Jürgen <ada@example.org>\r\nSubject: Grüße\r\n"
        "X-Comment: Grüße\r\nX-Notification-Reference: Nr. 7 für Ö\r\n\r\nx\r\n"
    )
    client.sendmail(SENDER, ["ada@example.org"], raw.encode(charset))
    row = Notification.objects.get()
    assert (row.subject, row.reference) == ("Grüße", "Nr. 7 für Ö")
    [recorded] = deliver(row)
    assert recorded.status == "sent", recorded
    [got] = server.messages
    assert got.octets.isascii()
    assert not got.is_utf8
    assert got.message["From"] == f"Müller Shop <{SENDER}>"
    assert got.message["To"] == "Jürgen <ada@example.org>"
    assert (got.message["Subject"], got.message["X-Comment"]) == ("Grüße", "Grüße")


def test_two_headers_for_us_of_one_name_are_refused(client: smtplib.SMTP) -> None:
    raw = (
        f"From: {SENDER}\r\nX-Notification-Priority: low\r\nx-notification-priority: high\r\n"
        "\r\nx\r\n"
    )
    code, words = refused(client.sendmail, SENDER, ["ada@example.org"], raw.encode())
    assert (code, words[:5]) == (554, b"5.6.0")
    assert b"twice" in words
    assert Notification.objects.count() == 0


@pytest.mark.parametrize(
    ("sender", "headers", "code"),
    [
        ("ceo@bank.example", {}, b"5.7.1"),
        (SENDER, {"X_Notification_Priority": "urgent"}, b"5.6.0"),
        (SENDER, {"X_Notification_Colour": "red"}, b"5.6.0"),
        (SENDER, {"Sender": "ceo@bank.example"}, b"5.7.1"),
    ],
)
def test_what_is_refused_is_told_at_once_and_leaves_no_row(
    client: smtplib.SMTP, sender: Any, headers: dict[str, Any], code: bytes
) -> None:
    found, words = refused(client.send_message, mail(**headers), sender, ["ada@example.org"])
    assert 550 <= found <= 554
    assert words.startswith(code)
    assert Notification.objects.count() == 0


@pytest.mark.parametrize("end", [b"\n.\r\n", b"\r.\r\n", b"\n.\n", b"\r.\r"])
def test_a_line_that_ends_otherwise_than_by_crlf_is_refused(
    client: smtplib.SMTP, end: bytes
) -> None:
    """Servers that take it for a line's end would read what follows as commands."""
    forged = f"From: {SENDER}\r\n\r\nx".encode() + end + b"MAIL FROM:<ceo@bank.example>\r\n"
    client.ehlo()
    client.mail(SENDER)
    client.rcpt("ada@example.org")
    client.docmd("DATA")
    client.send(forged + b".\r\n")
    code, words = client.getreply()
    assert (code, words[:5]) == (554, b"5.6.0")
    assert client.noop()[0] == 250
    assert Notification.objects.count() == 0


def test_a_forged_author_is_refused(client: smtplib.SMTP) -> None:
    message = mail()
    message.replace_header("From", "CEO <ceo@bank.example>")
    assert refused(client.send_message, message, SENDER, ["ada@example.org"])[0] == 550
    assert Notification.objects.count() == 0


@pytest.mark.parametrize("name", ["a.EXE", "=?utf-8?q?a=2Eexe?="])
def test_a_program_is_refused_also_in_a_mail_that_somebody_else_wrote(
    client: smtplib.SMTP, name: str
) -> None:
    message = mail()
    message.add_attachment(b"MZ", maintype="application", subtype="x-any", filename="a.bin")
    written = message.as_bytes(policy=policy.SMTP).replace(b"a.bin", name.encode())
    code, words = refused(client.sendmail, SENDER, ["ada@example.org"], written)
    assert code == 554
    assert b".exe" in words
    assert Notification.objects.count() == 0


def test_addresses_are_looked_at_one_by_one(
    client: smtplib.SMTP, set_: Callable[..., None]
) -> None:
    set_("MAIL_RECIPIENTS", 2)
    client.ehlo()
    client.mail(SENDER)
    assert client.rcpt("nobody")[0] == 553
    assert client.rcpt("ada@example.org")[0] == 250
    assert client.rcpt("bob@example.org")[0] == 250
    assert client.rcpt("carol@example.org")[0] == 452


def test_nobody_sends_without_a_key_that_may(start: Callable[..., Any], account: Any) -> None:
    port = start()
    reader = api_keys.create("reader", scopes=["read"]).token
    with smtplib.SMTP("127.0.0.1", port) as session:
        session.ehlo()
        assert session.mail(SENDER)[0] == 530
        for wrong in ("ntf_live_x", reader):
            assert refused(session.login, "a", wrong)[0] == 535
        assert Notification.objects.count() == 0


def test_an_address_that_tries_key_after_key_is_sent_away_and_fills_no_log(
    start: Callable[..., Any],
    token: str,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.NOTIFICATIONS_API_WRONG_KEYS_PER_MINUTE = 2
    port = start()
    for _ in range(5):
        with smtplib.SMTP("127.0.0.1", port) as session, pytest.raises(smtplib.SMTPException):
            session.login("a", "ntf_live_x")
    logged = caplog.text.count("api_key_refused")
    assert logged <= 3
    with smtplib.SMTP("127.0.0.1", port) as session:
        session.ehlo()
        assert session.docmd("AUTH", "PLAIN AGEAYg==")[0] == 421
        with pytest.raises(smtplib.SMTPServerDisconnected):
            session.noop()
    assert caplog.text.count("api_key_refused") == logged
    with smtplib.SMTP("127.0.0.1", port) as session:
        session.login("a", token)  # a key that is one is not held up


def test_a_key_goes_over_the_network_only_in_tls(
    start: Callable[..., Any], authority: trustme.CA, certificate: str, token: str
) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with smtplib.SMTP("localhost", start(certificate=certificate)) as session:
        session.ehlo()
        assert not session.has_extn("auth")
        assert session.docmd("AUTH", "PLAIN AGEAYg==")[0] == 538
        session.starttls(context=context)
        session.login("a", token)
        session.send_message(mail(), SENDER, ["ada@example.org"])
    port = start(certificate=certificate, implicit_tls=True)
    with smtplib.SMTP_SSL("localhost", port, context=context) as session:
        session.login("a", token)
        session.send_message(mail(), SENDER, ["ada@example.org"])
    assert Notification.objects.count() == 2


def test_a_test_key_reaches_nobody(start: Callable[..., Any], account: Any) -> None:
    token = api_keys.create("trial", scopes=["send"], kind="test").token
    with smtplib.SMTP("127.0.0.1", start()) as session:
        session.login("a", token)
        session.send_message(mail(), SENDER, ["ada@example.org"])
    assert Notification.objects.get().test


def test_a_session_that_breaks_off_leaves_no_row(start: Callable[..., Any], token: str) -> None:
    session = smtplib.SMTP("127.0.0.1", start())
    session.login("a", token)
    session.mail(SENDER)
    session.rcpt("ada@example.org")
    assert session.docmd("DATA")[0] == 354
    session.send(mail().as_bytes()[:200])
    session.close()
    assert Notification.objects.count() == 0


def test_a_mail_that_is_too_large_is_refused(
    start: Callable[..., Any], token: str, set_: Callable[..., None]
) -> None:
    set_("MAIL_BYTES", 1000)
    with smtplib.SMTP("127.0.0.1", start()) as session:
        session.login("a", token)
        session.ehlo()
        assert session.esmtp_features["size"] == "1500"
        session.mail(SENDER)
        session.rcpt("ada@example.org")
        assert session.data(b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 30)[0] == 552
    assert Notification.objects.count() == 0


def test_mails_from_many_connections_are_all_there(start: Callable[..., Any], token: str) -> None:
    port = start()

    def send_ten(number: int) -> None:
        with smtplib.SMTP("127.0.0.1", port) as session:
            session.login("a", token)
            for place in range(10):
                session.send_message(mail(), SENDER, [f"u{number}.{place}@example.org"])

    with ThreadPoolExecutor(10) as many:
        list(many.map(send_ten, range(10)))
    assert Notification.objects.values("recipient").distinct().count() == 100


def test_mails_that_come_at_once_are_taken_up_to_the_rate_of_their_key(
    start: Callable[..., Any], account: Any
) -> None:
    port, token = start(), api_keys.create("slow", scopes=["send"], rate=1).token

    def send_one(number: int) -> int:
        with smtplib.SMTP("127.0.0.1", port) as session:
            session.login("a", token)
            try:
                session.send_message(mail(), SENDER, [f"u{number}@example.org"])
            except smtplib.SMTPDataError as error:
                return error.smtp_code
            return 250

    with ThreadPoolExecutor(20) as many:
        codes = list(many.map(send_one, range(20)))
    assert set(codes) == {250, 451}
    assert Notification.objects.count() == codes.count(250)


def test_more_connections_than_may_be_are_told_to_come_later(start: Callable[..., Any]) -> None:
    port = start(connections=1)
    with smtplib.SMTP("127.0.0.1", port), pytest.raises(smtplib.SMTPConnectError) as raised:
        smtplib.SMTP("127.0.0.1", port)
    assert raised.value.smtp_code == 421


BOUNCE = b"""From: Mailer-Daemon <>
Content-Type: multipart/report; report-type=delivery-status; boundary=x

--x
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org

Action: failed
Final-Recipient: rfc822; ada@example.org
Status: 5.1.1

--x--
"""


def test_a_server_returns_mail_without_a_login_to_addresses_that_we_made(
    start: Callable[..., Any], account: Any, deliver: Callable[..., Any]
) -> None:
    with smtplib.SMTP("127.0.0.1", start()) as session:
        assert refused(session.sendmail, "shop@example.org", ["ada@example.org"], "")[0] == 530
        account.settings["return_path"] = "bounces@shop.example"
        account.save()
        accounts.forget()
        deliver(send(channel="email", recipient="ada@example.org", body="Dear Ada"))
        row = Notification.objects.get()
        ours = return_paths.of_mail("bounces@shop.example", row.id)
        with pytest.raises(smtplib.SMTPRecipientsRefused) as raised:
            session.sendmail("", ["ada@example.org", ours[1:].replace("+", "+a")], BOUNCE)
        assert {code for code, _ in raised.value.recipients.values()} == {530}
        assert session.sendmail("", ["bounces+x@shop.example", ours], BOUNCE).keys() == {
            "bounces+x@shop.example"
        }
    row.refresh_from_db()
    assert (row.status, row.reason) == ("failed", "bounced")
    assert Notification.objects.count() == 1
