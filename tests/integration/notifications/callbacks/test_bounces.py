"""Mail that comes back: bounces, complaints and automatic replies, as mail servers write them.

Those of Exim were written by Exim 4.96, Postfix writes its own in the test; those of Exchange and
the complaint have the shape that these have in the field (RFC 3464, RFC 5965).
"""

import itertools
import subprocess
import sys
import threading
from base64 import encodebytes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from quopri import encodestring
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from pytest_django import Settings

from notifications.callbacks import bounces, mailbox, receipts
from notifications.channels import return_paths
from notifications.maintenance import archive
from notifications.models import ArchivedNotification, Notification, PendingReceipt, Suppression
from notifications.monitoring.diagnosis import delivery
from notifications.submission import send
from tests.integration.notifications.providers.peers import Peer
from tests.servers import dovecot, postfix
from tests.servers.smtp import SmtpServer

RETURNED = Path(__file__).parent / "returned"
ADA = "ada@example.org"


@pytest.fixture
def mailer(
    account: Any, smtp_server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Make an account at a mail server, with a return path."""

    def mailer(url: str) -> Any:
        monkeypatch.setenv("SECRET_MAIL_URL", url)
        settings = {"from": "Shop <shop@shop.example>", "return_path": "bounces@shop.example"}
        return account("shop", "smtp", "email", settings=settings, secrets={"url": SECRET})

    return mailer


SECRET = "env:SECRET_MAIL_URL"


@pytest.fixture
def sent(
    mailer: Callable[..., Any], deliver: Callable[..., Any], smtp_server: SmtpServer
) -> Callable[..., Any]:
    """Send a mail, and return its row."""
    mailer(smtp_server.url)

    def sent(**fields: Any) -> Any:
        [row] = deliver(accept(**fields))
        assert row.status == "sent"
        return row

    return sent


def accept(**fields: Any) -> Notification:
    return send(channel="email", **{"recipient": ADA, "subject": "Hello", "body": "Dear", **fields})


def returned(name: str, row: Any, recipient: Any = ADA) -> bytes:
    """Write a mail that came back about a row's."""
    text = (RETURNED / f"{name}.eml").read_text()
    text = text.replace("{return_path}", path_of(row)).replace("{id}", str(row.id))
    return text.replace("{recipient}", recipient).encode()


def path_of(row: Any) -> str:
    return return_paths.of_mail("bounces@shop.example", row.id)


def test_each_mail_has_a_return_path_of_its_own(
    sent: Callable[..., Any], smtp_server: SmtpServer
) -> None:
    rows = [sent(), sent(cc=["bob@example.org"])]
    senders = [got.sender for got in smtp_server.messages]
    assert list(map(return_paths.read, senders)) == [row.id for row in rows]
    assert list(map(return_paths.read, map(str.upper, senders))) == [row.id for row in rows]
    assert {str(got.message["From"]) for got in smtp_server.messages} == {
        "Shop <shop@shop.example>"
    }
    assert all(len(sender.partition("@")[0]) <= 64 for sender in senders)


@pytest.mark.parametrize(
    ("name", "kind", "status", "reason", "suppressed"),
    [
        ("exim_gone", "bounce", "failed", "bounced", "hard_bounce"),
        ("exim_vague", "bounce", "failed", "bounced", "hard_bounce"),
        ("exim_full", "bounce", "failed", "failed", None),
        ("exim_delayed", "bounce", "sent", "delayed", None),
        ("exchange_gone", "bounce", "failed", "bounced", "hard_bounce"),
        ("complaint", "complaint", "delivered", "", "complaint"),
        ("out_of_office", "automatic reply", "sent", "", None),
    ],
)
@pytest.mark.parametrize("told_recipient", [True, False], ids=["envelope", "alone"])
def test_what_came_back_is_applied_once(
    sent: Callable[..., Any],
    name: str,
    kind: str,
    status: str,
    reason: str,
    suppressed: str | None,
    told_recipient: bool,
) -> None:
    row = sent()
    for _ in range(2):
        assert bounces.take(returned(name, row), path_of(row) if told_recipient else "") == kind
    row.refresh_from_db()
    assert (row.status, row.reason) == (status, reason)
    kept = Suppression.objects.values_list("recipient", "reason", "source")
    assert list(kept) == ([(ADA, suppressed, "shop")] if suppressed else [])
    assert not PendingReceipt.objects.exists()
    if name == "exim_delayed":
        assert "451 4.3.0 Try later" in row.attempts.get().detail
        bounces.take(returned("exim_gone", row))
        row.refresh_from_db()
        assert (row.status, row.reason) == ("failed", "bounced")


def test_a_forwarded_address_is_known_by_the_return_path_alone(sent: Callable[..., Any]) -> None:
    row = sent()
    report = returned("exim_gone", row, recipient="ada.lovelace@forwarded.example")
    bounces.take(report, path_of(row))
    assert Suppression.objects.get().recipient == ADA


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_a_bounce_is_read_whose_parts_are_encoded(sent: Callable[..., Any], encoding: str) -> None:
    row = sent()
    report = returned("exchange_gone", row)
    encode = {"base64": encodebytes, "quoted-printable": encodestring}[encoding]
    for kind in (b"delivery-status", b"rfc822"):
        head, name, rest = report.partition(b"Content-Type: message/" + kind)
        held, edge, after = rest.strip().partition(b"\n--3f64")
        said = f"\nContent-Transfer-Encoding: {encoding}\n\n".encode()
        report = head + name + said + encode(held) + edge + after
    assert bounces.take(report, "") == "bounce"
    row.refresh_from_db()
    assert (row.status, row.reason) == ("failed", "bounced")


def test_a_copy_that_bounces_costs_its_recipient_and_not_the_notification(
    sent: Callable[..., Any],
) -> None:
    row = sent(cc=["Bob <Bob@Example.org>"])
    bounces.take(returned("exim_gone", row, recipient="bob@example.org"), path_of(row))
    row.refresh_from_db()
    assert row.status == "sent"
    assert Suppression.objects.get().recipient == "bob@example.org"


def test_a_bounce_of_a_mail_in_the_archive_suppresses_and_changes_nothing_there(
    sent: Callable[..., Any], set_: Callable[..., None]
) -> None:
    set_("ARCHIVE_MONTHS", 12)
    row = sent(cc=["bob@example.org"])
    with transaction.atomic():
        archive.keep([row.id])
        Notification.objects.filter(id=row.id).delete()
    for recipient in (ADA, "bob@example.org"):
        bounces.take(returned("exim_gone", row, recipient=recipient), path_of(row))
    bounces.take(returned("exim_delayed", row), path_of(row))
    assert {one.recipient: one.reason for one in Suppression.objects.all()} == {
        ADA: "hard_bounce",
        "bob@example.org": "hard_bounce",
    }
    assert ArchivedNotification.objects.get().status == "sent"
    archive.drop(keep_months=-1)


def test_a_bounce_that_is_quicker_than_the_record_waits_for_it(
    sent: Callable[..., Any], deliver: Callable[..., Any]
) -> None:
    sent()
    row = accept()
    bounces.take(returned("exim_gone", row), path_of(row))
    assert PendingReceipt.objects.count() == 1
    [row] = deliver(row)
    PendingReceipt.objects.update(due_at=row.sent_at)
    receipts.tick()
    row.refresh_from_db()
    assert (row.status, row.reason) == ("failed", "bounced")
    assert Suppression.objects.get().source == "shop"


def test_a_return_path_that_we_did_not_make_tells_nothing(sent: Callable[..., Any]) -> None:
    row = sent()
    forged = path_of(row).replace("@", "a@")[:-1]
    swapped = return_paths.of_mail("bounces@shop.example", accept().id)
    report = returned("exim_gone", row, recipient="eve@example.org").replace(
        path_of(row).encode(), b"bounces@shop.example"
    )
    for recipient in ("", "bounces@shop.example", forged, f"bounces+{'a' * 34}@shop.example"):
        bounces.take(report, recipient)
    assert swapped != path_of(row)
    row.refresh_from_db()
    assert row.status == "sent"
    assert not Suppression.objects.exists()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\x00",
        b"Content-Type: message/delivery-status\n\n",
        b"Content-Type: message/feedback-report\n\nFeedback-Type: \xff\n",
        b"Content-Type: multipart/report; boundary=x\n\n--x\nContent-Type: message/rfc822\n\n--x--",
        b'Content-Type: multipart/report; boundary="x\n\n--x\nContent-Type: text/rfc822-headers\n',
        b"Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n!!!\n",
    ],
)
def test_what_nobody_can_read_changes_nothing(sent: Callable[..., Any], raw: bytes) -> None:
    row = sent()
    assert bounces.take(raw, path_of(row)) in ("bounce", "complaint", "other")
    row.refresh_from_db()
    assert (row.status, row.reason) == ("sent", "")


