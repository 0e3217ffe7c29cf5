"""Mail that comes back: bounces, complaints and automatic replies, and what they do to a row."""

import itertools
import subprocess
import sys
from base64 import encodebytes
from collections.abc import Callable
from quopri import encodestring
from typing import Any

import pytest
from django.db import transaction

from notifications.callbacks import bounces, receipts
from notifications.channels import return_paths
from notifications.maintenance import archive
from notifications.models import ArchivedNotification, Notification, PendingReceipt, Suppression
from tests.integration.notifications.callbacks.returned_mail import ADA, accept, path_of, returned
from tests.servers import postfix
from tests.servers.smtp import SmtpServer


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
    assert {
        suppression.recipient: suppression.reason for suppression in Suppression.objects.all()
    } == {
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
