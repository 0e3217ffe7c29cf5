"""A mail's bytes (RFC 5322, RFC 2045), written straight from a prepared frame.

Python's own writers cost half a millisecond a mail; most of what we send has one or two text parts,
and needs a hundredth of that. A body with attachments is written by them (``mail_body``).
"""

import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from email.utils import formatdate
from functools import lru_cache

from notifications.channels import addresses, options
from notifications.channels.base import Content, Message
from notifications.providers import mail_body, mail_headers

LONGEST_LINE = 998  # octets (RFC 5322, 2.1.1)
GOOD_LINE = 78  # characters of a header's line (RFC 5322, 2.1.1)
LONGEST_WORD = 75  # characters of an encoded word (RFC 2047, 2)

# What a header cannot show, or what would end its line.
_BREAKS_AND_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_AS_IT_IS = re.compile(rb"[A-Za-z0-9!*+/-]")  # in an encoded word, wherever it stands (RFC 2047, 5)


class MailWriter:
    """Writes the mails of one sender.

    ``identity`` says by which names marketing mail is told apart.
    """

    def __init__(
        self, sender: addresses.Sender, identity: mail_headers.Identity | None = None
    ) -> None:
        self.address = sender.address
        self._domain = self.address.rpartition("@")[2]
        self._identity = identity or mail_headers.identity({}, sender)
        always = {"From": mailbox("From", sender), "MIME-Version": "1.0", **mail_headers.AUTOMATIC}
        self._always = "\r\n".join(_lines(always))

    def message_id(self, message: Message) -> str:
        """Return the Message-ID (RFC 5322, 3.6.4): the notification's id, the same on each try."""
        return f"<{message.id}@{self._domain}>"

    def write(self, message: Message, recipient: str) -> bytes:
        """Write the mail with CRLF line ends, text and HTML side by side where there are both.

        ``recipient`` is the address as it goes to the server. One that is not ASCII makes the
        mail a SMTPUTF8 one (RFC 6532); of any other, each octet is ASCII.
        """
        content = message.content
        headers = [
            self._always,
            *_list_lines(content.get("list", ""), self._identity),
            *_address_lines(content, recipient),
            f"Subject: {unstructured('Subject', content.get('subject', ''))}",
            f"Date: {formatdate()}",
            f"Message-ID: {self.message_id(message)}",
            *(f"{name}: {given(name, value)}" for name, value in _extra(content).items()),
        ]
        if content.get("attachments"):
            return "\r\n".join([*headers, ""]).encode() + mail_body.of(content)
        return "\r\n".join([*headers, *_body(message)]).encode()


def _lines(headers: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name}: {value}" for name, value in headers.items())


@lru_cache(maxsize=1000)
def _list_lines(name: str, identity: mail_headers.Identity) -> tuple[str, ...]:
    return _lines(mail_headers.of_list(name, identity))


def _address_lines(content: Content, recipient: str) -> Iterator[str]:
    """Return To, and Cc and Reply-To where the mail has any."""
    if content.get("to"):
        yield f"To: {_address_list('To', content['to'])}"
    elif name := options.of(content).get("to_name"):
        yield f"To: {mailbox('To', addresses.Sender(name, recipient))}"
    else:
        yield f"To: {recipient}"
    for header, names in _ADDRESS_HEADERS.items():
        if listed := [address for name in names for address in content.get(name, ())]:
            yield f"{header}: {_address_list(header, listed)}"


_ADDRESS_HEADERS = {"Cc": ("cc", "shown_cc"), "Reply-To": ("reply_to",)}


def _address_list(header: str, mailboxes: Iterable[str]) -> str:
    """Write addresses, each on a line of its own (RFC 5322, 3.4)."""
    boxes = (addresses.mailbox(address) for address in mailboxes)
    wired = (addresses.Sender(box.name, addresses.wire(box.address)) for box in boxes)
    return ",\r\n ".join(mailbox(header, sender) for sender in wired)


