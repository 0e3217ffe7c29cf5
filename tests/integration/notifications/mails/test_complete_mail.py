"""Everything that a mail may have, as it arrives at a mail server."""

import base64
import io
import json
import subprocess
from collections.abc import Callable
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from notifications.core import errors
from notifications.models import Attachment, Attempt, MailContent, Notification, ProviderAccount
from notifications.operations.replays import resend
from notifications.providers import accounts, mail_body
from notifications.providers.mime import single_line
from notifications.recipients import suppressions
from notifications.submission import send, send_many
from tests.integration.notifications.providers.templates import published
from tests.integration.notifications.providers.test_odd_input import WRITTEN
from tests.servers.smtp import SmtpServer

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 40
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
INVITATION = b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"


def test_a_mail_with_everything_arrives_with_everything(mail: Callable[..., Any]) -> None:
    got = mail(
        recipient="Ada Lovelace, Dr. <ada@example.org>",
        from_email="Rechnungen Grün <billing@example.org>",
        reply_to=["Help Desk <help@example.org>", "more@example.org"],
        cc=["Bob <bob@example.org>"],
        bcc=["carol@example.org"],
        headers={"X-Order": "4711", "In-Reply-To": "<1@shop.example>", "X-Note": "Grüße"},
        html='<p>Dear Ada <img src="cid:logo"></p>',
        attachments=[
            {"filename": "Rechnung März.pdf", "content": base64.b64encode(PDF).decode()},
            {
                "filename": "logo.png",
                "content": PNG,
                "content_type": "image/png",
                "content_id": "logo",
            },
            {
                "filename": "invite.ics",
                "content": io.BytesIO(INVITATION),
                "content_type": "text/calendar; method=REQUEST; charset=utf-8",
            },
        ],
    )
    assert got.sender == "billing@example.org"
    assert got.recipients == ["ada@example.org", "bob@example.org", "carol@example.org"]
    message = got.message
    assert message["To"].addresses[0].display_name == "Ada Lovelace, Dr."
    assert message["From"].addresses[0].display_name == "Rechnungen Grün"
    assert message["Reply-To"] == "Help Desk <help@example.org>, more@example.org"
    assert message["Cc"] == "Bob <bob@example.org>"
    assert b"carol" not in got.octets
    assert (message["X-Order"], message["In-Reply-To"]) == ("4711", "<1@shop.example>")
    assert message["X-Note"] == "Grüße"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_body(("plain",)).get_content().split() == ["Dear", "Ada"]
    assert 'src="cid:logo"' in message.get_body(("html",)).get_content()
    parts = {part.get_content_type(): part for part in message.walk()}
    assert parts["image/png"]["Content-ID"] == "<logo>"
    assert parts["image/png"].get_payload(decode=True) == PNG
    assert parts["image/png"].get_content_disposition() == "inline"
    assert parts["text/calendar"].get_param("method") == "REQUEST"
    assert parts["text/calendar"].get_payload(decode=True) == INVITATION
    assert parts["application/pdf"].get_filename() == "Rechnung März.pdf"
    assert parts["application/pdf"].get_payload(decode=True) == PDF
    assert max(map(len, got.octets.split(b"\r\n"))) <= 998
    assert got.octets.isascii()


# What ``email`` would decode, with the type that it is sent as.
ENCODED = "=?utf-8?q?a=0D=0A=0D=0Ainjected_body?=.txt"
NAMES = {
    "=?utf-8?q?evil=2Eexe?=": "application/octet-stream",
    ENCODED: "text/plain",
    "=?utf-8?q?=2E=2E=2F?=": "application/octet-stream",
    "a\"b;c=d%41'.txt": "text/plain",
    "ä" * 200 + ".pdf": "application/pdf",
    "x y" * 80 + ".pdf": "application/pdf",
    "forwarded.eml": "application/octet-stream",  # RFC 2046, 5.2.1: no whole mail in base64
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_id", ["", "logo"])
def test_a_file_has_the_name_that_was_given_letter_by_letter(
    mail: Callable[..., Any], name: Any, content_id: str
) -> None:
    file = {"filename": name, "content": b"x", "content_id": content_id}
    kind = {"content_type": f'text/plain; name="{ENCODED}"'} if name == ENCODED else {}
    got = mail(html="<p>x</p>", attachments=[{**file, **kind}])
    for reader in (policy.default, policy.compat32):
        read = message_from_bytes(got.octets, policy=reader)
        [part] = [part for part in read.walk() if part.get_filename()]
        assert part.get_filename() == name
        assert part.get_content_type() == NAMES[name]
        assert part.get_payload(decode=True) == b"x"
        assert part.get_content_disposition() == ("inline" if content_id else "attachment")
    assert b"=?utf-8" not in got.octets
    assert b"injected body" not in got.octets
    assert max(map(len, got.octets.split(b"\r\n"))) <= 78


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("\u200fדר <ada@example.org>\u200f", "דר"),
        ("张三 \uff1c\uff41\uff44\uff41\uff20example.org\uff1e", "张三"),
    ],
)
def test_a_named_recipient_is_read_as_it_is_typed(
    mail: Callable[..., Any], typed: str, name: str
) -> None:
    got = mail(recipient=typed)
    assert got.recipients == ["ada@example.org"]
    assert str(got.message["To"]) == f"{name} <ada@example.org>"


