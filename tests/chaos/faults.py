"""A Celery process that kills itself at the boundaries of a delivery, and whose messages raise.

``python -m tests.chaos.faults CHANCE celery arguments…``: at each boundary the process gets
SIGKILL with that chance, as if the machine had been switched off just there, and CHAOS_LOG tells
the boundary with the ids that the process had in hand. The share
CHAOS_RAISE of all messages raises, each at a stage of its own, in its first attempt.
"""

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

_in_hand: set[UUID] = set()  # claimed by this process, and not recorded yet


def deadly(chance: float, boundary: str, function: Callable[..., Any], *, after: bool) -> Any:
    """Wrap a function so that its caller may die right before or after it."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not after:
            _perhaps_die(chance, boundary)
        result = function(*args, **kwargs)
        if boundary == "after claim":
            _in_hand.update(claim.id for claim in result)
        if after:
            _perhaps_die(chance, boundary)
        if boundary == "after the record":
            _in_hand.difference_update(report.claim.id for report in args[0])
        return result

    return wrapped


def _perhaps_die(chance: float, boundary: str) -> None:
    if random.random() < chance:
        with Path(os.environ["CHAOS_LOG"]).open("a") as log:
            log.write("\t".join([boundary, *map(str, _in_hand.copy())]) + "\n")
        os.kill(os.getpid(), signal.SIGKILL)


def plant(chance: float) -> None:
    """Put a trap at each boundary."""
    from notifications.channels import base
    from notifications.delivery import claims, outcomes
    from notifications.queueing import publisher
    from notifications.submission import insert

    plan: list[tuple[Any, str, str, bool]] = [
        (insert, "insert", "after commit", True),
        (publisher, "publish_one", "after publish", True),
        (claims, "_claim_rows", "after claim", True),
        (base.Provider, "outcome_of", "after the provider's answer", True),
        (outcomes, "record", "before the record", False),
        (outcomes, "record", "after the record", True),
    ]
    for owner, name, boundary, after in plan:
        setattr(owner, name, deadly(chance, boundary, getattr(owner, name), after=after))


def raise_for(share: float) -> None:
    """Have this share of all messages raise; which ones, and where, their ids decide."""
    from notifications.channels import base
    from notifications.core.attempt import Result
    from notifications.delivery import account_sending, outcomes, pipeline, sending

    def was_sent(report: Any, *_: Any) -> bool:
        # One that was not sent would end there, said aloud but not delivered.
        return bool(report.outcome.result is Result.SENT)

    plan: list[tuple[Any, str, str, Callable[..., bool]]] = [
        (pipeline, "_expire", "expire", _always),
        (pipeline, "_ready", "render", _always),
        (sending, "assign", "choose", _always),
        (account_sending, "_message", "prepare", _always),
        (base.Provider, "outcome_of", "send", _always),
        (account_sending, "_log_call", "after the answer", _always),
        (outcomes, "_decide", "record", was_sent),
    ]
    for number, (owner, name, stage, applies) in enumerate(plan):

        def is_chosen(id_: UUID, attempt: int, number: int = number) -> bool:
            draw = id_.int % 1_000_000
            return attempt == 1 and draw < share * 1_000_000 and draw % len(plan) == number

        setattr(owner, name, _raising(getattr(owner, name), stage, is_chosen, applies))


def _always(*_: Any) -> bool:
    return True


def _raising(
    function: Callable[..., Any],
    stage: str,
    is_chosen: Callable[[UUID, int], bool],
    applies: Callable[..., bool],
) -> Callable[..., Any]:
    """Wrap a function so that it raises where a chosen message is among its arguments."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if applies(*args) and any(is_chosen(*message) for message in _messages_in(args)):
            with Path(os.environ["CHAOS_RAISED"]).open("a") as log:
                log.write(f"{stage}\n")
            raise RuntimeError
        return function(*args, **kwargs)

    return wrapped


def _messages_in(value: Any) -> Iterator[tuple[UUID, int]]:
    """Find the ids and attempts of claims and messages."""
    if hasattr(value, "attempt") and hasattr(value, "id"):
        yield value.id, value.attempt
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _messages_in(item)


def main() -> None:
    from celery.bin.celery import main as celery

    from config import celery_app

    chance, *arguments = sys.argv[1:]
    random.seed()
    celery_app.loader.import_default_modules()
    celery_app.finalize()
    plant(float(chance))
    raise_for(float(os.environ.get("CHAOS_RAISE", "0")))
    sys.argv = ["celery", "-A", "config", *arguments]
    celery()


if __name__ == "__main__":
    main()
