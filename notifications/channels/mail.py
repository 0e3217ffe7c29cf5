"""What an email may have beside a recipient, a subject and a body: one definition of all of it.

``check`` reads it, from whichever entry point it came; ``Mail.kept`` is the form in which it is
stored, and ``StoredFile`` what a provider gets of an attachment. A field more is an entry of
``FIELDS``, an attribute of ``Mail``, a line in ``check``, and what the providers make of it.
"""

import binascii
import json
import mimetypes
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from functools import cached_property
from hashlib import sha256
from pathlib import PurePath
from typing import Any, NoReturn

from notifications.channels import addresses, given_headers
from notifications.core.conf import conf
from notifications.core.errors import InvalidField, UnknownArgument
from notifications.core.text import can_be_kept, shown

# By name: what the API's documentation says of it.
FIELDS: Mapping[str, str] = {
    "from_email": "The sender, like `Shop <shop@example.org>`: one that an account allows.",
    "reply_to": "Addresses to which a reply goes.",
    "cc": "Addresses that get a copy, and that everybody sees.",
    "bcc": "Addresses that get a copy, and that nobody sees.",
    "headers": "Headers of your own, by name.",
    "html": "The HTML beside `body`, where there is no template.",
    "attachments": "Files, with `filename`, `content_type` and `content` in base64.",
}
LISTS = ("reply_to", "cc", "bcc")
COPIES = ("cc", "bcc")
ATTACHMENT_FIELDS: Mapping[str, str] = {
    "filename": "A name without a path.",
    "content_type": "Like `application/pdf`; guessed from the file name if it is missing.",
    "content": "The file, in base64.",
    "content_id": "Of an inline picture, which the HTML shows by `cid:` and this id.",
}
LONGEST_TEXT = 1_000_000  # characters of the HTML
LONGEST_NAME = 255  # characters of a file's name
LONGEST_ADDRESS = 1000  # characters of an address with its name
MOST_FILES = 100
UNKNOWN_TYPE = "application/octet-stream"

