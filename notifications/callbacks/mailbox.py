"""Mail that came back, read from a mailbox over IMAP (RFC 9051).

One scheduler at a time reads BOUNCE_MAILBOX, each minute; ``manage.py receive_mail`` at once.
"""

import imaplib
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import structlog
from django.conf import settings

from notifications.callbacks import bounces
from notifications.callbacks.returned_mail import Kind
from notifications.channels import outgoing
from notifications.channels.outgoing import Reach
from notifications.core.conf import conf
from scheduling import isolation, leases
from scheduling.housekeeping import process_name

log = structlog.get_logger(__name__)

T = TypeVar("T")

INTERVAL = 60.0  # seconds between two looks of the schedulers
ANSWER_SECONDS = 30.0
SOON = 4.0  # seconds in which a scheduler, which must not hang, is answered
ROUND_SECONDS = 10.0  # of a scheduler; the next round goes on
STEP_SECONDS = 60.0  # for the login with the search, and for each mail, however slowly bytes come
BESIDE_MAIL = 2_000_000  # bytes of such a step that are not the mail's; a search is among them
_AT_ONCE = 65536  # bytes
_HERE = ("127.0.0.1", "::1", "localhost")


MOST_FAULTY = 10  # mails in a round that cannot be read: what more there are waits for the next one


class MailboxAway(Exception):
    """The mailbox cannot be read now; what was not read stays unread."""


class _FaultyMail(Exception):
    """One mail cannot be read or applied; its text names it, and says why."""


@dataclass(slots=True)
class Reading:
    """What was read, by kind, and what is wrong with the mails that could not be, by their UIDs."""

    taken: Counter[Kind] = field(default_factory=Counter)
    faulty: dict[str, str] = field(default_factory=dict)

    @property
    def problem(self) -> str:
        """What is wrong with the first mail that could not be read, or ``""``."""
        return next(iter(self.faulty.values()), "")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Where a mailbox is, and who reads it."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    folder: str = "INBOX"
    is_encrypted: bool = True  # from the first byte; else by STARTTLS, except on this machine


def read_url(url: str) -> Mailbox:
    """Read ``imaps://user:password@host/folder``. Raises ``ValueError``."""
    parts = urlsplit(url)
    if parts.scheme not in ("imap", "imaps") or not parts.hostname or not parts.username:
        raise ValueError("It must be like imaps://user:password@host/INBOX.")
    encrypted = parts.scheme == "imaps"
    return Mailbox(
        parts.hostname,
        parts.port or (993 if encrypted else 143),
        unquote(parts.username),
        unquote(parts.password or ""),
        unquote(parts.path.strip("/")) or "INBOX",
        encrypted,
    )


class Reader:
    """Reads the mailbox of the settings, while no other scheduler does."""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._holder: leases.Holder | None = None
        self._problem = ""
        self._faulty: set[str] = set()

    def tick(self) -> float:
        """Take what is unseen; return the seconds until the next look.

        A mailbox that cannot be read is logged once, and asked again a minute later; ``doctor``
        says so, too. So is a mail that cannot be read: it is tried again after all others.
        """
        if not settings.BOUNCE_MAILBOX or not self._may_read():
            return INTERVAL
        until = time.monotonic() + ROUND_SECONDS
        try:
            read = take_unseen(
                read_url(settings.BOUNCE_MAILBOX),
                SOON,
                lambda: time.monotonic() < until and self._may_read(),
                self._faulty,
            )
        except (MailboxAway, ValueError) as error:
            self._log_once("mailbox_away", str(error))
            return INTERVAL
        self._faulty |= read.faulty.keys()
        self._log_once("mail_unreadable", read.problem)
        if read.taken:
            counts = {kind.name.lower(): count for kind, count in read.taken.items()}
            log.info("mailbox_read", **counts)
        return 0.0 if time.monotonic() >= until and read.taken else INTERVAL

    def _log_once(self, event: str, problem: str) -> None:
        """Log a problem once; ``""`` for none."""
        if problem and problem != self._problem:
            log.warning(event, error=problem)
        self._problem = problem

    def _may_read(self) -> bool:
        if self._holder is None:
            name = self._name or process_name()
            self._holder = leases.Holder(leases.configured(), "bounce mailbox", name)
        return self._holder.hold()


