"""Email over SMTP, on one connection that is kept while it is in use."""

import re
import smtplib
import time

from notifications.channels.base import Account, Message, Provider
from notifications.channels.mime import MailWriter
from notifications.channels.smtp_connection import Connection, connect, read_url, words
from notifications.errors import (
    DeliveryError,
    InvalidRecipient,
    PermanentError,
    TransientError,
    UnknownOutcome,
)

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
    commands = [f"MAIL FROM:<{sender}>\r\n", f"RCPT TO:<{recipient}>\r\n", "DATA\r\n"]
    wanted = [(250,), (250, 251), (354,)]
    if not connection.has_extn("pipelining"):
        for command, codes in zip(commands, wanted, strict=True):
            connection.send(command)
            _expect(connection.getreply(), *codes, local=command.startswith("RCPT"))
        return
    # All three in one write (RFC 2920), where the server said that it can.
    connection.send("".join(commands))
    answers = [connection.getreply() for _ in commands]
    try:
        for command, answer, codes in zip(commands, answers, wanted, strict=True):
            _expect(answer, *codes, local=command.startswith("RCPT"))
    except DeliveryError:
        if answers[2][0] == 354:  # it wants a mail all the same: an empty one (RFC 2920, 3.1)
            connection.send(".\r\n")
            connection.getreply()
        raise


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