CONTENT_TYPE = (
    r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:; ?[A-Za-z0-9-]+=(?:[A-Za-z0-9!#$&^_.+-]+|"
    r'"[ !#-\[\]-~]*"))*'
)
# Not =?, which readers take for the beginning of an encoded word (RFC 2047).
CONTENT_ID = r"(?!.*=\?)[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,200}"
_TYPE, _CONTENT_ID = re.compile(CONTENT_TYPE), re.compile(CONTENT_ID)
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")

Checked = dict[str, Any]


@dataclass(frozen=True)
class File:
    """A file with its content, as it was given."""

    content: bytes = field(repr=False)
    filename: str = ""
    content_type: str = UNKNOWN_TYPE
    content_id: str = ""

    @cached_property
    def digest(self) -> str:
        """The content's SHA-256, in hexadecimal."""
        return sha256(self.content).hexdigest()

    def kept(self) -> Checked:
        """Return what is stored beside the content."""
        found = {
            "filename": self.filename,
            "content_type": self.content_type,
            "content_id": self.content_id,
            "size": len(self.content),
            "digest": self.digest,
        }
        return {name: value for name, value in found.items() if value != ""}


@dataclass(frozen=True)
class StoredFile:
    """A file as a provider gets it. ``read`` raises ``TransientError`` where it cannot be had."""

    size: int
    digest: str
    read: Callable[[], bytes] = field(repr=False)
    filename: str = ""
    content_type: str = UNKNOWN_TYPE
    content_id: str = ""

    def described(self) -> Checked:
        """Return all but the content."""
        found = {
            "filename": self.filename,
            "content_type": self.content_type,
            "content_id": self.content_id,
            "size": self.size,
        }
        return {name: value for name, value in found.items() if value != ""}


@dataclass(frozen=True)
class Mail:
    """What was asked for, checked. Addresses are in the form of ``addresses.mailbox``.

    ``to`` and ``shown_cc`` are whom the headers To and Cc name, where that is not the recipient
    alone: each of those has a notification of its own. ``raw`` is a whole mail as somebody else
    wrote it, and then there is nothing else but the sender.
    """

    from_email: str = ""
    reply_to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    html: str = ""
    attachments: tuple[File, ...] = ()
    to: tuple[str, ...] = ()
    shown_cc: tuple[str, ...] = ()
    raw: File | None = None

    def files(self) -> tuple[File, ...]:
        """Return the files whose contents are to be stored."""
        return (*self.attachments, self.raw) if self.raw else self.attachments

    @cached_property
    def kept(self) -> Checked:
        """What is stored, without the files' contents."""
        parts = {part.name: value for part in fields(self) if (value := getattr(self, part.name))}
        for name, value in parts.items():
            if isinstance(value, tuple):
                parts[name] = [item.kept() if isinstance(item, File) else item for item in value]
        if self.raw:
            parts["raw"] = self.raw.kept()
        return parts

    @cached_property
    def digest(self) -> str:
        """A hash of the content, in hexadecimal (SHA-256)."""
        return digest_of(self.kept)

    @property
    def may_lack_a_body(self) -> bool:
        """Whether there is something to send without a body."""
        return bool(self.html or self.attachments or self.raw)


@dataclass(frozen=True)
class KeptMail:
    """A mail that is stored already: what a notification that is sent again has."""

    kept: Checked

    @property
    def digest(self) -> str:
        """A hash of the content, in hexadecimal (SHA-256)."""
        return digest_of(self.kept)

    @property
    def may_lack_a_body(self) -> bool:
        """Whether there is something to send without a body."""
        return any(self.kept.get(name) for name in ("html", "attachments", "raw"))


def digest_of(kept: Mapping[str, Any]) -> str:
    """Return a hash of a stored mail, in hexadecimal (SHA-256)."""
    return sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def described(content: Mapping[str, Any]) -> Checked:
    """Return a finished content with its files described, as JSON can hold it."""
    described = dict(content)
    if files := described.get("attachments"):
        described["attachments"] = [file.described() for file in files]
    if isinstance(described.get("raw"), StoredFile):
        described["raw"] = described["raw"].described()
    return described


def check(given: Mapping[str, Any]) -> Mail | None:
    """Check the fields that a mail has of its own; None where there are none.

    Raises ``InvalidField`` that names the field, like ``attachments.0.content``. Whether an
    account allows the sender is asked elsewhere.
    """
    if not any(given.values()):
        for name, value in given.items():
            if value is False or (isinstance(value, int | float) and value is not None):
                _refuse(f"{name} must not be a number.", name)
        return None
    lists = {name: _addresses(name, given.get(name)) for name in LISTS}
    mail = Mail(
        from_email=sender(given.get("from_email")),
        reply_to=lists["reply_to"],
        cc=lists["cc"],
        bcc=lists["bcc"],
        headers=given_headers.check(given.get("headers")),
        html=_html(given.get("html")),
        attachments=read_files(given.get("attachments")),
    )
    most = conf.mail_recipients
    if 1 + len(mail.cc) + len(mail.bcc) > most:
        _refuse(
            f"The mail has more than {most} recipients.",
            "bcc" if mail.bcc else "cc",
            "Send a batch, in which each recipient is a row.",
        )
    return mail


def check_size(mail: Mail, body: str) -> None:
    """Raise ``InvalidField`` for a mail that is larger than NOTIFICATIONS_MAIL_BYTES."""
    most = conf.mail_bytes
    size = sum(len(file.content) for file in mail.files()) + len(mail.html) + len(body)
    if size > most:
        _refuse(
            f"The mail has {size:,} bytes, and at most {most:,} are accepted.",
            "attachments" if mail.attachments else "html",
        )


def read_files(given: object) -> tuple[File, ...]:
    """Read attachments. A ``File`` that was read before is taken as it is.

    Raises ``InvalidField``.
    """
    if not given:
        given = ()
    if not isinstance(given, list | tuple):
        _refuse("attachments must be a list of files.", "attachments")
    if len(given) > MOST_FILES:
        _refuse(f"There are more than {MOST_FILES} attachments.", "attachments")
    files = tuple(
        item if isinstance(item, File) else file(item, f"attachments.{number}")
        for number, item in enumerate(given)
    )
    size, most = sum(len(file.content) for file in files), conf.mail_bytes
    if size > most:
        _refuse(f"The attachments have {size:,} bytes, and a mail at most {most:,}.", "attachments")
    return files


def _refuse(text: str, at: str, hint: str = "") -> NoReturn:
    raise InvalidField(text, field=at, hint=hint)


def _mailbox(text: object, at: str) -> str:
    if not isinstance(text, str):
        _refuse("An address must be text, like Ada <ada@example.org>.", at)
    if len(text) > LONGEST_ADDRESS:
        _refuse(f"An address with its name has at most {LONGEST_ADDRESS} characters.", at)
    try:
        return addresses.written(addresses.mailbox(text))
    except addresses.BadAddress as error:
        raise InvalidField(
            f"It is not a mail address. {error}",
            field=at,
            hint="Write it like Ada <ada@example.org>.",
        ) from None


def sender(given: object) -> str:
    """Return a sender as it is written. Raises ``InvalidField``; empty where none is given."""
    if not given:
        return ""
    sender = _mailbox(given, "from_email")
    try:
        addresses.sender(sender)
    except addresses.BadAddress as error:
        raise InvalidField(f"Nothing can be sent from it. {error}", field="from_email") from None
    return sender


def _addresses(name: str, given: object) -> tuple[str, ...]:
    if not given:
        return ()
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list | tuple):
        _refuse(f"{name} must be a list of addresses.", name)
    most = conf.mail_recipients
    if len(given) > most:
        _refuse(f"{name} has more than {most} addresses.", name)
    return tuple(_mailbox(address, f"{name}.{number}") for number, address in enumerate(given))


def _html(given: object) -> str:
    if not given:
        return ""
    if not isinstance(given, str):
        _refuse("html must be text.", "html")
    if len(given) > LONGEST_TEXT:
        _refuse(f"html is longer than {LONGEST_TEXT} characters.", "html")
    if not can_be_kept(given):
        _refuse(
            "html holds a character that cannot be stored (NUL or half of a surrogate pair).",
            "html",
        )
    return given


def file(given: object, at: str = "attachments") -> File:
    """Read an attachment, whose place is named ``at``. Raises ``InvalidField``."""
    if not isinstance(given, Mapping):
        _refuse("An attachment must be an object with filename and content.", at)
    for name in given:
        if name not in ATTACHMENT_FIELDS:
            raise UnknownArgument(
                f"An attachment has no field {shown(name)}.",
                field=at,
                hint=f"Known fields: {', '.join(ATTACHMENT_FIELDS)}.",
            )
    filename = _filename(given.get("filename"), f"{at}.filename")
    kind = _content_type(given.get("content_type"), filename, f"{at}.content_type")
    _refuse_executable(filename, kind, at)
    content_id = given.get("content_id") or ""
    if content_id and not (isinstance(content_id, str) and _CONTENT_ID.fullmatch(content_id)):
        _refuse(
            "A content_id has 1 to 200 letters, digits and signs of an address, like logo@shop, "
            "without < and >.",
            f"{at}.content_id",
        )
    return File(_content(given.get("content"), f"{at}.content"), filename, kind, content_id)


def _filename(given: object, at: str) -> str:
    if not isinstance(given, str) or not given.strip():
        _refuse("An attachment needs a filename.", at)
    if len(given) > LONGEST_NAME:
        _refuse(f"A filename has at most {LONGEST_NAME} characters.", at)
    if "/" in given or "\\" in given or given.strip() in (".", ".."):
        _refuse("A filename must not have a path.", at, "Give the name alone, like bill.pdf.")
    if _UNSEEN.search(given) or not can_be_kept(given):
        _refuse("A filename must not hold control characters or marks of direction.", at)
    return given.strip()


def _content_type(given: object, filename: str, at: str) -> str:
    if not given:
        content_type = mimetypes.guess_type(filename)[0] or UNKNOWN_TYPE
        return UNKNOWN_TYPE if is_whole_mail(content_type) else content_type
    if not isinstance(given, str) or not _TYPE.fullmatch(given):
        _refuse("A content_type looks like application/pdf.", at)
    if is_whole_mail(given):
        _refuse("A content_type must not be multipart or message.", at, "Attach it as a file.")
    return given


def is_whole_mail(content_type: str) -> bool:
    """Return whether a type is one of a mail or of parts, which a file in base64 must not have."""
    return content_type.lower().startswith(("multipart/", "message/"))


def _refuse_executable(filename: str, kind: str, at: str) -> None:
    refused = [word.lower() for word in conf.mail_refused_types]
    suffix = PurePath(filename.rstrip(". ").lower()).suffix
    if suffix in refused or kind.partition(";")[0].lower() in refused:
        _refuse(
            f"Files like {shown(suffix or kind)} are not sent: mail servers refuse programs.",
            f"{at}.filename",
            "NOTIFICATIONS_MAIL_REFUSED_TYPES names them.",
        )


def refuse_executables_of(raw: bytes) -> None:
    """Refuse a whole mail that holds a file of a refused type. Raises ``InvalidField``."""
    if b"name" not in raw.lower():  # no part of it is a file
        return
    for part in message_from_bytes(raw).walk():
        if name := part.get_filename():
            _refuse_executable(as_read(name), part.get_content_type(), "content")


def as_read(name: str) -> str:
    """Return a file's name as mail programs show it: encoded words (RFC 2047) are decoded."""
    try:
        parts = decode_header(name)
        return "".join(
            text if isinstance(text, str) else text.decode(charset or "utf-8", "replace")
            for text, charset in parts
        )
    except (HeaderParseError, LookupError, ValueError):
        return name


def _content(given: object, at: str) -> bytes:
    """Read bytes, base64, or an open file."""
    if isinstance(given, str):
        return _decoded(given, at)
    reader = getattr(given, "read", None)
    if callable(reader):
        given = reader(conf.mail_bytes + 1)
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    _refuse("The content must be base64, bytes, or a file that is open for reading bytes.", at)


def _decoded(text: str, at: str) -> bytes:
    most = conf.mail_bytes
    if len(text) > most * 3 // 2 + 100:
        _refuse(f"The attachment is larger than {most:,} bytes.", at)
    try:
        # Line ends are allowed (RFC 2045, 6.8).
        return b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidField("The content is not base64 (RFC 4648, 4).", field=at) from None
