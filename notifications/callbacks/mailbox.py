"""Mail that came back, read from a mailbox over IMAP (RFC 9051).

One scheduler at a time reads BOUNCE_MAILBOX, each minute; ``manage.py receive_mail`` at once.
"""

import imaplib
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from django.conf import settings

from notifications.callbacks import bounces
from notifications.callbacks.returned_mail import Kind
from notifications.core.conf import conf
from scheduling import leases
from scheduling.housekeeping import process_name

log = structlog.get_logger(__name__)

INTERVAL = 60.0  # seconds between two looks of the schedulers
ANSWER_SECONDS = 30.0
SOON = 4.0  # seconds in which a scheduler, which must not hang, is answered
ROUND_SECONDS = 10.0  # of a scheduler; the next round goes on
_HERE = ("127.0.0.1", "::1", "localhost")


class MailboxAway(Exception):
    """The mailbox cannot be read now; what was not read stays unread."""


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
    found = urlsplit(url)
    if found.scheme not in ("imap", "imaps") or not found.hostname or not found.username:
        raise ValueError("It must be like imaps://user:password@host/INBOX.")
    encrypted = found.scheme == "imaps"
    return Mailbox(
        found.hostname,
        found.port or (993 if encrypted else 143),
        unquote(found.username),
        unquote(found.password or ""),
        unquote(found.path.strip("/")) or "INBOX",
        encrypted,
    )


class Reader:
    """Reads the mailbox of the settings, while no other scheduler does."""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._holder: leases.Holder | None = None
        self._problem = ""

    def tick(self) -> float:
        """Take what is unseen; return the seconds until the next look.

        A mailbox that cannot be read is logged once, and asked again a minute later; ``doctor``
        says so, too.
        """
        if not settings.BOUNCE_MAILBOX or not self._may_read():
            return INTERVAL
        until = time.monotonic() + ROUND_SECONDS
        try:
            taken = take_unseen(
                read_url(settings.BOUNCE_MAILBOX),
                SOON,
                lambda: time.monotonic() < until and self._may_read(),
            )
        except (MailboxAway, ValueError) as error:
            if str(error) != self._problem:
                log.warning("mailbox_away", error=str(error))
            self._problem = str(error)
            return INTERVAL
        self._problem = ""
        if taken:
            log.info("mailbox_read", **{kind.name.lower(): count for kind, count in taken.items()})
        return 0.0 if time.monotonic() >= until else INTERVAL

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
        with _open(read_url(settings.BOUNCE_MAILBOX), SOON):
            return ""
    except (MailboxAway, ValueError) as error:
        return str(error)


def take_unseen(
    mailbox: Mailbox,
    seconds: float = ANSWER_SECONDS,
    goes_on: Callable[[], bool] = lambda: True,
) -> Counter[Kind]:
    """Apply what each unseen mail tells, mark it as seen, and count them by kind.

    Each answer may take so many ``seconds``. ``goes_on`` is asked before each mail: the others
    stay unseen where it says no. Raises ``MailboxAway``, and what ``bounces.take`` raises: then
    the mail stays unseen.
    """
    taken: Counter[Kind] = Counter()
    with _open(mailbox, seconds) as imap:
        for number in _told(imap.uid("SEARCH", "UNSEEN"))[0].split():
            if not goes_on():
                break
            uid = number.decode()
            taken[bounces.take(_mail(imap, uid))] += 1
            _told(imap.uid("STORE", uid, "+FLAGS.SILENT", r"(\Seen)"))
    return taken


@contextmanager
def _open(mailbox: Mailbox, seconds: float) -> Iterator[imaplib.IMAP4]:
    imap: imaplib.IMAP4 | None = None
    try:
        imap = _connected(mailbox, seconds)
        imap.login(mailbox.user, mailbox.password)
        _told(imap.select(f'"{mailbox.folder}"'))
        yield imap
    except (imaplib.IMAP4.error, OSError) as error:
        raise MailboxAway(f"{mailbox.host}:{mailbox.port}: {type(error).__name__}") from None
    finally:
        if imap is not None:
            with suppress(imaplib.IMAP4.error, OSError):
                imap.logout()


def _connected(mailbox: Mailbox, seconds: float) -> imaplib.IMAP4:
    context = ssl.create_default_context()
    if mailbox.is_encrypted:
        return imaplib.IMAP4_SSL(mailbox.host, mailbox.port, ssl_context=context, timeout=seconds)
    imap = imaplib.IMAP4(mailbox.host, mailbox.port, timeout=seconds)
    if mailbox.host not in _HERE:
        imap.starttls(context)
    return imap


def _mail(imap: imaplib.IMAP4, uid: str) -> bytes:
    """Return the beginning of a mail: a report is at its front."""
    most = conf.mail_bytes * 3 // 2
    for item in _told(imap.uid("FETCH", uid, f"(BODY.PEEK[]<0.{most}>)")):
        if isinstance(item, tuple):
            return bytes(item[1])
    return b""  # somebody else deleted it


def _told(answer: tuple[str, list[Any]]) -> list[Any]:
    status, data = answer
    if status != "OK":
        raise imaplib.IMAP4.error(status)
    return [item for item in data if item is not None] or [b""]
