"""One mail on its way to a server: the form that the server takes, the dialog, the answers."""

import re
import smtplib
from dataclasses import dataclass, replace

from notifications.channels import addresses
from notifications.channels.base import Message, failed
from notifications.channels.mail import COPIES
from notifications.core.attempt import Outcome, Result
from notifications.core.errors import DeliveryError, PermanentError, TransientError, UnknownOutcome
from notifications.core.masking import mask
from notifications.providers import mail_body
from notifications.providers.smtp_connection import Connection, words
from notifications.providers.smtp_replies import Phase, refusal

NO_SMTPUTF8, TOO_LARGE = "smtputf8", "size"  # codes of outcomes
_LINE_END = re.compile(rb"\r\n|\r|\n")
_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>\r\n]+>)", re.I | re.M)


@dataclass(frozen=True, slots=True)
class PreparedMail:
    """A message in the form in which it is written to the server.

    The first of ``recipients`` is the notification's; the others get copies.
    """

    message: Message
    sender: str
    recipients: tuple[str, ...]
    mail: bytes
    deadline: float
    message_id: str
    parameters: str = ""  # of MAIL FROM

    @property
    def is_utf8(self) -> bool:
        """Whether the server must speak SMTPUTF8 (RFC 6531): for an address, or for a header."""
        return any(map(addresses.needs_smtputf8, self.recipients)) or not _head(self.mail).isascii()

    @property
    def envelope(self) -> str:
        """The commands before the mail."""
        to = "".join(f"RCPT TO:<{recipient}>\r\n" for recipient in self.recipients)
        return f"MAIL FROM:<{self.sender}>{self.parameters}\r\n{to}DATA\r\n"

    @property
    def on_the_wire(self) -> bytes:
        """The mail to its final dot; dots at line starts are doubled (RFC 5321, 4.5.2)."""
        doubled = self.mail.replace(b"\r\n.", b"\r\n..")
        ends_a_line = doubled.endswith(b"\r\n")
        return doubled + (b".\r\n" if ends_a_line else b"\r\n.\r\n")


def by_itself(message: Message) -> bool:
    """Return whether a mail has more than one text and recipient, so that nothing is sent ahead."""
    content = message.content
    return any(content.get(name) for name in ("raw", "attachments", *COPIES, "to", "shown_cc"))


def fitted(connection: Connection, mail: PreparedMail) -> PreparedMail:
    """Return a mail in the form that this server takes, with what it is to be told of it.

    Raises ``PermanentError`` for one that is larger than the server says it takes (RFC 1870), or
    that needs SMTPUTF8 where there is none.
    """
    most = connection.esmtp_features.get("size", "")
    if most.isdecimal() and 0 < int(most) < len(mail.mail):
        raise _unsendable(
            f"The mail has {len(mail.mail):,} bytes, and the server takes {int(most):,}.", TOO_LARGE
        )
    if mail.is_utf8:
        if not connection.has_extn("smtputf8"):
            raise _unspeakable()
        return replace(mail, parameters=" BODY=8BITMIME SMTPUTF8")
    if mail.mail.isascii():
        return mail
    if connection.has_extn("8bitmime"):
        return replace(mail, parameters=" BODY=8BITMIME")
    return replace(mail, mail=mail_body.seven_bit(mail.mail))


def with_line_ends(mail: bytes) -> bytes:
    """Return a mail whose lines all end by CRLF (RFC 5321, 2.3.8).

    Servers that end a line elsewhere could take what follows for the end of the mail and further
    commands (CVE-2023-51764).
    """
    if mail.count(b"\r\n") == mail.count(b"\n") == mail.count(b"\r"):
        return mail
    return _LINE_END.sub(b"\r\n", mail)


def with_trace(raw: bytes, message: Message, message_id: str) -> tuple[bytes, str]:
    """Return a mail as it was written elsewhere, below our trace header, and its Message-ID."""
    match = _MESSAGE_ID.search(_head(raw))
    trace = f"X-Notification-Id: {message.id}\r\n"
    if match:
        return trace.encode() + raw, match[1].decode("ascii", "replace")
    return f"{trace}Message-ID: {message_id}\r\n".encode() + raw, message_id


def _head(mail: bytes) -> bytes:
    return mail.partition(b"\r\n\r\n")[0]


