"""Mail that came back, read from a mailbox over IMAP (RFC 9051)."""

import imaplib
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from notifications.callbacks import bounces
from notifications.callbacks.returned_mail import Kind
from notifications.core.conf import conf

ANSWER_SECONDS = 30.0
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


def take_unseen(mailbox: Mailbox) -> Counter[Kind]:
    """Apply what each unseen mail tells, mark it as seen, and count them by kind.

    Raises ``MailboxAway``, and what ``bounces.take`` raises: then the mail stays unseen.
    """
    taken: Counter[Kind] = Counter()
    with _open(mailbox) as imap:
        for number in _told(imap.uid("SEARCH", "UNSEEN"))[0].split():
            uid = number.decode()
            taken[bounces.take(_mail(imap, uid))] += 1
            _told(imap.uid("STORE", uid, "+FLAGS.SILENT", r"(\Seen)"))
    return taken


@contextmanager
def _open(mailbox: Mailbox) -> Iterator[imaplib.IMAP4]:
    imap: imaplib.IMAP4 | None = None
    try:
        imap = _connected(mailbox)
        imap.login(mailbox.user, mailbox.password)
        _told(imap.select(f'"{mailbox.folder}"'))
        yield imap
    except (imaplib.IMAP4.error, OSError) as error:
        raise MailboxAway(f"{mailbox.host}:{mailbox.port}: {type(error).__name__}") from None
    finally:
        if imap is not None:
            with suppress(imaplib.IMAP4.error, OSError):
                imap.logout()


def _connected(mailbox: Mailbox) -> imaplib.IMAP4:
    context = ssl.create_default_context()
    if mailbox.is_encrypted:
        return imaplib.IMAP4_SSL(
            mailbox.host, mailbox.port, ssl_context=context, timeout=ANSWER_SECONDS
        )
    imap = imaplib.IMAP4(mailbox.host, mailbox.port, timeout=ANSWER_SECONDS)
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
