"""The mailbox to which mail comes back, read by schedulers and by the command."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from pytest_django import Settings

from notifications.callbacks import mailbox
from notifications.models import Notification
from notifications.monitoring.diagnosis import delivery
from tests.integration.notifications.callbacks.returned_mail import returned
from tests.integration.notifications.providers.peers import Peer
from tests.servers import dovecot


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
        settings.BOUNCE_MAILBOX = server.url.replace(dovecot.PASSWORD, "mistyped")
        with pytest.raises(CommandError, match="it refuses the login") as refused:
            call_command("receive_mail", "--mailbox")
        assert "mistyped" not in str(refused.value)
    finally:
        server.stop()
    statuses = [Notification.objects.get(id=row.id).status for row in rows]
    assert statuses == ["failed", "sent", "delivered"]
    settings.BOUNCE_MAILBOX = server.url
    with pytest.raises(CommandError, match="cannot be read now") as away:
        call_command("receive_mail", "--mailbox")
    assert away.value.returncode == 75
    assert dovecot.PASSWORD not in str(away.value)
    assert "it refuses the connection" in str(away.value)
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
    assert {reader.tick() for reader in readers * 2} == {mailbox.INTERVAL}
    assert caplog.text.count("mailbox_away") == 1
    [finding] = delivery.mailbox_of_bounces()
    assert finding.id == "mail.mailbox"
    assert dovecot.PASSWORD not in finding.problem
    settings.BOUNCE_MAILBOX = ""
    assert list(delivery.mailbox_of_bounces()) == []
    assert readers[0].tick() == mailbox.INTERVAL
