"""A submission server (RFC 6409): a program's mail becomes notifications.

A client logs in with an API key as its password, over TLS. Each recipient is a notification, and
the mail is delivered as it was written, below our trace headers. 250 is said after the commit;
mails that come at once are committed together.
"""

import asyncio
import logging
import re
import socket
import ssl
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import structlog
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from django.db import Error as DatabaseError
from django.db import close_old_connections, connections

from notifications.api import limits
from notifications.callbacks import bounces
from notifications.channels import addresses, return_paths
from notifications.core.conf import conf
from notifications.core.errors import InvalidNotification
from notifications.core.text import printable
from notifications.gateways import smtp_data
from notifications.gateways.handed_mail import Handed, TooMany, Writer
from notifications.models import ApiKey, new_id
from notifications.operations import api_keys
from notifications.queueing import release

log = structlog.get_logger(__name__)

LOGINS = 6  # wrong keys after which a connection is over
LATER = "451 4.3.0 It cannot be stored now; try again later"
_REPLIES = {"from_email": "550 5.7.1", "attachments": "552 5.3.4", "recipient": "553 5.1.3"}
_REFUSED = "554 5.6.0"
_PLAIN = re.compile(r"<([A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9.-]+)>( .*)?")
_EHLO = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")


@dataclass(frozen=True, slots=True)
class Options:
    """Where the server listens, and by which certificate it is known."""

    host: str
    port: int
    certificate: str = ""
    key: str = ""
    implicit_tls: bool = False
    connections: int = 100

    def context(self) -> ssl.SSLContext | None:
        """Load the certificate; None without one. Raises ``OSError``, ``ssl.SSLError`` among."""
        if not self.certificate:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key or None)
        return context


