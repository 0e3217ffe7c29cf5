"""One SMTP connection (RFC 5321) on which nothing can outlast the deadline of its message."""

import smtplib
import socket
import ssl
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from notifications.errors import TransientError

REPLY_LIMIT = 64 * 1024  # bytes of one reply
_PORTS = {"smtp": 25, "smtps": 465}
_STARTTLS = ("require", "offered", "never")


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where and how to hand mail over.

    ``starttls`` is ``require``, ``offered`` (used where the server has it) or ``never``.
    """

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    implicit_tls: bool
    starttls: str
    ca_file: str | None
    sender: str


def read_url(url: str, sender: str) -> SmtpServer:
    """Read ``smtp://user:pass@host:port`` or ``smtps://…`` (implicit TLS).

    ``?starttls=require|offered|never`` and ``?ca_file=PATH`` may follow. A password goes out
    only after STARTTLS, unless the host is this machine or ``starttls=never`` says otherwise.
    Raises ``ValueError`` for anything else.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("It must look like smtp://user:pass@host:port or smtps://host.")
    query = parse_qs(parts.query)
    unknown = query.keys() - {"starttls", "ca_file"}
    local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    default = "require" if parts.username and not local else "offered"
    starttls = query.get("starttls", [default])[0]
    if unknown or starttls not in _STARTTLS:
        raise ValueError(f"It knows ?starttls={'|'.join(_STARTTLS)} and ?ca_file=PATH only.")
    return SmtpServer(
        host=parts.hostname,
        port=parts.port or _PORTS[parts.scheme],
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        implicit_tls=parts.scheme == "smtps",
        starttls=starttls,
        ca_file=query.get("ca_file", [None])[0],
        sender=sender,
    )


class Connection(smtplib.SMTP):
    """smtplib's, with a deadline (``time.monotonic``) for everything that is said next.

    smtplib's own timeout starts afresh with every byte, so that a server which sends one now
    and then could hold a worker for as long as it likes.
    """

    def __init__(self, server: SmtpServer, context: ssl.SSLContext, deadline: float) -> None:
        self.deadline = deadline
        self._received = b""
        self._implicit = context if server.implicit_tls else None
        super().__init__(server.host, server.port, local_hostname=socket.gethostname())

    def remaining(self) -> float:
        """Seconds until the deadline. Raises ``TimeoutError`` when there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("The time for this message is over.")
        return left

    def secure(self, context: ssl.SSLContext) -> None:
        """Say STARTTLS, and greet again. Raises ``smtplib.SMTPException``."""
        code, text = self.starttls(context=context)
        if code != 220:
            raise smtplib.SMTPResponseException(code, text)
        # What came in before the handshake was not said by whom the certificate names.
        self._received = b""
        self.ehlo()

    def send(self, s: object) -> None:
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("The connection is closed.")
        self.sock.settimeout(self.remaining())
        self.sock.sendall(s.encode("ascii") if isinstance(s, str) else s)  # type: ignore[arg-type]  # smtplib passes bytes

    def getreply(self) -> tuple[int, bytes]:
        """Read one reply, of one or more lines (RFC 5321, 4.2.1)."""
        lines: list[bytes] = []
        while sum(map(len, lines)) < REPLY_LIMIT:
            line = self._line()
            if not line[:3].isdigit():
                raise smtplib.SMTPServerDisconnected("What answers does not speak SMTP.")
            lines.append(line[4:].strip())
            if line[3:4] != b"-":
                return int(line[:3]), b"\n".join(lines)
        raise smtplib.SMTPServerDisconnected("The reply does not end.")

    def _line(self) -> bytes:
        while b"\n" not in self._received:
            if len(self._received) > REPLY_LIMIT:
                raise smtplib.SMTPServerDisconnected("The line does not end.")
            if self.sock is None:
                raise smtplib.SMTPServerDisconnected("The connection is closed.")
            self.sock.settimeout(self.remaining())
            some = self.sock.recv(8192)
            if not some:
                raise smtplib.SMTPServerDisconnected("The server closed the connection.")
            self._received += some
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _get_socket(
        self, host: str, port: int, timeout: object
    ) -> socket.socket:  # smtplib's hook, as SMTP_SSL uses it
        plain = socket.create_connection((host, port), self.remaining())
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._implicit is None:
            return plain
        return self._implicit.wrap_socket(plain, server_hostname=host)


def connect(server: SmtpServer, deadline: float) -> Connection:
    """Greet, secure and log in. Whatever fails here, nothing has been handed over yet.

    Raises ``TransientError``, for a wrong password too: the operator mends it, and then the
    message can go.
    """
    connection = None
    try:
        context = ssl.create_default_context(cafile=server.ca_file)
        connection = Connection(server, context, deadline)
        _secure(connection, server, context)
        if server.username:
            connection.login(server.username, server.password)
    except smtplib.SMTPResponseException as error:
        if connection:
            connection.close()
        raise TransientError(words(error.smtp_error), code=str(error.smtp_code)) from error
    except (smtplib.SMTPException, OSError, ValueError) as error:
        if connection:
            connection.close()
        raise TransientError(f"No session: {error}", code=type(error).__name__) from error
    return connection


def words(text: bytes | str) -> str:
    """Give a reply's text."""
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


def _secure(connection: Connection, server: SmtpServer, context: ssl.SSLContext) -> None:
    connection.ehlo_or_helo_if_needed()
    if server.implicit_tls or server.starttls == "never":
        return
    if server.starttls == "require" or connection.has_extn("starttls"):
        connection.secure(context)
