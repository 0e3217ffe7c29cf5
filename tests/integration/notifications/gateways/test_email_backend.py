"""Django's mail, sent as a Django project sends it, as it arrives at a mail server."""

from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import Message
from email.mime.application import MIMEApplication
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import pytest
from django.contrib.auth.forms import PasswordResetForm
from django.contrib.auth.models import User
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives, send_mail
from django.db import transaction
from django.test import RequestFactory
from pytest_django import Settings

from notifications.core import errors
from notifications.models import FailedDelivery, MailContent, Notification
from notifications.recipients import suppressions
from tests.integration.notifications.mails.test_complete_mail import PNG
from tests.integration.notifications.providers.templates import published
from tests.pages import examples
from tests.servers.smtp import SmtpServer

SENDER = "billing@example.org"


@pytest.fixture(autouse=True)
def _one_changed_line(settings: Settings, account: Any) -> None:
    (line,) = examples("../README.md", "django")
    changed: dict[str, Any] = {}
    exec(line, changed)
    settings.EMAIL_BACKEND = changed["EMAIL_BACKEND"]


@pytest.fixture
def arrive(deliver: Callable[..., Any], smtp_server: SmtpServer) -> Callable[..., Any]:
    """Deliver what was accepted, and return it as it arrived, in order of acceptance."""

    def arrive() -> Any:
        rows = list(Notification.objects.filter(status="queued").order_by("id"))
        recorded = deliver(*rows)
        assert {record.status for record in recorded} == {"sent"}
        return smtp_server.messages[-len(rows) :]

    return arrive


def test_send_mail_is_one_line_and_one_row(arrive: Callable[..., Any]) -> None:
    assert send_mail("Héllo", "Dear Ada", SENDER, ["Ada <ada@example.org>"]) == 1
    [got] = arrive()
    message = got.message
    assert (got.sender, got.recipients) == (SENDER, ["ada@example.org"])
    assert (message["Subject"], message["To"]) == ("Héllo", "Ada <ada@example.org>")
    assert message.get_content().split() == ["Dear", "Ada"]
    row = Notification.objects.get()
    assert (row.recipient, row.subject, row.body) == ("ada@example.org", "Héllo", "Dear Ada")


def test_each_recipient_has_a_row_and_all_see_to_and_cc(arrive: Callable[..., Any]) -> None:
    message = EmailMessage(
        "S",
        "B",
        SENDER,
        to=["ada@example.org", "Bob <bob@example.org>"],
        cc=["carol@example.org"],
        bcc=["dave@example.org"],
        reply_to=["help@example.org"],
    )
    assert message.send() == 1
    got = sorted(arrive(), key=lambda mail: mail.recipients)
    assert [mail.recipients for mail in got] == [
        ["ada@example.org"],
        ["bob@example.org"],
        ["carol@example.org"],
        ["dave@example.org"],
    ]
    for arrived in got:
        assert arrived.message["To"] == "ada@example.org, Bob <bob@example.org>"
        assert arrived.message["Cc"] == "carol@example.org"
        assert arrived.message["Reply-To"] == "help@example.org"
        assert b"dave" not in arrived.octets.replace(str(arrived.recipients).encode(), b"")
    assert MailContent.objects.count() == 1


def test_a_mailbox_that_is_named_twice_gets_one_mail(arrive: Callable[..., Any]) -> None:
    names = ["ada@example.org", "Ada <ada@EXAMPLE.org>", "x@xn--bcher-kva.example"]
    message = EmailMessage("S", "B", SENDER, to=names, bcc=["x@bücher.example", names[0]])
    assert message.send() == 1
    assert sorted(mail.recipients[0] for mail in arrive()) == [names[0], names[2]]


def test_a_suppressed_recipient_costs_no_other(arrive: Callable[..., Any]) -> None:
    suppressions.suppress("email", "bob@example.org", "hard_bounce")
    assert send_mail("S", "B", SENDER, ["ada@example.org", "bob@example.org"]) == 1
    assert [mail.recipients for mail in arrive()] == [["ada@example.org"]]
    assert Notification.objects.get(recipient="bob@example.org").status == "suppressed"


def test_a_recipient_that_is_none_costs_no_other_and_is_a_failed_delivery(
    arrive: Callable[..., Any],
) -> None:
    assert send_mail("S", "B", SENDER, ["ada@example.org", "nobody"]) == 0
    assert [mail.recipients for mail in arrive()] == [["ada@example.org"]]
    assert FailedDelivery.objects.filter(request__recipient="nobody").exists()
    with pytest.raises(errors.MalformedRecipient):
        send_mail("S", "B", SENDER, ["nobody"])