def given(header: str, text: str) -> str:
    """Write the value of a header that a caller gave: ASCII as it is, folded at its blanks."""
    if text.isascii():
        return folded(text, GOOD_LINE - len(header) - 2)
    return encoded_words(text, len(header) + 2)


def mailbox(header: str, sender: addresses.Sender) -> str:
    """Write a name and an address as the value of a header (RFC 5322, 3.4)."""
    if not sender.name:
        return sender.address
    name = single_line(sender.name)
    if name.isascii() and "=?" not in name and len(name) < GOOD_LINE // 2:
        written = addresses.phrase(name)
    else:
        written = encoded_words(name, len(header) + 2)
    return f"{written}{_gap(written, sender.address)}<{sender.address}>"


def _gap(written: str, address: str) -> str:
    last = len(written) - (written.rfind("\n") + 1)
    return " " if last + len(address) + 8 <= GOOD_LINE else "\r\n "


def unstructured(header: str, text: str) -> str:
    """Write a text as the value of a header; nothing in it can end the header.

    Readers show it as typed: blanks at its ends are dropped, and what looks like an encoded
    word is encoded.
    """
    line = single_line(text)
    room = GOOD_LINE - len(header) - 2
    if line.isascii() and "=?" not in line:
        if len(line) <= room:
            return line
        if "  " not in line and max(map(len, line.split(" "))) <= room:
            return folded(line, room)
    return encoded_words(line, len(header) + 2)


def single_line(text: str) -> str:
    """Return a text without line breaks, controls, and blanks at its ends."""
    return _BREAKS_AND_CONTROLS.sub(" ", text).strip()


def folded(line: str, room: int) -> str:
    """Fold an ASCII line at its blanks (RFC 5322, 2.2.3).

    The first line has a word even where that is too long: some readers take an empty first line
    for an empty header.
    """
    first, *others = line.split(" ")
    lines = [first]
    for word in others:
        longer = f"{lines[-1]} {word}"
        if len(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\r\n ".join(lines)


def encoded_words(text: str, used: int) -> str:
    """Write a text as encoded words, one a line, each of whole characters (RFC 2047, 2 and 5).

    ``used`` is how many characters the first line has already.
    """
    octets = text.encode()
    quoted = _q(octets)
    in_q = len(quoted) <= 4 * len(octets) / 3
    room = min(GOOD_LINE - 2 - used, LONGEST_WORD) - len(_EMPTY_WORD)
    if in_q and len(quoted) <= room:
        return f"=?utf-8?q?{quoted}?="
    if in_q:
        words = _split(text, room, _length_in_q)
        return "\r\n ".join(f"=?utf-8?q?{_q(word.encode())}?=" for word in words)
    words = _split(text, room - _PADDING, _length_in_b)
    return "\r\n ".join(f"=?utf-8?b?{_b(word.encode())}?=" for word in words)


def _split(text: str, room: int, length: Callable[[str], float]) -> Iterator[str]:
    """Cut a text so that each piece fits; the first has less room than those after it."""
    start, taken = 0, 0.0
    for at, char in enumerate(text):
        taken += length(char)
        if taken > room and at > start:
            yield text[start:at]
            start, taken, room = at, length(char), LONGEST_WORD - len(_EMPTY_WORD) - _PADDING
    yield text[start:]


def _q(octets: bytes) -> str:
    return "".join([_Q[octet] for octet in octets])


def _b(octets: bytes) -> str:
    return binascii.b2a_base64(octets, newline=False).decode()


def _length_in_q(char: str) -> float:
    return len(_q(char.encode()))


def _length_in_b(char: str) -> float:
    return len(char.encode()) * 4 / 3


_EMPTY_WORD = "=?utf-8?q??="
_PADDING = 2  # characters by which base64 fills up its last group, at most
_Q = tuple(
    "_" if octet == 0x20 else chr(octet) if _AS_IT_IS.match(bytes([octet])) else f"={octet:02X}"
    for octet in range(256)
)


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
