"""Email over SMTP, on one connection that is kept while it is in use."""

import re
import smtplib
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from notifications.channels.base import Account, Message, Provider, failed
from notifications.channels.mime import MailWriter
from notifications.channels.smtp_connection import Connection, connect, read_url, words
from notifications.errors import (
    DeliveryError,
    InvalidRecipient,
    PermanentError,
    TransientError,
    UnknownOutcome,
)
from notifications.retry import Outcome, Result

IDLE_LIMIT = 5.0  # seconds; after a longer rest the server is asked whether it is still there


class SmtpProvider(Provider):
    """Hands over one mail after the other; where the server can, in two round trips each."""

    kind = "smtp"
    channels = ("email",)
    setting_names = {"from": "The sender, like Shop <shop@example.org>."}
    secret_names = {"url": "smtp://user:password@host:587 or smtps://user:password@host"}

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._server = read_url(account.secrets["url"], account.settings["from"])
        self._writer = MailWriter(self._server.sender)
        self._connection: Connection | None = None
        self._used_at = 0.0

    def send(self, message: Message) -> str:
        mail = self._writer.write(message)
        deadline = time.monotonic() + message.timeout
        kept = self._connection is not None
        try:
            self._hand_over(message.recipient, mail, deadline)
        except TransientError:
            if not kept or self._connection is not None:
                raise
            # A server may end a kept connection when it likes, which says nothing of this mail.
            self._hand_over(message.recipient, mail, deadline)
        return self._writer.message_id(message)

    def send_many(self, messages: Iterable[Message]) -> Iterator[tuple[Message, Outcome]]:
        """Send one after the other; where the server can, in one round trip each."""
        left = iter(messages)
        message = next(left, None)
        while message is not None:
            if self._can_pipeline(message):
                message = yield from self._pipelined(message, left)
            else:
                yield message, self.outcome_of(message)
                message = next(left, None)

    def _can_pipeline(self, message: Message) -> bool:
        try:
            connection = self._connected(time.monotonic() + message.timeout)
        except DeliveryError:
            return False  # sending it will say the same, as its outcome
        return connection.has_extn("pipelining")

    def _pipelined(
        self, message: Message, left: Iterator[Message]
    ) -> Generator[tuple[Message, Outcome], None, Message | None]:
        """Send a mail together with the next one's envelope, until the connection is over.

        Each write holds a mail to its final dot, then MAIL, RCPT and DATA of the next
        (RFC 2920, 3.1). Gives the message to go on with, of which nothing was handed over.
        """
        assert self._connection is not None  # noqa: S101 -- whoever calls has just connected
        connection = self._connection
        current = self._prepared(message)
        try:
            connection.send(current.envelope)
            while True:
                refusal = _envelope_refused(connection)
                if refusal is None:
                    following = self._next(left)
                    outcome = _finish(connection, current, following)
                else:
                    following = None
                    outcome = failed(refusal)
                    self._recover(connection, refusal)
                yield current.message, outcome
                if self._connection is None or outcome.result is Result.UNKNOWN:
                    self._drop()
                    return following.message if following else next(left, None)
                self._used_at = time.monotonic()
                if refusal is not None and (following := self._next(left)):
                    connection.deadline = following.deadline
                    connection.send(following.envelope)
                if following is None:
                    return None
                current = following
        except (smtplib.SMTPException, OSError) as error:
            self._drop()
            yield current.message, self._once_more(current, error)
            return next(left, None)
        except BaseException:
            self._drop()  # an envelope is on its way, and nobody will read the answer
            raise

    def _once_more(self, current: "_Prepared", error: Exception) -> Outcome:
        """Try a mail anew whose connection broke before it was handed over, while it has time."""
        left = current.deadline - time.monotonic()
        if left > 0:
            return self.outcome_of(current.message._replace(timeout=left))
        return failed(TransientError(f"Connection lost: {error}", code=type(error).__name__))

    def _prepared(self, message: Message) -> "_Prepared":
        envelope = _envelope(self._writer.address, message.recipient)
        mail = self._writer.write(message).replace(b"\r\n.", b"\r\n..") + b"\r\n.\r\n"
        deadline = time.monotonic() + message.timeout
        return _Prepared(message, envelope, mail, deadline, self._writer.message_id(message))

    def _next(self, left: Iterator[Message]) -> "_Prepared | None":
        message = next(left, None)
        return None if message is None else self._prepared(message)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Say goodbye, if the server still listens."""
        if self._connection is not None:
            try:
                self._connection.deadline = time.monotonic() + 1
                self._connection.quit()
            except (smtplib.SMTPException, OSError):
                self._connection.close()
            self._connection = None

    def _hand_over(self, recipient: str, mail: bytes, deadline: float) -> None:
        connection = self._connected(deadline)
        try:
            hand_over(connection, self._writer.address, recipient, mail)
        except DeliveryError as error:
            self._recover(connection, error)
            raise
        self._used_at = time.monotonic()

    def _recover(self, connection: Connection, error: DeliveryError) -> None:
        """After a refusal the connection goes on; after anything else it is not to be trusted."""
        refused = bool(re.fullmatch(r"[45]\d\d", error.code)) and error.code != "421"
        try:
            if refused and connection.rset()[0] == 250:
                self._used_at = time.monotonic()
                return
        except (smtplib.SMTPException, OSError):
            refused = False
        connection.close()
        self._connection = None

    def _connected(self, deadline: float) -> Connection:
        if self._connection is not None:
            self._connection.deadline = deadline
            if not self._is_alive(self._connection):
                self._connection.close()
                self._connection = None
        if self._connection is None:
            self._connection = connect(self._server, deadline)
        return self._connection

    def _is_alive(self, connection: Connection) -> bool:
        if time.monotonic() - self._used_at < IDLE_LIMIT:
            return True
        try:
            return connection.noop()[0] == 250
        except (smtplib.SMTPException, OSError):
            return False


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A message in the form in which it is written to the server."""

    message: Message
    envelope: str
    mail: bytes
    deadline: float
    message_id: str