def test_html_attachments_and_inline_pictures(arrive: Callable[..., Any]) -> None:
    message = EmailMultiAlternatives("S", "text", SENDER, ["ada@example.org"])
    message.attach_alternative('<img src="cid:logo">', "text/html")
    message.attach("bill.pdf", b"%PDF\x00\xff", "application/pdf")
    message.attach("note.txt", "Grüße\n", "text/plain")
    message.attach("any", b"\x00\x01")
    message.attach("=?utf-8?q?a=0D=0A=0D=0Ainjected_body?=", b"x")
    message.attach("=?utf-8?q?M=C3=A4rz=2Epdf?=", b"%PDF", "application/pdf")
    picture = MIMEImage(PNG)
    picture.add_header("Content-ID", "<logo>")
    message.attach(picture)
    as_django = message_from_bytes(message.message().as_bytes(), policy=policy.default)
    assert "März.pdf" in [part.get_filename() for part in as_django.walk()]
    message.send()
    [got] = arrive()
    found = got.message
    assert found.get_body(("plain",)).get_content().strip() == "text"
    assert found.get_body(("html",)).get_content().strip() == '<img src="cid:logo">'
    parts = {part.get_filename(): part for part in found.walk() if part.get_filename()}
    assert parts["bill.pdf"].get_payload(decode=True) == b"%PDF\x00\xff"
    assert parts["note.txt"].get_payload(decode=True).decode().replace("\r\n", "\n") == "Grüße\n"
    assert parts["any"].get_content_type() == "application/octet-stream"
    assert b"injected body" not in got.octets
    assert "=?utf-8?q?a=0D=0A=0D=0Ainjected_body?=" in parts
    assert parts["März.pdf"].get_payload(decode=True) == b"%PDF"
    assert parts["logo.png"]["Content-ID"] == "<logo>"
    assert parts["logo.png"].get_payload(decode=True) == PNG
    assert MailContent.objects.get().attachments.count() == 6


def signed() -> EmailMessage:
    message = EmailMessage("S", "", SENDER, ["ada@example.org"])
    setattr(message, "mixed_subtype", "signed")  # noqa: B010 -- Django's stubs do not know it
    message.attach(MIMEText("the text"))
    message.attach(MIMEApplication(b"signature", "pgp-signature"))
    return message


def with_other_header() -> EmailMessage:
    return EmailMessage("S", "B", SENDER, ["ada@example.org"], headers={"Message-ID": "<1@a.b>"})


def in_another_charset() -> EmailMessage:
    message = EmailMessage("S", "Grüße", SENDER, ["ada@example.org"])
    message.encoding = "iso-8859-1"
    return message


def with_parts_in_a_part() -> EmailMessage:
    part = MIMEMultipart("related")
    part.attach(MIMEText("<p>x</p>", "html"))
    message = EmailMessage("S", "B", SENDER, ["ada@example.org"])
    message.attach(part)
    return message


def without_anything() -> EmailMessage:
    return EmailMessage("", "", SENDER, ["ada@example.org"])


def with_a_forwarded_mail() -> EmailMessage:
    message = EmailMessage("S", "B", SENDER, ["ada@example.org"])
    message.attach("mail.eml", EmailMessage("Inner", "I", SENDER, ["x@y.example"]).message())
    return message


@pytest.mark.parametrize(
    "make",
    [
        signed,
        with_other_header,
        in_another_charset,
        with_parts_in_a_part,
        without_anything,
        with_a_forwarded_mail,
    ],
)
def test_what_fields_cannot_hold_arrives_as_django_writes_it(
    arrive: Callable[..., Any], make: Any
) -> None:
    message = make()
    message.extra_headers["Bcc"] = "carol@example.org"
    message.extra_headers["X-Notification-Priority"] = "high"
    message.extra_headers.setdefault("Message-ID", "<2@a.b>")
    message.extra_headers["Date"] = "Thu, 26 Nov 2026 07:00:00 -0000"
    message.send()
    [got] = arrive()
    assert got.octets.startswith(b"X-Notification-Id: ")
    assert b"X-Notification-Priority" not in got.octets
    del message.extra_headers["X-Notification-Priority"], message.extra_headers["Bcc"]
    wanted = _without_boundaries(message.message().as_bytes(linesep="\r\n"))
    assert _without_boundaries(got.octets.partition(b"\r\n")[2]).strip() == wanted.strip()
    assert Notification.objects.get().priority == "high"


def _without_boundaries(octets: Any) -> Any:
    boundary = mail_of(octets).get_boundary()
    for part in mail_of(octets).walk():
        if inner := part.get_boundary():
            octets = octets.replace(inner.encode(), b"-")
    return octets.replace((boundary or "\0").encode(), b"-")


def mail_of(octets: bytes) -> Message:
    return message_from_bytes(octets)


def test_a_rolled_back_transaction_sends_nothing() -> None:
    with transaction.atomic():
        send_mail("S", "B", SENDER, ["ada@example.org"])
        transaction.set_rollback(True)
    assert Notification.objects.count() == 0


