"""Mail that a client handed over by SMTP, as notifications: one for each recipient.

Mails that come at once are committed together.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email import policy
from email.parser import BytesHeaderParser
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from django.db import close_old_connections, connections

from notifications.api import limits
from notifications.channels import addresses
from notifications.channels.mail import File, Mail, refuse_executables_of
from notifications.core.errors import InvalidField, InvalidNotification
from notifications.core.text import printable
from notifications.delivery import failed_deliveries
from notifications.gateways import ascii_headers, steering
from notifications.models import ApiKey, new_id
from notifications.providers import accounts
from notifications.submission import acceptance
from notifications.submission.building import Answer, Asked
from scheduling import isolation

TOGETHER = 100  # mails in one commit
MANY = 5  # mails in a commit, after which the next one waits for more to come
GATHER_SECONDS = 0.003  # a commit costs more than that, and little more for twice as many mails
PUBLISH_SECONDS = 0.05  # between two looks at what the broker lacks
_parser = BytesHeaderParser(policy=policy.compat32)  # which reads no value until it is asked for


@dataclass(frozen=True, slots=True)
class Handed:
    """A mail as a client handed it over."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    trace: bytes
    key: ApiKey


class TooMany(Exception):
    """A key has handed over more than it may; ``wait`` is in seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__(wait)
        self.wait = wait


class Writer:
    """Accepts mails in one thread; those that come while it is at work are the next commit.

    ``publish`` has the broker told of what was accepted: not before each answer, but at once and
    then as often as ``PUBLISH_SECONDS`` allows.
    """

    def __init__(self, publish: Callable[[], Awaitable[None]]) -> None:
        self._publish = publish
        self._were = 0  # in the last commit
        self._is_unpublished = False
        self._publishing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._waiting: list[tuple[Handed, asyncio.Future[list[Answer]]]] = []
        self._work: asyncio.Task[None] | None = None

    async def accept(self, handed: Handed) -> list[Answer]:
        """Return an answer for each recipient, once it is committed; raises what concerns all."""
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._waiting.append((handed, future))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._write())
        return await future

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            if self._were >= MANY:
                await asyncio.sleep(GATHER_SECONDS)
            part, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            mails = [handed for handed, _ in part]
            self._were = len(part)
            try:
                answers: Sequence[Any] = await loop.run_in_executor(self._thread, accept, mails)
            except Exception as error:  # noqa: BLE001 -- raised again where each is waited for
                answers = [error] * len(part)
            self._is_unpublished = True
            if self._publishing is None or self._publishing.done():
                self._publishing = asyncio.create_task(self._publish_all())
            for (_, future), answer in zip(part, answers, strict=True):
                if future.done():
                    continue  # its client is gone
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    async def _publish_all(self) -> None:
        while self._is_unpublished:
            self._is_unpublished = False
            await self._publish()
            await asyncio.sleep(PUBLISH_SECONDS)

    async def close(self) -> None:
        """Store and publish the mails that were received, and let the thread end."""
        if self._work is not None:
            await self._work
        if self._publishing is not None:
            await self._publishing
        self._thread.submit(connections.close_all)
        self._thread.shutdown()


def accept(mails: Sequence[Handed]) -> list[list[Answer] | Exception]:
    """Accept mails in one transaction; return for each its answers, or what refused it.

    Nothing is published: see ``Writer``.
    """
    close_old_connections()
    prepared: list[list[dict[str, Any]] | Exception] = []
    for mail, wait in zip(mails, _waits(mails), strict=True):
        if wait:
            prepared.append(TooMany(wait))
            continue
        try:
            prepared.append(_requests(mail))
        except InvalidNotification as error:
            prepared.append(error)
        except Exception as error:
            if isolation.concerns_everybody(error):
                raise
            prepared.append(InvalidField("The mail cannot be read.", field="raw"))
    asked = [Asked(row) for rows in prepared if isinstance(rows, list) for row in rows]
    answers = iter(acceptance.accept_many(asked, publish=False))
    found: list[list[Answer] | Exception] = []
    for rows in prepared:
        if isinstance(rows, Exception):
            found.append(rows)
            continue
        own = [next(answers) for _ in rows]
        _keep_refused(rows, own)
        found.append(own)
    return found


def _waits(mails: Sequence[Handed]) -> list[float]:
    """Count each mail for its key; return for each 0, or the seconds that it must wait."""
    counts = Counter(mail.key.prefix for mail in mails)
    keys = {mail.key.prefix: mail.key for mail in mails}
    # Together they cost one call; where that is too much, one by one takes as many as may be.
    free = {name for name, count in counts.items() if not limits.take(keys[name], count)}
    return [0.0 if mail.key.prefix in free else limits.take(mail.key) for mail in mails]


def _keep_refused(rows: Sequence[dict[str, Any]], answers: Sequence[Answer]) -> None:
    """Make failed deliveries of recipients that were refused while others were accepted."""
    if not any(answer.error is None for answer in answers):
        return
    for row, answer in zip(rows, answers, strict=True):
        if answer.error is not None:
            named = {name: row[name] for name in ("channel", "recipient", "subject")}
            failed_deliveries.keep_refused(str(new_id()), named, answer.error)


def _requests(handed: Handed) -> list[dict[str, Any]]:
    """Return a request for each recipient. Raises ``InvalidField``."""
    _check_line_ends(handed.content)
    head, body = _parted(handed.content)
    head = ascii_headers.in_ascii(head)
    headers = _parser.parsebytes(head)
    for author in _authors(headers):
        if not accounts.may_send_as("email", author):
            raise InvalidField(f"No account may send as {author}.", field="from_email")
    steered = steering.read(_for_us(headers), without=("template", "context"))
    refuse_executables_of(handed.content)
    mail = Mail(
        from_email=_sender(handed.sender),
        raw=File(
            handed.trace + _without_ours(head) + _date(headers) + body,
            content_type="message/rfc822",
        ),
    )
    key, world = steered.pop("idempotency_key", ""), handed.key.world
    return [
        {
            "channel": "email",
            "subject": _one_line(_read("Subject", headers)),
            **steered,
            "recipient": recipient,
            **({"idempotency_key": f"{key}:{recipient}"} if key else {}),
            "project": world.project,
            "test": world.test,
            "mail": mail,
        }
        for recipient in handed.recipients
    ]


def _check_line_ends(content: bytes) -> None:
    """Raise ``InvalidField`` for a CR or LF alone, which servers read differently."""
    if not content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r"):
        raise InvalidField("A line must end by CR LF (RFC 5321, 2.3.8).", field="raw")


def _parted(content: bytes) -> tuple[bytes, bytes]:
    """Part a mail into its header lines and the rest, which begins with the blank line."""
    if content.startswith(b"\r\n"):
        return b"", content
    head, blank, body = content.partition(b"\r\n\r\n")
    return (head + b"\r\n", b"\r\n" + body) if blank else (content, b"\r\n")


def _without_ours(head: bytes) -> bytes:
    """Take out the headers that nobody is to read, with the lines that continue them."""
    lowered = head.lower()
    if steering.PREFIX.encode() not in lowered and b"bcc" not in lowered:
        return head
    kept = []
    is_ours = False
    for line in head.splitlines(keepends=True):
        if line[:1] not in b" \t":
            name = line.partition(b":")[0].decode("ascii", "replace")
            is_ours = not steering.is_sent(name.rstrip())
        if not is_ours:
            kept.append(line)
    return b"".join(kept)


def _date(headers: Any) -> bytes:
    """Add the date that a mail must have (RFC 6409, 8.1)."""
    return b"" if "Date" in headers else f"Date: {formatdate()}\r\n".encode()


def _for_us(headers: Any) -> Iterator[tuple[str, str]]:
    """Read the headers that are for us; to read the others would cost more than all the rest."""
    for name, value in headers.raw_items():
        if steering.is_for_us(name):
            yield name, str(policy.default.header_fetch_parse(name, value))


def _authors(headers: Any) -> list[str]:
    """Return whom From and Sender name. Raises ``InvalidField`` where From names nobody."""
    raw = [(name.lower(), str(value)) for name, value in headers.raw_items()]
    if not any(name == "from" for name, _ in raw):
        raise InvalidField("The mail has no header From.", field="headers.From")
    found = [
        address
        for name, value in raw
        if name in ("from", "sender")
        for address in _addresses_in(name, value)
    ]
    if not found:
        raise InvalidField("From is not a mail address.", field="headers.From")
    return found


@lru_cache(maxsize=200)
def _addresses_in(name: str, value: str) -> tuple[str, ...]:
    """Return the addresses of a header as it was written: few programs write many."""
    header: Any = policy.default.header_fetch_parse(name, value)
    found = tuple(address.addr_spec for address in header.addresses)
    for address in found:
        try:
            addresses.canonical(address)
        except addresses.BadAddress:
            raise InvalidField("From is not a mail address.", field="headers.From") from None
    return found


def _sender(given: str) -> str:
    """Return the envelope's sender, "" for none. Raises ``InvalidField``."""
    if not given:
        return ""
    try:
        addresses.sender(given)
    except (addresses.BadAddress, UnicodeError) as error:
        raise InvalidField(f"Nothing can be sent from it. {error}", field="from_email") from None
    return given


def _read(name: str, headers: Any) -> str:
    found = [value for other, value in headers.raw_items() if other.lower() == name.lower()]
    if not found:
        return ""
    value = str(found[0])
    if value.isascii() and "=?" not in value:  # nothing to decode, which costs a tenth of it all
        return value
    return str(policy.default.header_fetch_parse(name, value))


def _one_line(subject: str) -> str:
    return " ".join(printable(subject).split())
