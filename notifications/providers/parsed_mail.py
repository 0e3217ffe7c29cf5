"""A mail as somebody else wrote it, taken apart for services that want its parts."""

import email
import re
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from typing import Any

from notifications.channels import given_headers
from notifications.channels.mail import File, StoredFile
from notifications.providers.mime import single_line


def fields_of(raw: bytes) -> dict[str, Any]:
    """Return subject, text, html, reply_to, headers and attachments of a mail.

    Headers are those that a caller may give; a charset that does not exist costs its letters.
    """
    mail = email.message_from_bytes(raw, policy=policy.default)
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    bodies = [part for part in (text, html) if part is not None]
    replies = [
        str(address) for header in mail.get_all("Reply-To", []) for address in header.addresses
    ]
    allowed = [name for name in mail.keys() if given_headers.is_allowed(name)]  # noqa: SIM118 -- not a dict
    return {
        "subject": str(mail.get("Subject", "")),
        "text": _text(text),
        "html": _text(html),
        "reply_to": replies,
        "headers": {name: single_line(str(mail[name])) for name in allowed},
        "attachments": tuple(map(_file, _others(mail, bodies))),
    }


def _text(part: Any) -> str:
    if part is None:
        return ""
    octets = part.get_payload(decode=True) or b""
    try:
        return str(octets.decode(part.get_content_charset("utf-8"), "replace"))
    except LookupError:
        return str(octets.decode("utf-8", "replace"))


def _others(mail: EmailMessage, bodies: list[Any]) -> Iterator[Any]:
    for part in mail.walk():
        if not part.is_multipart() and not any(part is body for body in bodies):
            yield part


def _file(part: Any) -> StoredFile:
    octets = part.get_payload(decode=True)
    content = octets if isinstance(octets, bytes) else b""
    return StoredFile(
        size=len(content),
        digest=File(content).digest,
        read=lambda: content,
        filename=_name(part.get_filename("")) or f"part.{part.get_content_subtype()}",
        content_type=part.get_content_type(),
        content_id=single_line(str(part.get("Content-ID", ""))).strip("<> "),
    )


def _name(decoded: str) -> str:
    """Return a file's name without the path and the line breaks that were encoded in it."""
    return single_line(re.split(r"[/\\]", decoded)[-1])