def piped(raw: Any, env: Any, *arguments: Any) -> subprocess.CompletedProcess[Any]:
    return subprocess.run(
        [sys.executable, "manage.py", "receive_mail", *arguments],
        input=raw,
        env=env,
        capture_output=True,
        check=False,
        timeout=100,
    )


def test_a_pipe_takes_a_bounce_and_keeps_it_while_the_database_is_away(
    sent: Callable[..., Any], child_env: dict[str, str]
) -> None:
    row = sent()
    report = returned("exim_gone", row)
    away = child_env | {"DATABASE_URL": "postgres://nobody:x@127.0.0.1:9/none"}
    later = piped(report, away, "--recipient", path_of(row))
    assert later.returncode == 75, later.stderr
    assert ADA.encode() not in later.stdout + later.stderr
    done = piped(report, child_env | {"ORIGINAL_RECIPIENT": path_of(row)})
    assert (done.returncode, done.stdout) == (0, b"bounce\n"), done.stderr
    assert ADA.encode() not in done.stderr
    assert Notification.objects.get().status == "failed"


@pytest.mark.skipif(bool(postfix.why_absent()), reason=postfix.why_absent())
def test_a_bounce_of_postfix_is_understood(
    mailer: Callable[..., Any],
    deliver: Callable[..., Any],
    smtp_server: SmtpServer,
    wait_until: Callable[..., Any],
) -> None:
    refusals = itertools.repeat(f"550 5.1.1 <{ADA}>: Recipient address rejected: User unknown")
    smtp_server.answer(ADA, refusals)
    server = postfix.PostfixServer(onward=smtp_server.port)
    server.start()
    try:
        mailer(server.url)
        [row] = deliver(accept())
        assert row.status == "sent"
        wait_until(lambda: smtp_server.messages)
    finally:
        server.stop()
    [report] = smtp_server.messages
    assert report.sender == "<>"
    assert return_paths.read(report.recipients[0]) == row.id
    assert bounces.take(report.octets, report.recipients[0]) == "bounce"
    row.refresh_from_db()
    assert (row.status, row.reason) == ("failed", "bounced")
    assert Suppression.objects.get().recipient == ADA