def problem() -> str:
    """Say why BOUNCE_MAILBOX cannot be read now, ``""`` if it can or there is none."""
    if not settings.BOUNCE_MAILBOX:
        return ""
    try:
        with _open(read_url(settings.BOUNCE_MAILBOX), SOON) as imap:
            for uid in _unseen(imap)[:1]:  # one that cannot be read is the oldest
                _of_one(uid, lambda: _mail(imap, uid))  # noqa: B023 -- called at once
            return ""
    except (MailboxAway, _FaultyMail, ValueError) as error:
        return str(error)


def take_unseen(
    mailbox: Mailbox,
    seconds: float = ANSWER_SECONDS,
    goes_on: Callable[[], bool] = lambda: True,
    last: Collection[str] = (),
) -> Reading:
    """Apply what each unseen mail tells, mark it as seen, and count them by kind.

    The server may be silent for so many ``seconds``. ``goes_on`` is asked before each mail: the
    others stay unseen where it says no. A mail that cannot be read or applied stays unseen, and the
    others are read over a new connection; the UIDs in ``last`` are tried after all others. Raises
    ``MailboxAway``, and what concerns everybody, such as a database that is away.
    """
    read = Reading()
    while len(read.faulty) < MOST_FAULTY:
        with suppress(_FaultyMail), _open(mailbox, seconds) as imap:
            for uid in sorted(_unseen(imap), key=lambda uid: uid in last):
                if uid in read.faulty:
                    continue
                if not goes_on():
                    return read
                _take_mail(imap, uid, read)
            return read
    return read


def _take_mail(imap: "_Bounded", uid: str, read: Reading) -> None:
    """Apply one mail. Raises ``_FaultyMail`` where it cannot be."""

    def take() -> Kind:
        imap.begin_step()
        kind = bounces.take(_mail(imap, uid))
        _items_of(imap.uid("STORE", uid, "+FLAGS.SILENT", r"(\Seen)"))
        return kind

    try:
        read.taken[_of_one(uid, take)] += 1
    except _FaultyMail as fault:
        read.faulty[uid] = str(fault)
        raise


def _of_one(uid: str, work: Callable[[], T]) -> T:
    """Work on one mail; what it raises costs that one. Raises ``_FaultyMail``."""
    try:
        return work()
    except Exception as error:
        if isolation.concerns_everybody(error):
            raise
        fault = isolation.fault_of(error, "mailbox")
        is_told = isinstance(error, _OutOfBounds)
        why = str(error) if is_told else f"{fault.error} at {fault.place}"
        raise _FaultyMail(f"the mail with the UID {uid}: {why}") from None


class _OutOfBounds(OSError):
    """The server sends more than was asked for, or takes too long; its text says which.

    imaplib would wrap an error of its own kind into words about the command.
    """


class _Bounded(imaplib.IMAP4):
    """imaplib's, with a bound of bytes and of time for each step of the reading.

    imaplib reads a literal whole, of the length that the server names, and its timeout starts
    afresh with every byte.
    """

    def __init__(self, seconds: float, **options: Any) -> None:
        self._silence = seconds
        self._buffer = bytearray()
        self._source: object = None
        self.begin_step()
        super().__init__(timeout=seconds, **options)

    def _create_socket(self, _timeout: float | None) -> socket.socket:
        """Look up the name and connect, within the bound of silence (imaplib's hook)."""
        deadline = time.monotonic() + self._silence
        addresses = outgoing.addresses(self.host, self.port, deadline, Reach.SETTINGS)
        return outgoing.first_that_answers(
            addresses,
            lambda address: socket.create_connection(
                (address, self.port), max(deadline - time.monotonic(), 0.1)
            ),
        )

    def begin_step(self) -> None:
        """Let the bounds begin again, for the next mail."""
        self._left = _most() + BESIDE_MAIL
        self._ends = time.monotonic() + STEP_SECONDS

    def read(self, size: int) -> bytes:
        """Read a literal. Raises ``OSError`` for one that is too long."""
        if size > self._left:
            raise _OutOfBounds(
                f"it sends {size:,} bytes at once, and was asked for {_most():,} at most"
            )
        return self._taken(lambda: size if len(self._buffer) >= size else 0)

    def readline(self) -> bytes:
        """Read a line. Raises ``OSError`` for one that does not end."""
        return self._taken(lambda: self._buffer.find(b"\n") + 1)

    def send(self, data: Any) -> None:
        """Send within the bound of silence."""
        self.sock.settimeout(self._silence)
        super().send(data)

    def _taken(self, ready: Callable[[], int]) -> bytes:
        """Take so many bytes as are ``ready``, once they are; fewer where the server hangs up."""
        if self._source is not self.sock:  # what came before the handshake is nobody's word
            self._buffer.clear()
            self._source = self.sock
        while not (length := ready()):
            if len(self._buffer) > self._left:
                raise _OutOfBounds("its answer does not end")
            received = self._received()
            if not received:
                length = len(self._buffer)
                break
            self._buffer += received
        self._left -= length
        if self._left < 0:
            raise _OutOfBounds("its answer does not end")
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken

    def _received(self) -> bytes:
        left = self._ends - time.monotonic()
        with suppress(TimeoutError):
            if left > 0:
                self.sock.settimeout(min(left, self._silence))
                return self.sock.recv(_AT_ONCE)
        if left > self._silence:
            raise TimeoutError
        raise _OutOfBounds(f"it takes more than {STEP_SECONDS:.0f} seconds for one step")


