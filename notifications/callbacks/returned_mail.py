"""What a mail that came back says: a bounce, a complaint, an automatic reply, or something else.

Bounces are delivery status notifications (RFC 3464), complaints are feedback reports in the Abuse
Reporting Format (RFC 5965). An automatic reply (RFC 3834), such as an out-of-office notice, says
nothing of the address. Nothing here looks at the database.
"""

import email
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import policy
from email.message import Message
from email.parser import HeaderParser
from enum import StrEnum
from uuid import UUID

from notifications.channels import addresses, return_paths
from notifications.core.errors import InvalidRecipient
from notifications.providers.smtp_replies import Phase, refusal

DELAYED = "delayed"
LONGEST_DETAIL = 500  # characters


class Kind(StrEnum):
    """What sort of mail it is."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    AUTOMATIC_REPLY = "automatic reply"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of one recipient, who is named as far as the mail names anybody.

    ``event`` is one of a ``Receipt``, or delayed: the server still tries.
    """

    event: str
    recipients: frozenset[str] = frozenset()
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ReturnedMail:
    """A mail that came back. ``is_signed``: the id was read from a return path of ours."""

    kind: Kind
    notification_id: UUID | None = None
    is_signed: bool = False
    told: tuple[Told, ...] = ()


def read(raw: bytes, recipient: str = "") -> ReturnedMail:
    """Read a mail that came to ``recipient``, the address of its envelope."""
    mail = email.message_from_bytes(raw, policy=policy.compat32)
    parts = list(_parts(mail))
    returned = next(filter(None, map(_returned_headers, parts)), None)
    for part in parts:
        kind = part.get_content_type()
        if kind in _STATUS:
            return _about(Kind.BOUNCE, _statuses(part), mail, returned, recipient)
        if kind == _FEEDBACK:
            fields = _blocks(part)[0]
            complaints = _complaints(fields)
            sender = [*_values(fields, "Original-Mail-From"), recipient]
            return _about(Kind.COMPLAINT, complaints, mail, returned, *sender)
    kind = Kind.AUTOMATIC_REPLY if _is_automatic(mail) else Kind.OTHER
    return _about(kind, (), mail, None, recipient)