def test_html_stands_beside_the_body_or_alone(mail: Callable[..., Any]) -> None:
    both = mail(html="<p>Dear Ada</p>").message
    assert both.get_content_type() == "multipart/alternative"
    alone = mail(body="", html="<p>Dear Ada</p>").message
    assert alone.get_content_type() == "text/html"


def test_a_template_takes_the_fields_of_a_mail_but_no_html_of_its_own(
    mail: Callable[..., Any],
) -> None:
    published("welcome", "transactional")
    files = [{"filename": "a.txt", "content": b"a"}]
    got = mail(subject="", body="", template="welcome", attachments=files).message
    assert [part.get_filename() for part in got.iter_attachments()] == ["a.txt"]
    assert got.get_body(("plain",)).get_content().split() == ["Dear", "Ada"]
    with pytest.raises(errors.MissingContent) as raised:
        mail(subject="", body="", template="welcome", html="<p>x</p>")
    assert raised.value.field == "html"


def test_a_copy_that_is_refused_is_told_and_costs_nobody_else(
    mail: Callable[..., Any], smtp_server: SmtpServer
) -> None:
    smtp_server.answer("bob@example.org", ["550 5.1.1 No such user"])
    got = mail(cc=["bob@example.org"], bcc=["carol@example.org"])
    assert got.recipients == ["ada@example.org", "carol@example.org"]
    assert "b…@example.org was refused: 550 5.1.1" in Attempt.objects.get().detail


def test_an_address_gets_one_copy_however_often_and_in_whatever_form_it_is_named(
    mail: Callable[..., Any],
) -> None:
    got = mail(
        recipient="ada@bücher.example",
        cc=["Ada <ada@XN--BCHER-KVA.example>", "bob@example.org"],
        bcc=["bob@EXAMPLE.org", "ada@BÜCHER.example"],
    )
    assert got.recipients == ["ada@xn--bcher-kva.example", "bob@example.org"]


def test_a_suppressed_copy_is_left_out(mail: Callable[..., Any]) -> None:
    suppressions.suppress("email", "Bob@example.org", "hard_bounce")
    got = mail(cc=["Bob <bob@example.org>", "carol@example.org"], bcc=['"b\\ob"@example.org'])
    assert got.recipients == ["ada@example.org", "carol@example.org"]
    assert got.message["Cc"] == "carol@example.org"


def test_a_refused_recipient_gets_no_copy_either(
    account: ProviderAccount, deliver: Callable[..., Any], smtp_server: SmtpServer
) -> None:
    smtp_server.answer("ada@example.org", ["550 5.7.1 Not you"])
    row = send(channel="email", recipient="ada@example.org", body="B", cc=["bob@example.org"])
    [recorded] = deliver(row)
    assert recorded.status == "failed"
    assert smtp_server.messages == []


def test_a_mail_larger_than_the_server_takes_is_not_sent(
    account: ProviderAccount, deliver: Callable[..., Any], smtp_server: SmtpServer
) -> None:
    # aiosmtpd says SIZE 33554432
    smtp_server._controller.SMTP_kwargs["data_size_limit"] = 1000
    row = send(
        channel="email",
        recipient="ada@example.org",
        body="B",
        attachments=[{"filename": "a.pdf", "content": PDF}],
    )
    [recorded] = deliver(row)
    assert (recorded.status, recorded.code) == ("failed", "size")
    assert smtp_server.messages == []