def test_headers_steer_it_and_are_not_sent(arrive: Callable[..., Any]) -> None:
    headers = {
        "X-Notification-Priority": "high",
        "X-Notification-Reference": "order 7",
        "X-Notification-Idempotency-Key": "k",
        "X-Notification-Metadata": '{"a": 1}',
        "X-Notification-Expires": "600",
        "X-Order": "7",
    }
    for _ in range(2):
        to = ["ada@example.org", "bob@example.org"]
        assert EmailMessage("S", "B", SENDER, to, headers=headers).send() == 1
    rows = Notification.objects.all()
    assert {(r.priority, r.reference, r.metadata["a"]) for r in rows} == {("high", "order 7", 1)}
    got = arrive()
    assert len(got) == 2
    assert got[0].message["X-Order"] == "7"
    assert b"X-Notification-Pri" not in got[0].octets


def test_a_template_takes_the_place_of_the_text(arrive: Callable[..., Any]) -> None:
    published("welcome", "transactional")
    headers = {
        "X-Notification-Template": "welcome",
        "X-Notification-Context": '{"name": "Zoë"}',
    }
    message = EmailMessage("S", "B", SENDER, ["ada@example.org"], headers=headers)
    message.attach("a.txt", "a")
    message.send()
    [got] = arrive()
    assert got.message.get_body(("plain",)).get_content().split() == ["Dear", "Zoë"]
    assert [part.get_filename() for part in got.message.iter_attachments()] == ["a.txt"]


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"X-Notification-Colour": "red"}, "headers.X-Notification-Colour"),
        ({"X-Notification-Expires": "soon"}, "headers.X-Notification-Expires"),
        ({"X-Notification-Context": "{"}, "headers.X-Notification-Context"),
        ({"X-Notification-Priority": "urgent"}, "priority"),
        ({"X-Order": "7\r\nBcc: x@y.example"}, "headers.X-Order"),
    ],
)
def test_what_is_refused_names_its_field_and_leaves_nothing(
    headers: dict[str, Any], field: str
) -> None:
    message = EmailMessage("S", "B", SENDER, ["a@example.org", "b@example.org"], headers=headers)
    with pytest.raises(errors.InvalidNotification) as raised:
        message.send()
    assert raised.value.field == field
    message.connection = None
    assert message.send(fail_silently=True) == 0
    assert Notification.objects.count() == 0
    assert FailedDelivery.objects.count() == 0


def test_a_call_of_many_messages_is_accepted_whole_or_not_at_all() -> None:
    good = EmailMessage("S", "B", SENDER, ["ada@example.org"])
    bad = EmailMessage("S", "B", "ceo@bank.example", ["ada@example.org"])
    nobody = EmailMessage("S", "B", SENDER, [])
    with pytest.raises(errors.InvalidField):
        mail.get_connection().send_messages([good, bad])
    assert Notification.objects.count() == 0
    assert mail.get_connection(fail_silently=True).send_messages([good, bad, nobody]) == 1
    assert mail.get_connection().send_messages([]) == 0


def test_password_resets_and_mails_to_admins(
    arrive: Callable[..., Any], settings: Settings, rf: RequestFactory
) -> None:
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    settings.ADMINS = [("Root", "root@example.org"), ("Ops", "ops@example.org")]
    mail.mail_admins("Broken", "Traceback", html_message="<pre>Traceback</pre>")
    User.objects.create_user("ada", "ada@example.org", "secret")
    form = PasswordResetForm({"email": "ada@example.org"})
    assert form.is_valid()
    form.save(request=rf.get("/"), from_email=SENDER)
    reset, to_ops, to_root = sorted(arrive(), key=lambda mail: mail.recipients)
    assert [mail.recipients for mail in (to_root, to_ops)] == [
        ["root@example.org"],
        ["ops@example.org"],
    ]
    # root@localhost is Django's word for nobody in particular: the account's own sender
    assert to_root.sender == "shop@example.org"
    assert "/reset/" in reset.message.get_content()


def test_the_same_attachment_in_many_mails_is_stored_once() -> None:
    messages = []
    for number in range(20):
        message = EmailMessage(f"Bill {number}", "B", SENDER, [f"u{number}@example.org"])
        message.attach("terms.pdf", b"%PDF" * 1000, "application/pdf")
        messages.append(message)
    assert mail.get_connection().send_messages(messages) == 20
    content = MailContent.objects.get()
    assert content.attachments.count() == 1


def test_a_program_is_refused_also_in_a_mail_that_fields_cannot_hold() -> None:
    message = EmailMessage("S", "B", SENDER, ["ada@example.org"], headers={"Sensitivity": "x"})
    message.attach("a.exe", b"MZ", "application/x-any")
    with pytest.raises(errors.InvalidField, match=r"\.exe"):
        message.send()
    assert Notification.objects.count() == 0