def envelope_refused(connection: Connection) -> DeliveryError | None:
    """Read the answers to an envelope; None if the server waits for the mail."""
    refused: DeliveryError | None = None
    for phase, wanted in _WANTED:
        code, text = connection.getreply()
        if code == 421:  # its last word: it closes the connection
            return refusal(code, words(text), phase)
        if code not in wanted and refused is None:
            refused = refusal(code, words(text), phase)
    if refused is not None and code == 354:
        # It wants a mail all the same: an empty one (RFC 2920, 3.1).
        connection.send(".\r\n")
        connection.getreply()
    return refused


def finish(
    connection: Connection, current: PreparedMail, following: PreparedMail | None
) -> Outcome:
    """Write a mail and the envelope after it; only the answer says whether it was accepted.

    Raises ``TimeoutError`` for a mail whose time is over, of which nothing is written then.
    """
    connection.deadline = current.deadline
    connection.remaining()
    try:
        connection.send(current.on_the_wire + (following.envelope.encode() if following else b""))
        answer = connection.getreply()
    except (smtplib.SMTPException, OSError) as error:
        return failed(UnknownOutcome(f"No answer to the mail: {error}", code=type(error).__name__))
    if following:
        connection.deadline = following.deadline
    code, text = answer
    if code != 250:
        return failed(refusal(code, words(text), Phase.CONTENT))
    return Outcome(Result.SENT, provider_message_id=current.message_id)


def transmit(connection: Connection, mail: PreparedMail) -> list[str]:
    """Send MAIL, RCPT, DATA. Only the answer to the final dot says whether the mail is accepted.

    Returns what the server said of copies that it refused.
    """
    try:
        refused = _begin(connection, mail)
        connection.remaining()  # a mail that expired meanwhile is not begun
    except (smtplib.SMTPException, OSError) as error:
        raise lost(error) from error
    try:
        connection.send(mail.on_the_wire)
        code, text = connection.getreply()
    except (smtplib.SMTPException, OSError) as error:
        raise UnknownOutcome(
            f"No answer to the mail: {error}", code=type(error).__name__
        ) from error
    if code != 250:
        raise refusal(code, words(text), Phase.CONTENT)
    return refused


def lost(error: Exception) -> TransientError:
    """Return what becomes of a mail whose connection broke before it was sent."""
    return TransientError(f"Connection lost: {error}", code=type(error).__name__)


def _begin(connection: Connection, mail: PreparedMail) -> list[str]:
    """Say the envelope; return what the server said of copies that it refused.

    Raises the refusal of anything else.
    """
    if len(mail.recipients) == 1 and connection.has_extn("pipelining"):
        connection.send(mail.envelope)
        if refused := envelope_refused(connection):
            raise refused
        return []
    said = []
    copies = iter(mail.recipients[1:])
    for command, (phase, wanted) in zip(
        mail.envelope.splitlines(keepends=True), _wanted(len(mail.recipients)), strict=True
    ):
        connection.send(command)
        code, text = connection.getreply()
        if phase is None:  # a copy
            copy = next(copies)
            if code == 421:
                raise refusal(code, words(text), Phase.RCPT)
            if code not in wanted:
                said.append(f"The copy to {mask(copy)} was refused: {code} {words(text)}")
        elif code not in wanted:
            raise refusal(code, words(text), phase)
    return said


_WANTED = ((Phase.MAIL, (250,)), (Phase.RCPT, (250, 251)), (Phase.DATA, (354,)))


def _wanted(recipients: int) -> list[tuple[Phase | None, tuple[int, ...]]]:
    mail, rcpt, data = _WANTED
    copies: list[tuple[Phase | None, tuple[int, ...]]] = [(None, rcpt[1])] * (recipients - 1)
    return [mail, rcpt, *copies, data]


def _unspeakable() -> PermanentError:
    return _unsendable(
        "The mail server does not offer SMTPUTF8 (RFC 6531), which a recipient or header needs "
        "that is not ASCII: mostly an address whose name before the @ is not.",
        NO_SMTPUTF8,
    )


def _unsendable(why: str, code: str) -> PermanentError:
    error = PermanentError(why, code=code, elsewhere=True)
    error.local = True
    return error
