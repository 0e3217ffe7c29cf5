"""Email over SMTP (RFC 5321), on one connection that is kept while it is in use."""

import re
import smtplib
import ssl
import time
from dataclasses import dataclass
from email.utils import formatdate, parseaddr
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.mail import EmailMultiAlternatives

from notifications.channels.base import Message, Provider
from notifications.errors import DeliveryError, PermanentError, TransientError, UnknownOutcome

IDLE_LIMIT = 5.0  # seconds; after a longer rest the server is asked whether it is still there
_PORTS = {"smtp": 25, "smtps": 465}
_STARTTLS = ("require", "offered", "never")


@dataclass(frozen=True, slots=True)
class SmtpAccount:
    """Where and how to hand mail over.

    ``starttls`` is ``require``, ``offered`` (used where the server has it) or ``never``.
    """

    host: str
    port: int
    username: str
    password: str
    implicit_tls: bool
    starttls: str
    ca_file: str | None
    sender: str


def read_url(url: str, sender: str) -> SmtpAccount:
    """Read ``smtp://user:pass@host:port`` or ``smtps://…`` (implicit TLS).

    ``?starttls=require|offered|never`` and ``?ca_file=PATH`` may follow. A password goes out
    only after STARTTLS, unless the host is this machine or ``starttls=never`` says otherwise.
    Raises ``ValueError`` for anything else.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("EMAIL_URL must look like smtp://user:pass@host:port or smtps://host.")
    query = parse_qs(parts.query)
    unknown = query.keys() - {"starttls", "ca_file"}
    local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    default = "require" if parts.username and not local else "offered"
    starttls = query.get("starttls", [default])[0]
    if unknown or starttls not in _STARTTLS:
        raise ValueError(f"EMAIL_URL knows ?starttls={'|'.join(_STARTTLS)} and ?ca_file=PATH only.")
    return SmtpAccount(
        host=parts.hostname,
        port=parts.port or _PORTS[parts.scheme],
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        implicit_tls=parts.scheme == "smtps",
        starttls=starttls,
        ca_file=query.get("ca_file", [None])[0],
        sender=sender,
    )


class SmtpProvider(Provider):
    """Hands over one mail at a time."""

    name = "smtp"

    def __init__(self, account: SmtpAccount) -> None:
        self.account = account
        self._server: smtplib.SMTP | None = None
        self._used_at = 0.0

    def send(self, message: Message) -> str:
        mail = build(message, self.account.sender)
        server = self._connection(message.timeout)
        try:
            _hand_over(server, parseaddr(self.account.sender)[1], message.recipient, mail)
        except DeliveryError as error:
            self._recover(server, error)
            raise
        self._used_at = time.monotonic()
        return message_id(message, self.account.sender)

    def close(self) -> None:
        """Say goodbye, if the server still listens."""
        if self._server is not None:
            try:
                self._server.quit()
            except (smtplib.SMTPException, OSError):
                self._server.close()
            self._server = None

    def _recover(self, server: smtplib.SMTP, error: DeliveryError) -> None:
        """After a refusal the connection goes on; after anything else it is not to be trusted."""
        refused = bool(re.fullmatch(r"[45]\d\d", error.code)) and error.code != "421"
        try:
            if refused and server.rset()[0] == 250:
                self._used_at = time.monotonic()
                return
        except (smtplib.SMTPException, OSError):
            refused = False
        server.close()
        self._server = None

    def _connection(self, timeout: float) -> smtplib.SMTP:
        if self._server is not None and not self._is_alive(self._server):
            self._server.close()
            self._server = None
        if self._server is None:
            self._server = _connect(self.account, timeout)
        if self._server.sock is not None:
            self._server.sock.settimeout(timeout)
        return self._server

    def _is_alive(self, server: smtplib.SMTP) -> bool:
        if time.monotonic() - self._used_at < IDLE_LIMIT:
            return True
        try:
            return server.noop()[0] == 250
        except (smtplib.SMTPException, OSError):
            return False


def message_id(message: Message, sender: str) -> str:
    """Give the Message-ID (RFC 5322, 3.6.4): the notification's id, the same on each attempt."""
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    return f"<{message.id}@{domain}>"


def build(message: Message, sender: str) -> bytes:
    """Write the mail, text and HTML side by side where there is HTML."""
    content = message.content
    mail = EmailMultiAlternatives(
        subject=content.get("subject", ""),
        body=content.get("text", ""),
        from_email=sender,
        to=[message.recipient],
        headers={
            "Message-ID": message_id(message, sender),
            "Date": formatdate(),
            **content.get("headers", {}),
        },
    )
    if content.get("html"):
        mail.attach_alternative(content["html"], "text/html")
    return mail.message().as_bytes(linesep="\r\n")  # type: ignore[call-arg]  # Django's own class


def _connect(account: SmtpAccount, timeout: float) -> smtplib.SMTP:
    """Greet, secure and log in. Whatever fails here, nothing has been handed over yet."""
    try:
        context = ssl.create_default_context(cafile=account.ca_file)
        if account.implicit_tls:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                account.host, account.port, timeout=timeout, context=context
            )
        else:
            server = smtplib.SMTP(account.host, account.port, timeout=timeout)
    except smtplib.SMTPResponseException as error:
        raise TransientError(_words(error.smtp_error), code=str(error.smtp_code)) from error
    except (smtplib.SMTPException, OSError) as error:
        raise TransientError(f"No connection: {error}", code=type(error).__name__) from error
    try:
        _secure(server, account, context)
        if account.username:
            server.login(account.username, account.password)
    except smtplib.SMTPResponseException as error:
        server.close()
        # A wrong password is the operator's to mend, not the message's fault.
        raise TransientError(_words(error.smtp_error), code=str(error.smtp_code)) from error
    except (smtplib.SMTPException, OSError) as error:
        server.close()
        raise TransientError(f"No session: {error}", code=type(error).__name__) from error
    return server


def _secure(server: smtplib.SMTP, account: SmtpAccount, context: ssl.SSLContext) -> None:
    server.ehlo_or_helo_if_needed()
    if account.implicit_tls or account.starttls == "never":
        return
    if account.starttls == "require" or server.has_extn("starttls"):
        server.starttls(context=context)
        server.ehlo()


def _hand_over(server: smtplib.SMTP, sender: str, recipient: str, mail: bytes) -> None:
    """MAIL, RCPT, DATA. Until the final dot the mail is ours; after it only an answer tells."""
    try:
        _expect(server.mail(sender), 250)
        _expect(server.rcpt(recipient), 250, 251)
        _expect(server.docmd("DATA"), 354)
    except (smtplib.SMTPException, OSError) as error:
        raise TransientError(f"Connection lost: {error}", code=type(error).__name__) from error
    try:
        # Dots at line starts are doubled (RFC 5321, 4.5.2).
        server.send(re.sub(rb"(?m)^\.", b"..", mail) + b"\r\n.\r\n")
        answer = server.getreply()
    except (smtplib.SMTPException, OSError) as error:
        raise UnknownOutcome(
            f"No answer to the mail: {error}", code=type(error).__name__
        ) from error
    _expect(answer, 250)


def _expect(answer: tuple[int, bytes], *wanted: int) -> None:
    """Class a reply: 4xx is transient, 5xx permanent (RFC 5321, 4.2.1); its code is kept."""
    code, text = answer
    if code in wanted:
        return
    if code == -1:  # smtplib's word for a connection that closed
        raise TransientError("The server closed the connection.", code="closed")
    if 500 <= code < 600:
        raise PermanentError(_words(text), code=str(code))
    raise TransientError(_words(text), code=str(code))


def _words(text: bytes | str) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text