def test_a_thousand_rows_share_one_attachment_and_the_last_one_takes_it_along(
    account: ProviderAccount,
) -> None:
    shared: list[Any] = [{"filename": "offer.pdf", "content": PDF}]
    rows = [{"recipient": f"u{n}@example.org"} for n in range(1000)]
    sent = send_many(rows, channel="email", body="B", attachments=shared)
    assert sent.accepted == 1000
    again = send(channel="email", recipient="z@example.org", body="B", attachments=shared)
    assert (MailContent.objects.count(), Attachment.objects.count()) == (1, 1)
    assert {*Notification.objects.values_list("mail_id", flat=True)} == {again.mail_id}
    other = send(
        channel="email",
        recipient="z@example.org",
        body="B",
        cc=["a@example.org"],
        attachments=shared,
    )
    assert other.mail_id != again.mail_id
    assert Attachment.objects.count() == 1


def test_a_mail_that_is_sent_again_has_what_it_had(
    mail: Callable[..., Any], deliver: Callable[..., Any], smtp_server: SmtpServer
) -> None:
    mail(cc=["bob@example.org"], attachments=[{"filename": "a.pdf", "content": PDF}])
    first = Notification.objects.get()
    [recorded] = deliver(resend(first))
    assert recorded.status == "sent"
    got = smtp_server.messages[-1]
    assert got.recipients == ["ada@example.org", "bob@example.org"]
    assert [p.get_payload(decode=True) for p in got.message.iter_attachments()] == [PDF]
    assert MailContent.objects.count() == 1


def test_the_same_key_with_another_attachment_is_a_conflict(account: ProviderAccount) -> None:
    fields: dict[str, Any] = {
        "channel": "email",
        "recipient": "a@example.org",
        "body": "B",
        "idempotency_key": "k",
    }
    first = send(**fields, attachments=[{"filename": "a.pdf", "content": PDF}])
    encoded = base64.encodebytes(PDF).decode()
    same = send(**fields, attachments=[{"filename": "a.pdf", "content": encoded}])
    assert same.id == first.id
    with pytest.raises(errors.IdempotencyConflict):
        send(**fields, attachments=[{"filename": "a.pdf", "content": PDF + b"x"}])


def test_nobody_reaches_what_is_stored_by_its_hash(account: ProviderAccount) -> None:
    send(
        channel="email",
        recipient="a@example.org",
        body="B",
        attachments=[{"filename": "a.pdf", "content": PDF}],
    )
    digest = Attachment.objects.get().digest
    files: tuple[Any, ...] = ({"digest": digest}, {"filename": "a.pdf", "digest": digest})
    for wrong in files:
        with pytest.raises(errors.InvalidNotification):
            send(channel="email", recipient="a@example.org", body="B", attachments=[wrong])
    with pytest.raises(errors.UnknownArgument):
        send(
            channel="email",
            recipient="a@example.org",
            body="B",
            mail={"digest": digest},  # type: ignore[call-arg]  # on purpose
        )


