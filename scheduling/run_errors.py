"""The error of a run as a ledger keeps it: text, cause, and the history of attempts. Pure."""

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from scheduling import retries as strategies
from scheduling.messages import MalformedMessage
from scheduling.recurrence import ImpossibleSchedule

ERROR_LENGTH = 2000
HISTORY_LENGTH = 20
"""Attempts that a fire's history keeps, the newest ones."""
ATTEMPT_ERROR_LENGTH = 500
OWN_WORDS = (ImpossibleSchedule, MalformedMessage)
"""Errors of ours, whose text says all without their class."""


class NotOpen(Exception):
    """The fire did not fail, or was replayed or discarded before."""

    def __init__(self) -> None:
        super().__init__("It did not fail for good, or was replayed or discarded before.")


def text_of(error: BaseException) -> str:
    """Return an error's class and text, of a length and kind that a row can keep."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 -- an exception's own code may be at fault, too
        text = "(its text cannot be read)"
    text = f"{type(error).__name__}: {text}".removesuffix(": ")
    kept = text.encode(errors="replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return kept[:ERROR_LENGTH]


def reason_of(error: BaseException) -> str:
    """Say what is wrong, for the people who see the row: an error of ours without its class."""
    text = text_of(error)
    return text.removeprefix(f"{type(error).__name__}: ") if isinstance(error, OWN_WORDS) else text


def cause_of(error: str) -> str:
    """Name a cause: 32 hexadecimal digits, the same for errors that differ in ids and numbers."""
    gist = re.sub(r"(?<!\S)[^\s@\d]*[@\d]\S*", "#", error.lower())[:200]
    return hashlib.blake2b(gist.encode(), digest_size=16).hexdigest()


def history_with(fire: Any, error: str, now: datetime) -> list[dict[str, Any]]:
    """Return the history of a fire whose present attempt has just ended by ``error``.

    ``fire`` is a row or a value with ``attempt``, ``started_at``, ``worker`` and ``history``.
    """
    before: Sequence[dict[str, Any]] = fire.history or []
    attempt = {
        "attempt": fire.attempt,
        "started_at": fire.started_at.isoformat() if fire.started_at else None,
        "ended_at": now.isoformat(),
        "worker": fire.worker,
        "error": error[:ATTEMPT_ERROR_LENGTH],
    }
    return [*before, attempt][-HISTORY_LENGTH:]


def retry_wait(
    fire: Any,
    error: BaseException,
    *,
    retries: int,
    backoff: float,
    policy: Mapping[str, Any] | None,
    now: datetime,
) -> tuple[timedelta | None, str]:
    """Return the wait before a failed run is tried again, and the text that its error is kept as.

    ``None`` gives up. A strategy of a project's own that raises gives up, and the text says so.
    """
    elapsed = (now - fire.dispatched_at).total_seconds() if fire.dispatched_at else 0.0
    try:
        wait = strategies.wait_after(
            fire.attempt,
            error,
            retries=retries,
            backoff=backoff,
            policy=policy,
            elapsed=elapsed,
            share=random.random(),  # noqa: S311 -- two that failed at once shall not meet again
        )
    except Exception as fault:  # noqa: BLE001 -- a strategy is anybody's code
        return None, f"{text_of(error)} (not tried again: {text_of(fault)})"[:ERROR_LENGTH]
    return wait, text_of(error)
