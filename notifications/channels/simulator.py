"""A provider that sends nothing: tests, benchmarks and a sandbox live on it.

How it behaves is written like a query string, in the setting ``SIMULATOR`` for all and behind
a ``?`` in the recipient for one: ``ada?result=transient&code=503&times=2`` refuses the first
two attempts. The words are the fields of ``Behaviour``.
"""

import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from urllib.parse import parse_qsl

from django.conf import settings

from notifications.channels.base import Message, Provider
from notifications.errors import PermanentError, TransientError, UnknownOutcome


@dataclass(frozen=True, slots=True)
class Behaviour:
    """``latency`` and ``retry_after`` are in seconds, ``error_rate`` is from 0 to 1.

    ``result`` is sent, transient, permanent, unknown, hang (answers never, so the timeout ends
    it) or crash (takes the whole process along). ``times`` limits a bad result to the first so
    many attempts. ``record`` names a file that gets a line per message: its id.
    """

    result: str = "sent"
    latency: float = 0.0
    error_rate: float = 0.0
    code: str = ""
    retry_after: float | None = None
    times: int = 1_000_000
    record: str = ""


_READ = {
    "latency": float,
    "error_rate": float,
    "retry_after": float,
    "times": int,
}
_NAMES = {field.name for field in fields(Behaviour)}


class SimulatorProvider(Provider):
    """Does what the recipient, or else the setting, tells it."""

    name = "simulator"

    def send(self, message: Message) -> str:
        behaviour = behaviour_of(settings.SIMULATOR, message.recipient.partition("?")[2])
        _pause(behaviour, message.timeout)
        misbehaves = message.attempt <= behaviour.times and (
            behaviour.result != "sent" or random.random() < behaviour.error_rate  # noqa: S311 -- a simulation
        )
        if misbehaves:
            self._misbehave(behaviour)
        if behaviour.record:
            _note(behaviour.record, str(message.id))
        return f"simulated-{message.id}"

    def _misbehave(self, behaviour: Behaviour) -> None:
        match behaviour.result:
            case "permanent":
                raise PermanentError("The simulator refuses.", code=behaviour.code or "550")
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
    """Read a behaviour: what one recipient asks for, laid over what the setting says."""
    words: Mapping[str, str] = {**dict(parse_qsl(common)), **dict(parse_qsl(own))}
    return Behaviour(
        **{name: _READ.get(name, str)(value) for name, value in words.items() if name in _NAMES}
    )


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
