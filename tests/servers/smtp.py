"""A real SMTP server in a thread, with scripted answers, TLS and login."""

import asyncio
import email
import email.policy
import ssl
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Literal, Self

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from tests.servers.process import free_port
from tests.servers.reaper import temporary_folder

HANG = "hang"
ACCEPTED = "250 OK"
Stage = Literal["RCPT", "DATA"]
Tls = Literal["none", "starttls", "implicit"]


@dataclass
class Received:
    """One accepted message: its envelope, and what a mail program would read."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    octets: bytes = b""
    is_utf8: bool = False  # whether MAIL FROM said SMTPUTF8


@dataclass
class SmtpServer:
    """Listens on 127.0.0.1 as soon as it is started; ``messages`` grows in order of arrival.

    With TLS its certificate is for ``localhost``, signed by ``authority_pem``.
    """

    tls: Tls = "none"
    login: tuple[str, str] | None = None
    pipelining: bool = False
    smtputf8: bool = True
    messages: list[Received] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    greetings: int = 0
    names: list[str] = field(default_factory=list)
    waiting: int = 0  # mails that it has, and has not answered yet

    def __post_init__(self) -> None:
        self.port = free_port()
        self.authority_pem = b""
        self.answers = threading.Event()  # while it is clear a mail is taken, and not answered
        self.answers.set()
        self._scripts: dict[tuple[Stage, str], Iterator[str]] = defaultdict(lambda: iter(()))
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            enable_SMTPUTF8=self.smtputf8,
            **self._security(),
            ready_timeout=10,
        )

    @property
    def url(self) -> str:
        """The value of EMAIL_URL that reaches this server, and trusts it."""
        user = f"{self.login[0]}:{self.login[1]}@" if self.login else ""
        if self.tls == "none":
            return f"smtp://{user}127.0.0.1:{self.port}"
        trusted = temporary_folder("smtp") / "authority.pem"
        trusted.write_bytes(self.authority_pem)
        if self.tls == "implicit":
            return f"smtps://{user}localhost:{self.port}?ca_file={trusted}"
        return f"smtp://{user}localhost:{self.port}?starttls=require&ca_file={trusted}"

    def answer(self, recipient: str, replies: Iterable[str], at: Stage = "RCPT") -> None:
        """Answer mail for this recipient with these lines, each once, then accept.

        ``["451 4.7.1 Try later"]`` defers once; ``itertools.repeat("550 5.1.1 No such user")``
        refuses for ever; a line that starts with 421 closes the connection, too; HANG never
        answers.
        """
        self._scripts[at, recipient] = iter(replies)

    def start(self) -> Self:
        self._controller.start()
        return self

    def stop(self) -> None:
        self._controller.stop()

    def _security(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self.tls != "none":
            authority = trustme.CA()
            self.authority_pem = authority.cert_pem.bytes()
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
            name = "tls_context" if self.tls == "starttls" else "ssl_context"
            options |= {name: context, "require_starttls": self.tls == "starttls"}
        if self.login:
            options |= {
                "authenticator": self._authenticate,
                "auth_required": True,
                # aiosmtpd knows of STARTTLS only: implicit TLS counts as plain for it
                "auth_require_tls": self.tls == "starttls",
            }
        return options

    def _authenticate(
        self, server: Any, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        given = (data.login.decode(), data.password.decode())
        self.logins.append(given[0])
        return AuthResult(success=given == self.login, handled=False)

    async def _reply(self, server: Any, stage: Stage, recipient: str) -> str:
        reply = next(self._scripts[stage, recipient], ACCEPTED)
        if reply == HANG:
            await asyncio.sleep(3600)
        if reply.startswith("421"):
            await server.push(reply)
            server.transport.close()
        return reply

    async def handle_EHLO(  # noqa: N802 -- the name is aiosmtpd's
        self,
        server: Any,
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        session.host_name = hostname
        self.greetings += 1
        self.names.append(hostname)
        # The first line is the server's name, whatever it says (RFC 5321, 4.1.1.1).
        return [responses[0], *["250-PIPELINING"] * self.pipelining, *responses[1:]]

    async def handle_RCPT(  # noqa: N802 -- the name is aiosmtpd's
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self._reply(server, "RCPT", address)
        if reply.startswith("2"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802 -- the library's own name
        for recipient in envelope.rcpt_tos:
            reply = await self._reply(server, "DATA", recipient)
            if not reply.startswith("2"):
                return reply
        assert isinstance(envelope.content, bytes)
        self.waiting += 1
        while not self.answers.is_set():  # noqa: ASYNC110 -- another thread sets it
            await asyncio.sleep(0.01)
        self.waiting -= 1
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.messages.append(
            Received(
                envelope.mail_from or "",
                list(envelope.rcpt_tos),
                message,
                envelope.content,
                envelope.smtp_utf8,
            )
        )
        return ACCEPTED