def test_the_sender_decides_which_account_carries_it(
    account: ProviderAccount,
    deliver: Callable[..., Any],
    make_smtp_server: Callable[..., SmtpServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = make_smtp_server()
    monkeypatch.setenv("SECRET_OTHER_URL", other.url)
    made = type(account).objects.create(
        name="other",
        channel="email",
        kind="smtp",
        settings={"from": "other@other.example"},
        secrets={"url": "env:SECRET_OTHER_URL"},
        weight=100_000,
    )
    accounts.forget()
    row = send(channel="email", recipient="a@example.org", body="B", from_email="x@news.example")
    [recorded] = deliver(row)
    assert (recorded.status, other.messages) == ("sent", [])
    made.delete()
    accounts.forget()


MAILPARSER = """
const {simpleParser} = require('mailparser');
simpleParser(process.stdin).then(mail => console.log(JSON.stringify({
  subject: mail.subject, from: mail.from.value, to: mail.to.value, cc: mail.cc.value,
  text: mail.text, html: mail.html,
  files: mail.attachments.map(one => [one.filename || '', one.contentType, one.cid || '',
    one.content.toString('base64')]),
})));
"""


def everything(mail: Callable[..., Any]) -> bytes:
    """Send a mail with all that one may have, and return its octets."""
    got = mail(
        recipient="Ada Größe <ada@example.org>",
        subject="Grüße, Ada",
        body="Liebe Ada",
        html='<p>ä <img src="cid:logo"></p>',
        cc=["Bob <bob@example.org>"],
        attachments=[
            {"filename": "ä b.txt", "content": "Grüße".encode()},
            {"filename": "x" * 100 + "ü.pdf", "content": PDF},
            {"filename": "logo.png", "content": PNG, "content_id": "logo"},
            {
                "filename": "invite.ics",
                "content": INVITATION,
                "content_type": "text/calendar; method=REQUEST; charset=utf-8",
            },
        ],
    )
    octets: bytes = got.octets
    return octets


def test_two_parsers_read_the_same(mail: Callable[..., Any]) -> None:
    octets = everything(mail)
    first = message_from_bytes(octets, policy=policy.default)
    other = message_from_bytes(octets, policy=policy.compat32)
    read, again = (
        [
            (part.get_content_type(), part.get_filename(), part.get_payload(decode=True))
            for part in found.walk()
        ]
        for found in (first, other)
    )
    assert read == again
    assert {"text/calendar", "image/png", "application/pdf"} <= {kind for kind, *_ in read}


def test_a_parser_in_javascript_reads_what_was_sent(
    mail: Callable[..., Any], npm_install: Callable[[str], Path]
) -> None:
    folder = npm_install("mailparser@3")
    run = subprocess.run(
        ["node", "-e", MAILPARSER],
        cwd=folder,
        input=everything(mail),
        capture_output=True,
        check=True,
        timeout=60,
    )
    told = json.loads(run.stdout)
    assert told["subject"] == "Grüße, Ada"
    assert told["to"] == [{"address": "ada@example.org", "name": "Ada Größe"}]
    assert told["cc"] == [{"address": "bob@example.org", "name": "Bob"}]
    assert told["text"].strip() == "Liebe Ada"
    files = {(kind, cid): (name, base64.b64decode(held)) for name, kind, cid, held in told["files"]}
    assert files["text/plain", ""] == ("ä b.txt", "Grüße".encode())
    assert files["application/pdf", ""] == ("x" * 100 + "ü.pdf", PDF)
    assert files["image/png", "logo"][1] == PNG
    assert files["text/calendar", ""][1] == INVITATION


SUBJECTS = """
const {simpleParser} = require('mailparser');
let given = '';
process.stdin.on('data', some => { given += some; }).on('end', async () => {
  const octets = JSON.parse(given).map(one => Buffer.from(one, 'base64'));
  const mails = await Promise.all(octets.map(one => simpleParser(one)));
  console.log(JSON.stringify(mails.map(mail => [
    mail.subject, mail.text, mail.html, mail.from.value[0].name, mail.to.value[0].name,
  ])));
});
"""


def test_a_parser_in_javascript_reads_every_script_as_python_does(
    mail: Callable[..., Any], account: ProviderAccount, npm_install: Callable[[str], Path]
) -> None:
    folder = npm_install("mailparser@3")
    octets, wanted = [], []
    for text in (*WRITTEN.values(), "=?utf-8?q?x?=", "x" * 1500, "🎉" * 200, "two  blanks " * 20):
        name = single_line(text)[:100].replace('"', "").replace("<", "").strip()
        account.settings["from"] = f"{name} <shop@example.org>"
        account.save()
        accounts.forget()
        recipient = f"{name} <ada@example.org>"
        body = f"{text}\n.\n..{text}"
        got = mail(recipient=recipient, subject=single_line(text), body=body, html=f"<p>{text}</p>")
        octets.append(base64.b64encode(got.octets).decode())
        wanted.append([single_line(text), body, f"<p>{text}</p>", name, name])
        read = message_from_bytes(got.octets, policy=policy.strict)
        assert str(read["Subject"]) == single_line(text)
    run = subprocess.run(
        ["node", "-e", SUBJECTS],
        cwd=folder,
        input=json.dumps(octets).encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    told = [[part.strip() for part in parts] for parts in json.loads(run.stdout)]
    assert told == [[part.strip() for part in parts] for parts in wanted]


def test_for_a_server_without_8bitmime_names_stay_as_they_were_written() -> None:
    raw = (
        "From: a@b.example\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nGrüße\r\n"
        "--x\r\nContent-Type: image/png; name=ä\r\n"
        f'Content-Disposition: attachment; filename="ä {ENCODED}"\r\n\r\nx\r\n--x\r\n'
        f'Content-Disposition: attachment; filename="{ENCODED}"\r\n\r\nx\r\n--x--\r\n'
    )
    written = mail_body.seven_bit(raw.encode())
    assert b"injected body" not in written
    read = message_from_bytes(written, policy=policy.compat32)
    named = [(part.get_content_type(), part.get_filename()) for part in read.walk()][2:]
    assert [part.get_payload(decode=True) for part in read.walk()][1] == "Grüße".encode()
    assert named == [("image/png", f"ä {ENCODED}"), ("text/plain", ENCODED)]
