"""A provider that sends nothing: tests, benchmarks and a sandbox live on it.

It can stand in for any channel. How it behaves is written like a query string: in an account's
setting ``behaviour`` (or the setting ``SIMULATOR``) for all, and behind a ``?`` in the
recipient for one. ``ada?result=transient&code=503&times=2`` refuses the first two attempts.
The words are the fields of ``Behaviour``; ``record`` and ``crash`` count from the account alone.
"""

import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import lru_cache
from urllib.parse import parse_qsl

from notifications.channels import options
from notifications.channels.base import Message, Provider
from notifications.channels.mail import FIELDS
from notifications.core.errors import (
    DeliveryError,
    InvalidRecipient,
    PermanentError,
    TransientError,
    UnknownOutcome,
)
from notifications.core.routing import CHANNELS
from notifications.db import clock
from notifications.models import PendingReceipt


@dataclass(frozen=True, slots=True)
class Behaviour:
    """``latency``, ``retry_after`` and ``receipt_after`` are in seconds, ``error_rate`` is 0 to 1.

    ``result`` is sent, transient, permanent, invalid (the recipient is dead), unknown, hang
    (answers never, so the timeout ends it) or crash (takes the whole process along). ``times``
    limits a bad result to the first so many attempts. ``record`` names a file that gets a line
    per message: its id. ``receipt`` is the event of a receipt that follows: delivered, failed,
    bounced, complained or unsubscribed.
    """

    result: str = "sent"
    latency: float = 0.0
    error_rate: float = 0.0
    code: str = ""
    retry_after: float | None = None
    times: int = 1_000_000
    record: str = ""
    receipt: str = ""
    receipt_after: float = 0.0


_READ = {
    "latency": float,
    "error_rate": float,
    "retry_after": float,
    "receipt_after": float,
    "times": int,
}
_NAMES = {field.name for field in fields(Behaviour)}


class SimulatorProvider(Provider):
    """Behaves as the recipient, or else its account, asks it to."""

    kind = "simulator"
    channels = CHANNELS
    option_names = options.ALL
    mail_fields = frozenset(FIELDS)
    at_once = 64
    setting_names = {"behaviour": "Like latency=0.1&error_rate=0.01"}
    optional = frozenset({"behaviour"})

    def send(self, message: Message) -> str:
        own = message.recipient.partition("?")[2]
        behaviour = behaviour_of(self.account.settings.get("behaviour", ""), own)
        _pause(behaviour, max(message.seconds_left(), 0.0))
        misbehaves = message.attempt <= behaviour.times and (
            behaviour.result != "sent" or random.random() < behaviour.error_rate  # noqa: S311 -- a simulation
        )
        if misbehaves:
            try:
                _misbehave(behaviour)
            except DeliveryError as error:
                error.local = bool(own)
                raise
        if behaviour.record:
            _note(behaviour.record, str(message.id))
        if behaviour.receipt:
            self._promise_receipt(message, behaviour)
        return f"simulated-{message.id}"

    def _promise_receipt(self, message: Message, behaviour: Behaviour) -> None:
        """Leave a receipt where those that came early wait for their time."""
        PendingReceipt.objects.create(
            account=self.account.name,
            channel=message.channel,
            event=behaviour.receipt,
            provider_message_id=f"simulated-{message.id}",
            code=behaviour.code,
            due_at=clock.now() + timedelta(seconds=behaviour.receipt_after),
        )


def _misbehave(behaviour: Behaviour) -> None:
    match behaviour.result:
        case "permanent":
            raise PermanentError("The simulator refuses.", code=behaviour.code or "550")
        case "invalid":
            raise InvalidRecipient(
                "The simulator does not know this recipient.", code=behaviour.code or "550"
            )
        case "unknown" | "hang":
            raise UnknownOutcome("The simulator did not answer.", code=behaviour.code)
        case "crash":
            os._exit(1)
        case _:
            raise TransientError(
                "The simulator is busy.",
                code=behaviour.code or "451",
                retry_after=behaviour.retry_after,
            )


@lru_cache(maxsize=10_000)
def behaviour_of(common: str, own: str) -> Behaviour:
    """Read a behaviour: what one recipient asks for, laid over what the account says."""
    # A recipient comes from whoever may send: it must not name files, nor end processes.
    asked = {k: v for k, v in parse_qsl(own) if k != "record" and (k, v) != ("result", "crash")}
    words: Mapping[str, str] = {**dict(parse_qsl(common)), **asked}
    return Behaviour(
        **{name: _READ.get(name, str)(value) for name, value in words.items() if name in _NAMES}
    )


def is_behaviour(text: str) -> bool:
    """Return whether a text names words of a behaviour, each with a value that it can have."""
    try:
        words = parse_qsl(text, strict_parsing=bool(text), keep_blank_values=True)
        behaviour_of(text, "")
    except ValueError:
        return False
    return {name for name, _ in words} <= _NAMES


def _pause(behaviour: Behaviour, timeout: float) -> None:
    seconds = timeout if behaviour.result == "hang" else behaviour.latency
    if seconds:
        time.sleep(min(seconds, timeout))


def _note(path: str, line: str) -> None:
    """Append one short line; the kernel keeps lines of several processes apart (O_APPEND)."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)