class Server(SMTP):
    """One connection; who logs in is looked up outside the loop."""

    def __init__(self, backend: "Backend", most: int, *args: Any, **options: Any) -> None:
        super().__init__(*args, authenticator=_unchecked, **options)
        self._backend = backend
        self._most = most
        self._most_octets = options["data_size_limit"]
        self._refusals = 0

    def connection_made(self, transport: Any) -> None:
        """Take a connection, unless there are as many as may be."""
        if self._backend.connections >= self._most:
            transport.write(b"421 4.3.2 Too many connections; try again later\r\n")
            transport.close()
            return
        self._backend.connections += 1
        self._is_counted = True
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Let another one come in its place."""
        if self._is_counted:
            self._is_counted = False
            self._backend.connections -= 1
            super().connection_lost(error)

    _is_counted = False

    async def check_auth_needed(self, caller_method: str) -> bool:
        """Ask for a login, except of mail servers that return mail: see ``Handler.handle_RCPT``."""
        session = self.session
        if session is not None and not session.authenticated:
            try:
                if await self._backend.ask(_expects_bounces):
                    return False
            except DatabaseError:
                await self.push(LATER)
                return True
        return bool(await super().check_auth_needed(caller_method))

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 -- aiosmtpd's name
        """Read a mail, and answer what the handler says."""
        if await self.check_helo_needed() or await self.check_auth_needed("DATA"):
            return
        envelope = self.envelope
        if envelope is None or not envelope.rcpt_tos:
            await self.push("503 Error: need RCPT command")
            return
        if arg:
            await self.push("501 Syntax: DATA")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        try:
            content = await smtp_data.read(self._reader, self._most_octets)
            envelope.content = envelope.original_content = content
            status = await self._call_handler_hook("DATA")
        except smtp_data.TooMuch:
            status = "552 5.3.4 The mail is too large"
        except smtp_data.TooLong:
            status = "500 5.5.2 A line is longer than 998 characters (RFC 5321, 4.5.3.1.6)"
        self.envelope = self._create_envelope()
        await self.push(status)

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        """Read an address of MAIL or RCPT: most are plain, and ``email`` takes long for them."""
        if plain := _PLAIN.fullmatch(arg):
            return plain[1], plain[2] or ""
        found: tuple[str | None, str | None] = super()._getaddr(arg)
        return found

    async def auth_PLAIN(self, server: SMTP, args: list[str]) -> AuthResult:  # noqa: N802 -- aiosmtpd's name
        """Log in by the mechanism PLAIN."""
        return await self._checked(await super().auth_PLAIN(server, args))

    async def auth_LOGIN(self, server: SMTP, args: list[str]) -> AuthResult:  # noqa: N802 -- as above
        """Log in by the mechanism LOGIN."""
        return await self._checked(await super().auth_LOGIN(server, args))

    async def _checked(self, result: AuthResult) -> AuthResult:
        if not (result.success and isinstance(result.auth_data, LoginPassword)):
            return result
        try:
            address = str((self.session.peer or ("",))[0]) if self.session else ""
            key, has_to_wait = await self._backend.ask(_key_of, result.auth_data.password, address)
        except DatabaseError:
            return AuthResult(
                success=False, handled=False, message="454 4.7.0 Keys cannot be looked up now"
            )
        if key is None:
            self._refusals += 1
            if has_to_wait or self._refusals >= LOGINS:
                await self.push("421 4.7.0 Too many wrong keys")
                if self.transport is not None:
                    self.transport.close()
                return AuthResult(success=False, handled=True)
            return AuthResult(success=False, handled=False)
        return AuthResult(success=True, handled=False, auth_data=key)


def _unchecked(*given: Any) -> AuthResult:
    """Take what a client says as it is: it is looked up in ``Server._checked``."""
    return AuthResult(success=True, handled=False, auth_data=given[-1])


class Backend:
    """A thread that asks the database and Redis for the loop; and how many connections are open."""

    def __init__(self) -> None:
        self.connections = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="backend")

    async def ask(self, function: Any, *about: Any) -> Any:
        """Call it in the thread, and return its answer; raises what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *about)

    async def publish(self) -> None:
        """Publish what the broker lacks; where that fails, the sweep does it."""
        try:
            await self.ask(_publish)
        except Exception as error:  # noqa: BLE001 -- the mails are committed, and stay due
            log.warning("left_to_the_sweep", error=type(error).__name__)

    def close(self) -> None:
        """Let the thread end, and its connection to the database."""
        self._thread.submit(connections.close_all)
        self._thread.shutdown()


def _key_of(password: bytes, address: str) -> tuple[ApiKey | None, bool]:
    """Return the key that a password is, if it may send, and whether too many came that are none.

    Those are logged until then, as over HTTP; a key that is one is never held up by them.
    """
    close_old_connections()
    token = password.decode("ascii", "replace")
    key = api_keys.find(token)
    if key is None or ApiKey.Scope.SEND not in key.scopes:
        has_to_wait = bool(limits.take_refused(address))
        if not has_to_wait:
            log.warning("api_key_refused", address=address, prefix=api_keys.prefix_of(token))
        return None, has_to_wait
    api_keys.note_use(key)
    return key, False


