"""Messages of Django's mail as requests for notifications, one for each recipient."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from email.mime.base import MIMEBase
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives

from notifications.channels import addresses, given_headers, mail
from notifications.channels.mail import UNKNOWN_TYPE, File, Mail
from notifications.core.conf import conf
from notifications.core.errors import InvalidField
from notifications.gateways import steering
from notifications.providers import accounts

# What Django names as the sender where a project names none.
NOBODY = ("webmaster@localhost", "root@localhost")
_DJANGOS = (EmailMessage, EmailMultiAlternatives)
_WRITES = frozenset({"message", "_create_message"})
_OF_A_PART = frozenset(
    {
        *("content-type", "content-transfer-encoding", "content-disposition", "content-id"),
        *("mime-version", "x-attachment-id"),
    }
)

Fields = dict[str, Any]


def requests_of(message: EmailMessage) -> list[Mapping[str, Any]]:
    """Return a request for each recipient. Raises ``InvalidField``."""
    steered = steering.read((name, str(value)) for name, value in message.extra_headers.items())
    recipients = _recipients(message)
    found = _parts(message) if _is_plain(message) else None
    if "template" in steered:
        shared, beside = {}, found or _common_fields(message)
        beside.pop("html", None)
    elif found is not None:
        shared = {"subject": str(message.subject), "body": _text(message)}
        beside = found
    else:
        shared = {"subject": _one_line(message.subject), "body": ""}
        beside = {}
    kept = _mail(message, beside, several=len(recipients) > 1)
    if not ("template" in steered or found is not None):
        kept = replace(_raw(message), from_email=kept.from_email if kept else "")
    key = steered.pop("idempotency_key", "")
    return [
        {
            "channel": "email",
            "subject": "",
            **shared,
            **steered,
            "recipient": address,
            **({"idempotency_key": f"{key}:{address}"} if key else {}),
            "mail": kept,
        }
        for address in recipients
    ]


def _recipients(message: EmailMessage) -> list[str]:
    """Return whom a message names, each mailbox once, however often and in whatever form."""
    found: dict[str, str] = {}
    for address in map(str, message.recipients()):
        try:
            found.setdefault(addresses.mailbox(address).address, address)
        except addresses.BadAddress:  # refused as a recipient
            found.setdefault(address, address)
    return [*found.values()]


def _headers(message: EmailMessage) -> dict[str, str]:
    return {
        name: str(value) for name, value in message.extra_headers.items() if steering.is_sent(name)
    }


def _is_plain(message: EmailMessage) -> bool:
    """Return whether a message's fields say all that Django would write of it."""
    kind = type(message)
    own = [
        class_
        for class_ in kind.__mro__
        if class_ not in _DJANGOS and not _WRITES.isdisjoint(vars(class_))
    ]
    return (
        not own
        and str(message.encoding or "utf-8").lower() in ("utf-8", "utf8")
        and message.content_subtype in ("plain", "html")
        and all(map(given_headers.is_allowed, _headers(message)))
    )


def _parts(message: EmailMessage) -> Fields | None:
    """Return what the message has beside its text; None for what the fields cannot hold."""
    html = str(message.body) if message.content_subtype == "html" else ""
    for content, kind in getattr(message, "alternatives", ()):
        if html or kind != "text/html":
            return None
        html = str(content)
    files = list(map(_attachment, message.attachments))
    known = [file for file in files if file is not None]
    subtype = getattr(message, "mixed_subtype", "mixed")  # Django 6 has none
    related = subtype == "related" and all(file.content_id for file in known)
    if len(known) < len(files) or not (subtype == "mixed" or related):
        return None
    if not (message.body or html or files):
        return None
    return {**_common_fields(message), "html": html, "attachments": known}


def _common_fields(message: EmailMessage) -> Fields:
    return {"headers": _headers(message), "reply_to": [*map(str, message.reply_to)]}


def _text(message: EmailMessage) -> str:
    return "" if message.content_subtype == "html" else str(message.body)


def _attachment(given: Any) -> File | None:
    """Read an attachment; None for one that only Django can write."""
    if isinstance(given, MIMEBase):
        return _part(given)
    filename, content, kind = given
    kind = kind or UNKNOWN_TYPE
    if not filename or kind.startswith(("message/", "multipart/")):
        return None
    if isinstance(content, str):
        content = content.encode()
        kind = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
    if not isinstance(content, bytes):
        return None
    return mail.file({"filename": _name(str(filename)), "content": content, "content_type": kind})


def _part(part: MIMEBase) -> File | None:
    if part.is_multipart() or not {name.lower() for name in part.keys()} <= _OF_A_PART:  # noqa: SIM118 -- not a dict
        return None
    content = part.get_payload(decode=True)
    content_id = str(part.get("Content-ID", "")).strip("<> ")
    of_id = content_id and f"{content_id}.{part.get_content_subtype()}"
    filename = _name(part.get_filename() or "") or of_id
    if not filename or not isinstance(content, bytes):
        return None
    if content_id and part.get_content_disposition() == "attachment":
        content_id = ""
    given = {"filename": filename, "content": content, "content_id": content_id}
    return mail.file({**given, "content_type": part.get_content_type()})


def _name(given: str) -> str:
    """Return a file's name as readers of Django's mail show it.

    Django writes it as it is, so an encoded word (RFC 2047) is decoded, unless no file has such a
    name: then it is kept letter by letter.
    """
    read = mail.as_read(given)
    return read if read.isprintable() and "/" not in read and "\\" not in read else given


def _mail(message: EmailMessage, beside: Fields, *, several: bool) -> Mail | None:
    """Make what all recipients of a message share."""
    sender = str(message.from_email)
    if sender in (*NOBODY, settings.EMAIL_FROM) and not accounts.may_send_as("email", sender):
        sender = ""
    kept = mail.check({**beside, "from_email": sender})
    if several:
        kept = replace(
            kept or Mail(), to=tuple(_boxes(message.to)), shown_cc=tuple(_boxes(message.cc))
        )
    return kept


def _boxes(given: list[Any]) -> Iterator[str]:
    """Write addresses for a header; what is not one is refused as a recipient."""
    for address in map(str, given):
        try:
            yield addresses.written(addresses.mailbox(address))
        except addresses.BadAddress:
            continue


def _raw(message: EmailMessage) -> Mail:
    """Write the message as Django does, without the headers that are for us."""
    headers = message.extra_headers
    message.extra_headers = _headers(message)
    try:
        written = message.message()
    finally:
        message.extra_headers = headers
    sender = str(written.get("From", ""))
    if not accounts.may_send_as("email", sender):
        raise InvalidField(
            "No account may send as the address in the header From.", field="from_email"
        )
    content = re.sub(rb"\r?\n", b"\r\n", written.as_bytes())  # line ends of RFC 5322
    if len(content) > conf.mail_bytes * 3 // 2:
        raise InvalidField("The mail is larger than is accepted.", field="attachments")
    mail.refuse_executables_of(content)
    return Mail(raw=File(content, content_type="message/rfc822"))


def _one_line(subject: Any) -> str:
    return " ".join(str(subject).split())