_STATUS = ("message/delivery-status", "message/global-delivery-status")
_FEEDBACK = "message/feedback-report"
_WHOLE = ("message/rfc822", "message/global")
_HEADERS = ("text/rfc822-headers", "message/global-headers", "message/rfc822-headers")
_COMPLAINTS = ("abuse", "fraud", "virus")
_OPT_OUTS = ("opt-out", "opt-out-list")
_ENVELOPE = ("Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "To")
_NOBODY = re.compile(
    r"user (is )?unknown|unknown (user|recipient|address)|no such (user|recipient|mailbox|person)"
    r"|does(n't| not) exist|user (was )?not found|recipient ?not ?found|unrouteable address"
    r"|mailbox (is )?(unavailable|not found|invalid)|invalid (recipient|mailbox)",
    re.I,
)
_REPLY = re.compile(r"\b([245]\d\d)[ -]")
_MESSAGE_ID = re.compile(r"<\s*([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})@")


def _parts(mail: Message) -> Iterator[Message]:
    """Walk through the parts of a mail, and not into the mails that it holds."""
    yield mail
    if mail.get_content_maintype() == "multipart" and isinstance(mail.get_payload(), list):
        for part in mail.get_payload():
            if isinstance(part, Message):
                yield from _parts(part)


def _blocks(part: Message) -> list[Message]:
    """Return the groups of fields of a report's machine-readable part."""
    held = part.get_payload()
    if _is_encoded(part):
        text = _decoded(part)
    elif isinstance(held, list) and len(held) > 1:
        return [part for part in held if isinstance(part, Message)]
    elif isinstance(held, list):  # the parser took it for a mail: what follows the head is its body
        text = "\n".join(part.as_string() for part in held if isinstance(part, Message))
    else:
        text = _decoded(part)
    groups = re.split(r"\r?\n[ \t]*\r?\n", text.strip())
    return [HeaderParser().parsestr(group.lstrip()) for group in groups]


def _is_encoded(part: Message) -> bool:
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    return encoding in ("base64", "quoted-printable")


def _decoded(part: Message) -> str:
    """Return the text of a part, also of one that must not be encoded (RFC 3464, 2.1) and is."""
    held = part.get_payload()
    if isinstance(held, list):  # the parser looked for headers in what is encoded
        text = "\n\n".join(
            part.as_string().strip("\n") for part in held if isinstance(part, Message)
        )
        plain = Message()
        plain["Content-Transfer-Encoding"] = str(part["Content-Transfer-Encoding"])
        plain.set_payload(text)
        part = plain
    octets = part.get_payload(decode=True)
    return octets.decode("utf-8", "replace") if isinstance(octets, bytes) else ""


def _values(fields: Message, *names: str) -> list[str]:
    return [
        " ".join(str(value).split()) for name in names for value in fields.get_all(name, failobj=[])
    ]


def _value(fields: Message, name: str) -> str:
    return next(iter(_values(fields, name)), "")


def _statuses(part: Message) -> tuple[Told, ...]:
    headers = []
    for fields in _blocks(part):
        if action := _value(fields, "Action").lower():
            event = _event(action, fields)
            if event:
                named = frozenset(map(_bare, _values(fields, "Original-Recipient", _FINAL)))
                status = _value(fields, "Status")
                detail = _value(fields, "Diagnostic-Code")[:LONGEST_DETAIL]
                headers.append(Told(event, named, status.partition(" ")[0][:20], detail))
    return tuple(headers)


_FINAL = "Final-Recipient"


def _event(action: str, fields: Message) -> str:
    """Name what became of a recipient; ``""`` for what says nothing to us."""
    word = action.partition(" ")[0]
    if word == "failed":
        return "bounced" if _is_hard(fields) else "failed"
    return {"delayed": DELAYED, "delivered": "delivered"}.get(word, "")


def _is_hard(fields: Message) -> bool:
    """Tell whether the address does not exist, as a reply during the session would be judged."""
    status, words = _value(fields, "Status"), _value(fields, "Diagnostic-Code")
    if not status.startswith("5"):
        return False
    said = words.partition(";")[2].strip() or words
    enhanced = re.search(r"\b5\.\d{1,3}\.\d{1,3}\b", said)
    code = status.partition(" ")[0]
    if enhanced and code.endswith(".0.0"):
        code = enhanced[0]
    reply = _REPLY.search(said)
    judged = refusal(int(reply[1]) if reply else 550, f"{code} {said}", Phase.RCPT)
    if isinstance(judged, InvalidRecipient):
        return True
    return code.endswith(".0.0") and bool(_NOBODY.search(said))


def _complaints(fields: Message) -> tuple[Told, ...]:
    kind = _value(fields, "Feedback-Type").lower()
    named = frozenset(map(_bare, _values(fields, "Original-Rcpt-To")))
    if kind in _COMPLAINTS:
        return (Told("complained", named, kind),)
    return (Told("unsubscribed", named, kind),) if kind in _OPT_OUTS else ()


def _bare(address: str) -> str:
    """Return the address of ``rfc822; <ada@example.org>`` in the form in which we keep it."""
    text = address.rpartition(";")[2].strip().strip("<>")
    try:
        return addresses.canonical(text).lower()
    except (addresses.BadAddress, UnicodeError):
        return text.lower()


def _returned_headers(part: Message) -> Message | None:
    """Return the head of the mail that a report is about, if the part holds it."""
    kind, held = part.get_content_type(), part.get_payload()
    if kind in _WHOLE and isinstance(held, list) and held and isinstance(held[0], Message):
        return _blocks(part)[0] if _is_encoded(part) else held[0]
    if kind in _HEADERS:
        return _blocks(part)[0]
    return None


def _about(
    kind: Kind, told: tuple[Told, ...], mail: Message, returned: Message | None, *sent_to: str
) -> ReturnedMail:
    """Find the notification: by an address that we made, or else by what the report returns."""
    named = [*sent_to, *_values(mail, *_ENVELOPE)]
    if returned is not None:
        named += _values(returned, "Return-Path")
    for address in named:
        if id_ := return_paths.read(address):
            return ReturnedMail(kind, id_, is_signed=True, told=told)
    return ReturnedMail(kind, _returned_id(returned), told=told)


def _returned_id(returned: Message | None) -> UUID | None:
    if returned is None:
        return None
    ids = [
        f"<{_value(returned, 'X-Notification-Id').lower()}@",
        _value(returned, "Message-ID").lower(),
    ]
    match = next(filter(None, map(_MESSAGE_ID.match, ids)), None)
    return UUID(match[1]) if match else None


def _is_automatic(mail: Message) -> bool:
    """Tell whether a program answered (RFC 3834, 5, and what older programs write)."""
    submitted = _value(mail, "Auto-Submitted").lower()
    if submitted and submitted.partition(";")[0].strip() != "no":
        return True
    older = ("X-Autoreply", "X-Autorespond", "X-Auto-Response-Suppress")
    precedence = _value(mail, "Precedence").lower()
    return any(mail.get(name) for name in older) or precedence in ("auto_reply", "junk")