class _BoundedTls(_Bounded, imaplib.IMAP4_SSL):
    """The same, encrypted from the first byte."""

    def _create_socket(self, timeout: float | None) -> socket.socket:
        plain = super()._create_socket(timeout)
        secure: socket.socket = self.ssl_context.wrap_socket(plain, server_hostname=self.host)
        return secure


@contextmanager
def _open(mailbox: Mailbox, seconds: float) -> Iterator[_Bounded]:
    imap: _Bounded | None = None
    step = "the connection"
    try:
        imap = _connected(mailbox, seconds)
        step = "the login"
        imap.login(mailbox.user, mailbox.password)
        step = f"the folder {mailbox.folder}"
        _items_of(imap.select(f'"{mailbox.folder}"'))
        step = "a command"
        yield imap
        with suppress(imaplib.IMAP4.error, OSError):
            imap.logout()
    except (imaplib.IMAP4.error, OSError, ValueError) as error:  # a ValueError: a figure, say
        what = _reason(error, step)
        raise MailboxAway(f"{mailbox.host}:{mailbox.port}: {what}") from None
    finally:
        if imap is not None:
            with suppress(OSError):
                imap.shutdown()


def _reason(error: Exception, step: str) -> str:
    """Say what the server did at a step, without its own words, which may repeat a password."""
    match error:
        case _OutOfBounds():
            return str(error)
        case TimeoutError():
            return f"no answer in time to {step}"
        case ssl.SSLCertVerificationError():
            return f"its certificate is refused ({error.verify_message})"
        case socket.gaierror():
            return "its name is not found"
        case ConnectionRefusedError():
            return "it refuses the connection"
        case imaplib.IMAP4.abort():
            return f"it ended the connection at {step}"
        case imaplib.IMAP4.error():
            return f"it refuses {step}"
        case _:
            return f"{type(error).__name__} at {step}"


def _connected(mailbox: Mailbox, seconds: float) -> _Bounded:
    context = ssl.create_default_context()
    if mailbox.is_encrypted:
        return _BoundedTls(seconds, host=mailbox.host, port=mailbox.port, ssl_context=context)
    imap = _Bounded(seconds, host=mailbox.host, port=mailbox.port)
    if mailbox.host not in _HERE:
        imap.starttls(context)
    return imap


def _most() -> int:
    return conf.mail_bytes * 3 // 2


def _unseen(imap: imaplib.IMAP4) -> list[str]:
    return [number.decode() for number in _items_of(imap.uid("SEARCH", "UNSEEN"))[0].split()]


def _mail(imap: imaplib.IMAP4, uid: str) -> bytes:
    """Return the beginning of a mail: a report is at its front."""
    for item in _items_of(imap.uid("FETCH", uid, f"(BODY.PEEK[]<0.{_most()}>)")):
        if isinstance(item, tuple):
            return bytes(item[1])
    return b""  # somebody else deleted it


def _items_of(answer: tuple[str, list[Any]]) -> list[Any]:
    status, data = answer
    if status != "OK":
        raise imaplib.IMAP4.error(status)
    return [item for item in data if item is not None] or [b""]
