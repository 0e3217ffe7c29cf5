"""Email over SMTP, on one connection that is kept while it is in use."""

import re
import smtplib
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

from notifications.channels import addresses, allowed_senders, options, return_paths
from notifications.channels.base import Account, Message, Provider, failed, setting_problem
from notifications.channels.mail import COPIES, FIELDS
from notifications.core import extras
from notifications.core.attempt import Outcome, Result
from notifications.core.errors import DeliveryError, PermanentError, TransientError
from notifications.providers import mail_headers
from notifications.providers.mime import MailWriter
from notifications.providers.smtp_connection import Connection, check_ehlo, connect, read_url
from notifications.providers.smtp_transmission import (
    NO_SMTPUTF8,
    TOO_LARGE,
    PreparedMail,
    by_itself,
    envelope_refused,
    finish,
    fitted,
    lost,
    transmit,
    with_line_ends,
    with_trace,
)

WRITERS_KEPT = 100
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,250}[A-Za-z0-9])?")
IDLE_LIMIT = 5.0  # seconds; after a longer rest the server is asked whether it is still there


class SmtpProvider(Provider):
    """Sends one mail after the other; where the server can, in two round trips each."""

    kind = "smtp"
    channels = ("email",)
    at_once = 5  # connections, which a server counts
    setting_names = {
        "from": "The sender, like Shop <shop@example.org>.",
        "ehlo": "The full host name for EHLO, like mx.example.org; this machine's by default.",
        **allowed_senders.SETTING,
        **return_paths.SETTING,
        **mail_headers.SETTINGS,
        "dkim_selector": "The selector of the DKIM key: its public half is the TXT record "
        "<selector>._domainkey.<domain>.",
        "dkim_domain": "The domain that signs; the sender's by default.",
    }
    secret_names = {
        "url": "smtp://user:password@host:587 or smtps://user:password@host",
        "dkim_key": "The private RSA key in PEM by which mail is signed (DKIM); none: unsigned.",
    }
    optional = frozenset({*setting_names, "dkim_key"}) - {"from"}
    option_names = options.OF_EMAIL
    mail_fields = frozenset(FIELDS)

    @classmethod
    def setting_problems(cls, settings: Mapping[str, Any]) -> list[str]:
        ehlo = setting_problem("ehlo", settings, check_ehlo) if "ehlo" in settings else ""
        sender = setting_problem("from", settings, addresses.sender)
        return [
            *filter(None, (sender, ehlo)),
            *allowed_senders.problems(settings),
            *return_paths.problems(settings),
            *_dkim_problems(settings),
            *mail_headers.problems(settings),
        ]

    @classmethod
    def secret_problem(cls, name: str, value: str) -> str:
        if name == "url":
            try:
                read_url(value)
            except ValueError:  # whose own text may hold a part of it
                return "It must look like smtp://user:password@host:587 or smtps://host."
            return ""
        try:
            return str(_signing().key_problem(value))
        except ValueError as error:
            return str(error)

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._server = read_url(
            account.secrets["url"], account.settings.get("ehlo", ""), account.reach
        )
        sender = addresses.sender(account.settings["from"])
        self._identity = mail_headers.identity(account.settings, sender)
        self._return_path = return_paths.of_account(account.settings)
        self._signer = _signer(account, sender)
        self._writer = MailWriter(sender, self._identity)
        self._writers: dict[str, MailWriter] = {}  # of other senders that may use the account
        self._copies = ""  # what became of the last mail's copies that were refused
        self._connection: Connection | None = None
        self._used_at = 0.0

    def outcome_of(self, message: Message) -> Outcome:
        """Send one message; copies that the server refused are told in the outcome's detail."""
        self._copies = ""
        outcome = super().outcome_of(message)
        return outcome._replace(detail=self._copies) if self._copies else outcome

    def send(self, message: Message) -> str:
        mail = self._prepared(message)
        kept = self._connection is not None
        try:
            self._transmit(mail)
        except TransientError:
            if not kept or self._connection is not None:
                raise
            # A server may end a kept connection when it likes, which says nothing of this mail.
            self._transmit(mail)
        return mail.message_id

    def send_many(self, messages: Iterable[Message]) -> Iterator[tuple[Message, Outcome]]:
        """Send one after the other; where the server can, in one round trip each."""
        left = iter(messages)
        message = next(left, None)
        while message is not None:
            first = self._envelope_ready(message)
            if first is None:
                yield message, self.outcome_of(message)
                message = next(left, None)
                continue
            try:
                connection = self._connected(first.deadline)
            except DeliveryError as error:
                yield message, failed(error)
                message = next(left, None)
                continue
            if connection.has_extn("pipelining"):
                message = yield from self._pipelined(self._signed(first), left)
            else:
                yield message, self._outcome_by(first.deadline, message)
                message = next(left, None)

    def _outcome_by(self, deadline: float, message: Message) -> Outcome:
        """Send one message, of whose attempt a part may be over, until its deadline."""
        return self.outcome_of(message._replace(deadline=min(deadline, message.deadline)))

    def _pipelined(
        self, current: PreparedMail, left: Iterator[Message]
    ) -> Generator[tuple[Message, Outcome], None, Message | None]:
        """Send a mail together with the next one's envelope, until the connection is over.

        Each write holds a mail to its final dot, then MAIL, RCPT and DATA of the next
        (RFC 2920, 3.1). Returns the message to go on with, of which nothing was sent.
        """
        assert self._connection is not None  # noqa: S101 -- whoever calls has just connected
        connection = self._connection
        message: Message | None = None  # taken, and not begun
        try:
            connection.send(current.envelope)
            while True:
                refused = envelope_refused(connection)
                if refused is None:
                    message = next(left, None)
                    following = self._signed_ahead(message)
                    outcome = finish(connection, current, following)
                else:
                    message = following = None
                    self._recover(connection, refused)
                    outcome = self._after(current, refused)
                yield current.message, outcome
                if self._connection is None or outcome.result is Result.UNKNOWN:
                    self._drop()
                    return message or next(left, None)
                self._used_at = time.monotonic()
                if refused is not None:
                    message = next(left, None)
                    following = self._signed_ahead(message)
                if following is None:
                    return message
                current, message = following, None
                if refused is not None:
                    connection.deadline = current.deadline
                    connection.send(current.envelope)
        except (smtplib.SMTPException, OSError) as error:
            self._drop()
            yield current.message, self._once_more(current, error)
            return message or next(left, None)
        except BaseException:
            self._drop()  # an envelope is on its way, and nobody will read the answer
            raise

    def _after(self, current: PreparedMail, refused: DeliveryError) -> Outcome:
        """Return the outcome of a refused envelope; after a mere goodbye it is tried anew."""
        is_closing = refused.code == "421"
        return self._once_more(current, refused) if is_closing else failed(refused)

    def _once_more(self, current: PreparedMail, error: Exception) -> Outcome:
        """Try a mail anew whose connection broke before it was sent, while it has time."""
        if current.deadline > time.monotonic():
            return self._outcome_by(current.deadline, current.message)
        if isinstance(error, DeliveryError):
            return failed(error)
        return failed(lost(error))

    def _prepared(self, message: Message) -> PreparedMail:
        """Write a mail. Raises ``PermanentError`` for an address that cannot be told a server."""
        content = message.content
        try:
            recipient = addresses.wire(message.recipient)
            copies = [_wired(address) for name in COPIES for address in content.get(name, ())]
        except addresses.BadAddress as error:
            raise PermanentError(f"The address cannot be used. {error}", code="address") from None
        writer = self._writer_for(content.get("from_email", ""))
        message_id = writer.message_id(message)
        if raw := content.get("raw"):
            mail, message_id = with_trace(raw.read(), message, message_id)
        else:
            mail = writer.write(message, recipient)
        deadline = time.monotonic() + message.seconds_left()
        sender = self._envelope_sender(message, writer)
        recipients = tuple(dict.fromkeys((recipient, *copies)))
        return PreparedMail(message, sender, recipients, with_line_ends(mail), deadline, message_id)

    def _envelope_sender(self, message: Message, writer: MailWriter) -> str:
        if not self._return_path:
            return writer.address
        return return_paths.of_mail(self._return_path, message.id)

    def _writer_for(self, sender: str) -> MailWriter:
        """Return the writer of a sender's mails. Raises ``PermanentError`` for one not allowed."""
        if not sender:
            return self._writer
        if sender not in self._writers:
            if not allowed_senders.allows(self.account.settings, sender):
                raise PermanentError(
                    "The account may not send as this sender.", code="sender", elsewhere=True
                )
            if len(self._writers) >= WRITERS_KEPT:
                self._writers.clear()
            self._writers[sender] = MailWriter(addresses.sender(sender), self._identity)
        return self._writers[sender]

    def _envelope_ready(self, message: Message | None) -> PreparedMail | None:
        """Prepare a mail whose envelope can go ahead; None for one that is to be sent by itself."""
        if message is None or not message.recipient.isascii() or by_itself(message):
            return None
        try:
            ready = self._prepared(message)
        except Exception:  # noqa: BLE001 -- sent by itself, it gets this as its own outcome
            return None
        # A header that is not ASCII (a reply address) takes SMTPUTF8, which is asked for then.
        return ready if ready.mail.isascii() else None

    def _signed_ahead(self, message: Message | None) -> PreparedMail | None:
        """Prepare and sign a mail whose envelope can go ahead; None as for ``_envelope_ready``."""
        ready = self._envelope_ready(message)
        return ready and self._signed(ready)

    def _signed(self, mail: PreparedMail) -> PreparedMail:
        return replace(mail, mail=self._signer.signed(mail.mail)) if self._signer else mail

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

    def _transmit(self, mail: PreparedMail) -> None:
        connection = self._connected(mail.deadline)
        try:
            refused = transmit(connection, self._signed(fitted(connection, mail)))
            self._copies = "; ".join(refused)
        except DeliveryError as error:
            self._recover(connection, error)
            raise
        self._used_at = time.monotonic()

    def _recover(self, connection: Connection, error: DeliveryError) -> None:
        """After a refusal the connection goes on; after anything else it is not to be trusted."""
        refused = bool(re.fullmatch(r"[45]\d\d", error.code)) and error.code != "421"
        if error.code in (NO_SMTPUTF8, TOO_LARGE):
            return  # nothing was said
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
            self._used_at = time.monotonic()
        return self._connection

    def _is_alive(self, connection: Connection) -> bool:
        """Return whether a kept connection can be used; it leaves time for another one."""
        if time.monotonic() - self._used_at < IDLE_LIMIT:
            return True
        deadline = connection.deadline
        try:
            connection.deadline -= connection.remaining() / 2
            return connection.noop()[0] == 250
        except (smtplib.SMTPException, OSError):
            return False
        finally:
            connection.deadline = deadline


def _signer(account: Account, sender: addresses.Sender) -> Any:
    """Return what signs an account's mails, a ``dkim_signing.Signer``; None without a key.

    Raises ``ValueError`` for a key that cannot be used.
    """
    key = account.secrets.get("dkim_key")
    if not key:
        return None
    if not account.settings.get("dkim_selector"):
        raise ValueError("The account has a dkim_key, and no setting dkim_selector.")
    return _signing().of_account(account.settings, key, sender.address)


def _signing() -> Any:
    """Import ``dkim_signing``. Raises ``ValueError`` where its library is not installed."""
    try:
        return import_module("notifications.providers.dkim_signing")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"dkimpy is not installed ({error.name}): {extras.command('dkim')}"
        ) from None


def _dkim_problems(settings: Mapping[str, Any]) -> list[str]:
    names = ("dkim_selector", "dkim_domain")
    problems = (setting_problem(name, settings, _check_name) for name in names if name in settings)
    return [*filter(None, problems)]


def _check_name(text: str) -> None:
    if not _NAME.fullmatch(text):
        raise ValueError("It must be a DNS name.")


def _wired(mailbox: str) -> str:
    return addresses.wire(addresses.mailbox(mailbox).address)
