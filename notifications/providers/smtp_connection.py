"""One SMTP connection (RFC 5321) on which nothing can outlast the deadline of its message."""

import ipaddress
import re
import smtplib
import socket
import ssl
import time
from dataclasses import dataclass, field
from functools import cache
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit

from notifications.channels import outgoing, tls
from notifications.channels.outgoing import Reach
from notifications.core.errors import AccountRefused, TransientError
from notifications.providers.smtp_replies import Phase, refusal

REPLY_LIMIT = 64 * 1024  # bytes of one reply
_PORTS = {"smtp": 25, "smtps": 465}
_STARTTLS = ("require", "offered", "never")
OWN_NAME_SECONDS = 1.0  # for which this machine's full name is looked for
_FULL_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")


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
    ehlo: str = ""
    reach: Reach = Reach.ACCOUNT


def read_url(url: str, ehlo: str = "", reach: Reach = Reach.ACCOUNT) -> SmtpServer:
    """Read ``smtp://user:pass@host:port`` or ``smtps://…`` (implicit TLS).

    ``?starttls=require|offered|never`` and ``?ca_file=PATH`` may follow. A password goes out
    only after STARTTLS, unless the host is this machine or ``starttls=never`` says otherwise.
    ``ehlo`` is the name by which we greet, "" for this machine's own; ``reach`` says who chose the
    server. Raises ``ValueError`` for
    anything else.
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
        ehlo=ehlo,
        reach=reach,
    )


def check_ehlo(name: str) -> None:
    """Raise ``ValueError`` for what nobody may greet by (RFC 5321, 4.1.4)."""
    if not (_FULL_NAME.fullmatch(name) or (name[:1] == "[" and name[-1:] == "]")):
        raise ValueError("ehlo must be a full host name, like mx.example.org, or [192.0.2.1].")


@cache
def own_name() -> str:
    """Return this machine's fully qualified name, ``""`` where it has none.

    It is looked up once in a process, and not waited for if name servers are away.
    """
    names = [socket.gethostname()]
    if not _FULL_NAME.fullmatch(names[0]):
        asking = Thread(target=lambda: names.append(socket.getfqdn()), daemon=True)
        asking.start()
        asking.join(OWN_NAME_SECONDS)
    name = names[-1]
    is_local = name.lower().startswith("localhost.") or name.endswith(".arpa")
    return name if _FULL_NAME.fullmatch(name) and not is_local else ""


def address_literal(address: str) -> str:
    """Write an IP address as a greeting (RFC 5321, 4.1.3)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return f"[IPv6:{ip}]" if ip.version == 6 else f"[{ip}]"


class Connection(smtplib.SMTP):
    """smtplib's, with a deadline (``time.monotonic``) for everything that is said next.

    smtplib's own timeout starts afresh with every byte, so that a server which sends one now
    and then could hold a worker for as long as it likes.
    """

    def __init__(self, server: SmtpServer, context: ssl.SSLContext, deadline: float) -> None:
        self.deadline = deadline
        self._received = b""
        self._implicit = context if server.implicit_tls else None
        self._reach = server.reach
        self._server_name = server.host
        greeting = server.ehlo or own_name()
        try:
            super().__init__(server.host, server.port, local_hostname=greeting or "[127.0.0.1]")
        except BaseException:
            self.close()  # smtplib leaves a socket open on which no banner came
            raise
        if not greeting and self.sock is not None:
            self.local_hostname = address_literal(self.sock.getsockname()[0])

    def remaining(self) -> float:
        """Seconds until the deadline. Raises ``TimeoutError`` when there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("The message's time limit has passed.")
        return left

    def secure(self, context: ssl.SSLContext) -> None:
        """Say STARTTLS, and greet again. Raises ``smtplib.SMTPException``.

        smtplib's own would give the handshake as long as the reply before it had.
        """
        if not self.has_extn("starttls"):
            raise smtplib.SMTPNotSupportedError("The server does not offer STARTTLS.")
        code, text = self.docmd("STARTTLS")
        if code != 220 or self.sock is None:
            raise smtplib.SMTPResponseException(code, text)
        self.sock = self._encrypted(self.sock, context)
        # What came in before the handshake was not said by whom the certificate names.
        self._received = b""
        self.helo_resp = self.ehlo_resp = None
        self.ehlo()

    def _encrypted(self, plain: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        plain.settimeout(self.remaining())
        return context.wrap_socket(plain, server_hostname=self._server_name)

    def send(self, s: object) -> None:
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("The connection is closed.")
        self.sock.settimeout(self.remaining())
        self.sock.sendall(s.encode() if isinstance(s, str) else s)  # type: ignore[arg-type]  # smtplib passes bytes

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
        addresses = outgoing.addresses(host, port, self.deadline, self._reach)
        plain = outgoing.first_that_answers(
            addresses, lambda address: socket.create_connection((address, port), self.remaining())
        )
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._implicit is None:
            return plain
        return self._encrypted(plain, self._implicit)


def connect(server: SmtpServer, deadline: float) -> Connection:
    """Greet, secure and log in. If this fails, nothing was sent.

    Raises ``TransientError``; ``AccountRefused`` where the server answers and does not want us.
    """
    connection = None
    try:
        context = tls.context(server.ca_file)
        connection = Connection(server, context, deadline)
        _secure(connection, server, context)
        if server.username:
            connection.login(server.username, server.password)
    except smtplib.SMTPResponseException as error:
        if connection:
            connection.close()
        raise refusal(error.smtp_code, words(error.smtp_error), Phase.SESSION) from error
    except outgoing.AddressRefused as error:
        raise AccountRefused(str(error), code="private_address") from error
    except (smtplib.SMTPException, OSError, ValueError) as error:
        if connection:
            connection.close()
        raise TransientError(f"No session: {error}", code=type(error).__name__) from error
    return connection


def words(text: bytes | str) -> str:
    """Return a reply's text."""
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


def _secure(connection: Connection, server: SmtpServer, context: ssl.SSLContext) -> None:
    connection.ehlo_or_helo_if_needed()
    if server.implicit_tls or server.starttls == "never":
        return
    if server.starttls == "require" or connection.has_extn("starttls"):
        connection.secure(context)