def _envelope_refused(connection: Connection) -> DeliveryError | None:
    """Read the answers to an envelope; None if the server waits for the mail."""
    answers = [connection.getreply() for _ in range(3)]
    try:
        for answer, codes, local in zip(answers, _WANTED, (False, True, False), strict=True):
            _expect(answer, *codes, local=local)
    except DeliveryError as error:
        if answers[2][0] == 354:  # it wants a mail all the same: an empty one (RFC 2920, 3.1)
            connection.send(".\r\n")
            connection.getreply()
        return error
    return None


def _finish(connection: Connection, current: _Prepared, following: _Prepared | None) -> Outcome:
    """Write a mail and the envelope after it; only the answer tells what became of the mail."""
    connection.deadline = current.deadline
    try:
        connection.send(current.mail + (following.envelope.encode() if following else b""))
        answer = connection.getreply()
    except (smtplib.SMTPException, OSError) as error:
        return failed(UnknownOutcome(f"No answer to the mail: {error}", code=type(error).__name__))
    if following:
        connection.deadline = following.deadline
    try:
        _expect(answer, 250)
    except DeliveryError as error:
        return failed(error)
    return Outcome(Result.SENT, provider_message_id=current.message_id)


def hand_over(connection: Connection, sender: str, recipient: str, mail: bytes) -> None:
    """MAIL, RCPT, DATA. Until the final dot the mail is ours; after it only an answer tells."""
    try:
        _begin(connection, sender, recipient)
    except (smtplib.SMTPException, OSError) as error:
        raise TransientError(f"Connection lost: {error}", code=type(error).__name__) from error
    try:
        # Dots at line starts are doubled (RFC 5321, 4.5.2).
        connection.send(mail.replace(b"\r\n.", b"\r\n..") + b"\r\n.\r\n")
        answer = connection.getreply()
    except (smtplib.SMTPException, OSError) as error:
        raise UnknownOutcome(
            f"No answer to the mail: {error}", code=type(error).__name__
        ) from error
    _expect(answer, 250)


def _begin(connection: Connection, sender: str, recipient: str) -> None:
    if not connection.has_extn("pipelining"):
        commands = _envelope(sender, recipient).splitlines(keepends=True)
        for command, codes in zip(commands, _WANTED, strict=True):
            connection.send(command)
            _expect(connection.getreply(), *codes, local=command.startswith("RCPT"))
        return
    connection.send(_envelope(sender, recipient))
    if refusal := _envelope_refused(connection):
        raise refusal


_WANTED = ((250,), (250, 251), (354,))


def _envelope(sender: str, recipient: str) -> str:
    return f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n"


# The mailbox or its domain does not exist: X.1.1, .2, .3, .6 and .10 (RFC 3463, 7504 and 7505).
_NO_SUCH_ADDRESS = re.compile(rb"5\.1\.(1|2|3|6|10)\b")


def _expect(answer: tuple[int, bytes], *wanted: int, local: bool = False) -> None:
    """Class a reply: 4xx is transient, 5xx permanent (RFC 5321, 4.2.1); its code is kept.

    ``local`` tells that it was said of the recipient.
    """
    code, text = answer
    if code in wanted:
        return
    error: DeliveryError
    if 500 <= code < 600:
        kind = InvalidRecipient if _NO_SUCH_ADDRESS.match(text) else PermanentError
        error = kind(words(text), code=str(code))
    else:
        error = TransientError(words(text), code=str(code))
    error.local = local and code != 421
    raise error
