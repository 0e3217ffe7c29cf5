"""A mail's bytes (RFC 5322, RFC 2045), written straight from a prepared frame.

Python's own writers cost half a millisecond a mail; what we send has one recipient and one or
two text parts, and needs a hundredth of that.
"""

import binascii
from collections.abc import Mapping
from email.header import Header
from email.utils import formataddr, formatdate, parseaddr

from notifications.channels.base import Message

LONGEST_LINE = 998  # octets (RFC 5322, 2.1.1)


class MailWriter:
    """Writes mails of one sender, given like ``Shop <shop@example.org>``."""

    def __init__(self, sender: str) -> None:
        name, self.address = parseaddr(sender)
        self._from = formataddr((name, self.address))
        self._domain = self.address.rpartition("@")[2] or "localhost"

    def message_id(self, message: Message) -> str:
        """Give the Message-ID (RFC 5322, 3.6.4): the notification's id, the same on each try."""
        return f"<{message.id}@{self._domain}>"

    def write(self, message: Message) -> bytes:
        """Write the mail with CRLF line ends, text and HTML side by side where there are both."""
        content = message.content
        headers = [
            f"From: {self._from}",
            f"To: {message.recipient}",
            f"Subject: {_header(content.get('subject', ''))}",
            f"Date: {formatdate()}",
            f"Message-ID: {self.message_id(message)}",
            "MIME-Version: 1.0",
            *(f"{name}: {value}" for name, value in _extra(content).items()),
        ]
        return "\r\n".join([*headers, *_body(message)]).encode("ascii")


def _extra(content: Mapping[str, object]) -> Mapping[str, str]:
    extra = content.get("headers", {})
    return extra if isinstance(extra, Mapping) else {}


def _body(message: Message) -> list[str]:
    text, html = message.content.get("text", ""), message.content.get("html", "")
    if not html:
        return _part("plain", text)
    if not text:
        return _part("html", html)
    boundary = f"=_{message.id.hex}"
    return [
        f'Content-Type: multipart/alternative; boundary="{boundary}"',
        "",
        f"--{boundary}",
        *_part("plain", text),
        f"--{boundary}",
        *_part("html", html),
        f"--{boundary}--",
        "",
    ]


def _part(subtype: str, text: str) -> list[str]:
    encoding, encoded = _encoded(text)
    return [
        f"Content-Type: text/{subtype}; charset=utf-8",
        f"Content-Transfer-Encoding: {encoding}",
        "",
        encoded,
    ]


def _encoded(text: str) -> tuple[str, str]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    if lines.isascii() and max(map(len, lines.split("\n"))) <= LONGEST_LINE:
        return "7bit", lines.replace("\n", "\r\n")
    quoted = binascii.b2a_qp(lines.encode("utf-8", "replace"), istext=True).decode("ascii")
    return "quoted-printable", quoted.replace("\n", "\r\n")


def _header(value: str) -> str:
    """Fold and encode a header's value; nothing in it can end the header."""
    line = " ".join(value.splitlines())
    if line.isascii() and line.isprintable() and len(line) <= 60:
        return line
    return Header(
        line, "utf-8" if not line.isascii() else "us-ascii", header_name="Subject"
    ).encode(linesep="\r\n")