@pytest.mark.skipif(bool(dovecot.why_absent()), reason=dovecot.why_absent())
def test_a_mailbox_is_read_and_what_was_read_is_seen(
    sent: Callable[..., Any], settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [sent(), sent(recipient="bob@example.org"), sent(recipient="eve@example.org")]
    told = zip(["exim_gone", "out_of_office", "complaint"], rows, strict=True)
    server = dovecot.DovecotServer().start()
    try:
        with server.client() as client:
            for name, row in told:
                client.append("INBOX", "", "", returned(name, row, row.recipient))
            client.append("INBOX", "", "", b"Subject: Hello\r\n\r\nHow are you?\r\n")
        settings.BOUNCE_MAILBOX = server.url
        for expected in ("automatic reply: 1\nbounce: 1\ncomplaint: 1\nother: 1\n", ""):
            call_command("receive_mail", "--mailbox")
            assert capsys.readouterr().out == expected
    finally:
        server.stop()
    statuses = [Notification.objects.get(id=row.id).status for row in rows]
    assert statuses == ["failed", "sent", "delivered"]
    settings.BOUNCE_MAILBOX = server.url
    with pytest.raises(CommandError, match="cannot be read now") as away:
        call_command("receive_mail", "--mailbox")
    assert away.value.returncode == 75
    assert dovecot.PASSWORD not in str(away.value)
    settings.BOUNCE_MAILBOX = "pop3://host"
    with pytest.raises(CommandError, match="imaps://user:password@host"):
        call_command("receive_mail", "--mailbox")


def imap(fetched: Callable[[Any], None]) -> Callable[[Any], None]:
    """Speak IMAP up to the FETCH of the one mail, which ``fetched`` answers."""

    def handle(connection: Any) -> None:
        connection.sendall(b"* OK me\r\n")
        for line in connection.makefile("rb"):
            tag, *words = line.split()
            if b"FETCH" in words:
                fetched(connection)
                break
            told = {b"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\n", b"UID": b"* SEARCH 7\r\n"}
            connection.sendall(told.get(words[0], b"") + tag + b" OK done\r\n")

    return handle


def huge(connection: Any) -> None:
    connection.sendall(b"* 1 FETCH (UID 7 BODY[]<0> {2000000000}\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def endless_line(connection: Any) -> None:
    connection.sendall(b"* 1 FETCH ")
    while True:
        connection.sendall(b"x" * 65536)


def endless_lines(connection: Any) -> None:
    while True:
        connection.sendall(b"* 1 FETCH (FLAGS ())\r\n" * 1000)


def figures(connection: Any) -> None:
    connection.sendall(b"* 1 FETCH (BODY[] {" + b"9" * 5000 + b"}\r\n")


def drip(connection: Any) -> None:
    connection.sendall(b"* 1 FETCH (UID 7 BODY[]<0> {5000}\r\n")
    while True:
        connection.sendall(b"x")
        threading.Event().wait(0.05)


@pytest.mark.parametrize(
    ("fetched", "why"),
    [
        (huge, "sends 2,000,000,000 bytes at once, and was asked for 1,500 at most"),
        (endless_line, "does not end"),
        (endless_lines, "does not end"),
        (figures, "ValueError"),
        (drip, "takes more than 1 seconds for one step"),
    ],
)
def test_a_mailbox_that_sends_more_than_it_was_asked_for_is_away(
    transactional_db: None,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    fetched: Callable[[Any], None],
    why: str,
) -> None:
    settings.NOTIFICATIONS_MAIL_BYTES = 1000
    monkeypatch.setattr(mailbox, "STEP_SECONDS", 1.0 if fetched is drip else 20.0)
    server = Peer(imap(fetched)).start()
    try:
        settings.BOUNCE_MAILBOX = f"imap://u:{dovecot.PASSWORD}@127.0.0.1:{server.port}/INBOX"
        with pytest.raises(CommandError, match=why) as away:
            call_command("receive_mail", "--mailbox")
        assert away.value.returncode == 75
        assert tick(mailbox.Reader("one")) == mailbox.INTERVAL
        [finding] = delivery.mailbox_of_bounces()
        assert why in finding.problem
    finally:
        server.stop()


def test_a_mail_that_cannot_be_read_stops_no_other(
    sent: Callable[..., Any], settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server ignores the range of a FETCH, drops the connection of another, and goes on."""
    settings.NOTIFICATIONS_MAIL_BYTES = 100_000
    row = sent()
    report = returned("exim_gone", row)
    seen = set()

    def fetched(connection: Any, line: bytes) -> bytes:
        uid = line.split()[3]
        if b"STORE" in line:
            seen.add(uid)
        elif uid == b"7":
            huge(connection)
        elif uid == b"8":
            raise ConnectionAbortedError
        else:
            return b"* 3 FETCH (UID 9 BODY[]<0> {%d}\r\n%b)\r\n" % (len(report), report)
        return b""

    def handle(connection: Any) -> None:
        connection.sendall(b"* OK me\r\n")
        for line in connection.makefile("rb"):
            words = line.split()
            told = {b"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\n"}.get(words[1], b"")
            if b"SEARCH" in words:
                told = b"* SEARCH %b\r\n" % b" ".join(sorted({b"7", b"8", b"9"} - seen))
            elif words[1] == b"UID":
                told = fetched(connection, line)
            connection.sendall(told + words[0] + b" OK done\r\n")

    server = Peer(handle).start()
    try:
        settings.BOUNCE_MAILBOX = f"imap://u:{dovecot.PASSWORD}@127.0.0.1:{server.port}/INBOX"
        with pytest.raises(CommandError, match="2 mails stay unread"):
            call_command("receive_mail", "--mailbox")
        assert capsys.readouterr().out == "bounce: 1\n"
        [finding] = delivery.mailbox_of_bounces()
    finally:
        server.stop()
    assert Notification.objects.get(id=row.id).status == "failed"
    assert seen == {b"9"}
    assert "the mail with the UID 7: it sends 2,000,000,000 bytes at once" in finding.problem


def test_mails_whose_turn_it_is_are_read_before_those_that_could_not_be() -> None:
    asked = []

    def handle(connection: Any) -> None:
        connection.sendall(b"* OK me\r\n")
        for line in connection.makefile("rb"):
            words = line.split()
            told = {b"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\n"}.get(words[1], b"")
            if b"SEARCH" in words:
                told = b"* SEARCH 7 8\r\n"
            elif b"FETCH" in words:
                asked.append(words[3])
                connection.sendall(words[0] + b" NO it is damaged\r\n")
                continue
            connection.sendall(told + words[0] + b" OK done\r\n")

    server = Peer(handle).start()
    try:
        url = f"imap://u:{dovecot.PASSWORD}@127.0.0.1:{server.port}/INBOX"
        read = mailbox.take_unseen(mailbox.read_url(url), last={"7"})
    finally:
        server.stop()
    assert asked == [b"8", b"7"]
    assert sorted(read.faulty) == ["7", "8"]


def tick(reader: mailbox.Reader) -> float:
    try:
        return reader.tick()
    finally:
        connections.close_all()


@pytest.mark.skipif(bool(dovecot.why_absent()), reason=dovecot.why_absent())
def test_schedulers_read_the_mailbox_one_at_a_time_and_doctor_sees_it_away(
    sent: Callable[..., Any], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    server = dovecot.DovecotServer().start()
    settings.BOUNCE_MAILBOX = server.url
    caplog.set_level("INFO")
    readers = [mailbox.Reader("one"), mailbox.Reader("another")]
    try:
        with server.client() as client:
            for row in (sent(), sent(recipient="bob@example.org")):
                client.append("INBOX", "", "", returned("exim_gone", row, row.recipient))
        assert not mailbox.problem()
        with ThreadPoolExecutor(2) as both:
            rests = list(both.map(tick, readers))
        assert rests == [mailbox.INTERVAL] * 2
        assert {row.status for row in Notification.objects.all()} == {"failed"}
        assert caplog.text.count("mailbox_read") == 1
    finally:
        server.stop()
    assert {one.tick() for one in readers * 2} == {mailbox.INTERVAL}
    assert caplog.text.count("mailbox_away") == 1
    [finding] = delivery.mailbox_of_bounces()
    assert finding.id == "mail.mailbox"
    assert dovecot.PASSWORD not in finding.problem
    settings.BOUNCE_MAILBOX = ""
    assert list(delivery.mailbox_of_bounces()) == []
    assert readers[0].tick() == mailbox.INTERVAL
