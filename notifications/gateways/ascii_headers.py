"""The headers of a mail that a program wrote in letters outside ASCII, written in ASCII.

Many servers take no such header without SMTPUTF8 (RFC 6531), and a text needs none: it becomes
encoded words (RFC 2047), a parameter percent-encoded octets (RFC 2231), a domain its A-label.
"""

import re
from collections.abc import Iterator
from email import policy

from notifications.channels import addresses
from notifications.core.errors import InvalidField
from notifications.providers import mail_body, mime

_FIELD = re.compile(rb"[^\r\n]*(?:\r\n[ \t][^\r\n]*)*(?:\r\n)?")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_WORD = r'(?:"(?:[^"\\]|\\.)*"|[^\s"<>(),:;@])++(?!@)'
# An address in angle brackets or alone, or the words of a name.
_ADDRESS_OR_NAME = re.compile(
    r'<(?P<angle>[^<>]*)>|(?P<alone>[^\s"<>(),:;@]++@[^\s"<>(),:;@]+)'
    rf"|(?<![^\s<>(),:;])(?P<name>{_WORD}(?:\s+{_WORD})*)"
)
_WITH_ADDRESSES = frozenset(
    {
        *("from", "sender", "reply-to", "to", "cc", "return-path", "errors-to"),
        *("resent-from", "resent-sender", "resent-to", "resent-cc", "resent-reply-to"),
        *("disposition-notification-to", "return-receipt-to"),
        *("message-id", "in-reply-to", "references"),
    }
)


def in_ascii(head: bytes) -> bytes:
    """Write header lines so that only a name before an @ has octets that are not ASCII.

    Text that is not UTF-8 is read as Windows-1252. Raises ``InvalidField`` for a header whose name
    is not ASCII.
    """
    if head.isascii():
        return head
    return b"".join(field if field.isascii() else _written(field) for field in _fields(head))


def _fields(head: bytes) -> Iterator[bytes]:
    return (match[0] for match in _FIELD.finditer(head) if match[0])


def _written(field: bytes) -> bytes:
    octets, colon, value = field.partition(b":")
    if not colon or not octets.isascii():
        raise InvalidField("The name of a header must be ASCII (RFC 5322, 2.2).", field="headers")
    name = octets.decode().strip()
    text = mime.single_line(_text(value))
    if name.lower() in mail_body.OF_A_FILE:
        written = mail_body.in_ascii(name, text).replace("\n", "\r\n")
    elif name.lower() in _WITH_ADDRESSES:
        shorter = _ADDRESS_OR_NAME.sub(_part_in_ascii, text)
        written = mime.folded(shorter, mime.GOOD_LINE - len(name) - 2)
    else:
        written = mime.encoded_words(_decoded(text), len(name) + 2)
    return f"{name}: {written}\r\n".encode()


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("cp1252", "replace")


def _part_in_ascii(part: re.Match[str]) -> str:
    if part[0].isascii():
        return part[0]
    if part["name"] is None:
        address = part["angle"] or part["alone"] or ""
        return part[0].replace(address, _wired(address))
    name = _QUOTED.sub(lambda quoted: re.sub(r"\\(.)", r"\1", quoted[1]), part["name"])
    words = mime.encoded_words(_decoded(name), 0).replace("\r\n", "")
    # Blanks part them from all else (RFC 2047, 5).
    before, after = part.string[: part.start()][-1:], part.string[part.end() :][:1]
    return f"{' ' if before.strip() else ''}{words}{' ' if after.strip() else ''}"


def _wired(address: str) -> str:
    try:
        return addresses.wire(address)
    except (addresses.BadAddress, UnicodeError):
        return address  # as it was written: the server that it is sent to judges it


def _decoded(text: str) -> str:
    """Read the encoded words in a text: within others they would be shown as letters."""
    return str(policy.default.header_factory("Subject", text)) if "=?" in text else text