class Handler:
    """What a connection's commands do. One for all connections."""

    def __init__(self, backend: Backend, writer: "Writer") -> None:
        self._backend = backend
        self._writer = writer

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient whose address can be written to."""
        if len(envelope.rcpt_tos) >= conf.mail_recipients:
            return "452 4.5.3 Too many recipients for one mail"
        if not session.authenticated:
            if return_paths.read(address) is None:
                return "530 5.7.0 Authentication required"
            envelope.rcpt_tos.append(address)
            return "250 2.1.5 OK"
        try:
            envelope.rcpt_tos.append(addresses.canonical(address))
        except (addresses.BadAddress, UnicodeError):
            return "553 5.1.3 It is not a mail address"
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 -- as above
        """Accept a mail, and answer when it is committed."""
        if not session.authenticated:
            return await self._take_back(envelope)
        key: Any = session.auth_data  # an ``ApiKey``
        try:
            answers = await self._writer.accept(_handed(server, session, envelope, key))
        except TooMany as error:
            return f"451 4.7.1 Too many mails for this key; try again in {error.wait:.0f} s"
        except InvalidNotification as error:
            return _refusal(error)
        except Exception as error:  # noqa: BLE001 -- a client that is told so tries again
            log.warning("mail_not_accepted", error=type(error).__name__)
            return LATER
        errors = [answer.error for answer in answers if answer.error is not None]
        if len(errors) == len(answers):
            return _refusal(errors[0])
        return f"250 2.0.0 Accepted as {answers[0].id}"

    async def _take_back(self, envelope: Envelope) -> str:
        """Take a mail that came back to addresses that we made."""
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        try:
            for recipient in envelope.rcpt_tos:
                await self._backend.ask(_returned, content, recipient)
        except Exception as error:  # noqa: BLE001 -- a server that is told so tries again
            log.warning("mail_not_accepted", error=type(error).__name__)
            return LATER
        return "250 2.0.0 OK"


def _publish() -> None:
    close_old_connections()
    release.publish_now()


def _expects_bounces() -> bool:
    close_old_connections()
    return bounces.are_expected()


def _returned(content: bytes, recipient: str) -> None:
    close_old_connections()
    bounces.take(content, recipient)


def _handed(server: SMTP, session: Session, envelope: Envelope, key: Any) -> Handed:
    content = envelope.content if isinstance(envelope.content, bytes) else b""
    name, peer = session.host_name or "", session.peer or ("unknown",)
    ehlo = name if _EHLO.fullmatch(name) else "unknown"
    with_ = f"{'UTF8' if envelope.smtp_utf8 else 'E'}SMTP{'S' if _is_secure(session) else ''}A"
    trace = (
        f"Received: from {ehlo} ([{peer[0]}])\r\n"
        f"\tby {server.hostname} with {with_} id {new_id().hex};\r\n\t{formatdate()}\r\n"
    )
    return Handed(
        envelope.mail_from or "",
        tuple(dict.fromkeys(envelope.rcpt_tos)),
        content,
        trace.encode(),
        key,
    )


def _is_secure(session: Session) -> bool:
    return session.ssl is not None


def _refusal(error: InvalidNotification) -> str:
    """Write an error as a reply: one line of ASCII."""
    code = _REPLIES.get(error.field.partition(".")[0], _REFUSED)
    words = " ".join(printable(str(error)).split())
    return f"{code} {words}".encode("ascii", "replace").decode()[:400]


async def serve(options: Options, stopped: asyncio.Event, listening: Any = None) -> None:
    """Serve until ``stopped``; then store the mails that were received.

    Calls ``listening`` with the port as soon as it is open. Raises ``OSError`` where it cannot be.
    """
    # Only on this machine, or with TLS from the start, of which aiosmtpd does not know.
    warnings.filterwarnings("ignore", "Requiring AUTH while not requiring TLS", UserWarning)
    for name in ("mail.log", "mail.debug"):  # aiosmtpd's, which have addresses
        logging.getLogger(name).setLevel(logging.ERROR)
    context = options.context()
    backend = Backend()
    writer = Writer(backend.publish)
    handler = Handler(backend, writer)

    def connection() -> Server:
        return Server(
            backend,
            options.connections,
            handler,
            hostname=socket.getfqdn() or "localhost",
            ident="ESMTP",
            data_size_limit=conf.mail_bytes * 3 // 2,
            enable_SMTPUTF8=True,
            tls_context=None if options.implicit_tls else context,
            auth_required=True,
            # aiosmtpd knows of STARTTLS only; implicit TLS is there from the start.
            auth_require_tls=context is not None and not options.implicit_tls,
            timeout=300,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        connection,
        options.host,
        options.port,
        ssl=context if options.implicit_tls else None,
        backlog=options.connections,
    )
    async with server:
        if listening is not None:
            listening(server.sockets[0].getsockname()[1])
        await stopped.wait()
        server.close()
        await writer.close()
    backend.close()
