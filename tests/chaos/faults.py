"""A Celery process that kills itself at the boundaries of a delivery.

``python -m tests.chaos.faults CHANCE celery arguments…``: at each boundary the process gets
SIGKILL with that chance, as if the machine had been switched off just there.
"""

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def deadly(chance: float, boundary: str, function: Callable[..., Any], *, after: bool) -> Any:
    """Wrap a function so that its caller may die right before or after it."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not after:
            _perhaps_die(chance, boundary)
        result = function(*args, **kwargs)
        if after:
            _perhaps_die(chance, boundary)
        return result

    return wrapped


def _perhaps_die(chance: float, boundary: str) -> None:
    if random.random() < chance:
        with Path(os.environ["CHAOS_LOG"]).open("a") as log:
            log.write(f"{boundary}\n")
        os.kill(os.getpid(), signal.SIGKILL)


def plant(chance: float) -> None:
    """Put a trap at each boundary."""
    from notifications import claims, doorbell, outcomes, rows
    from notifications.channels import base

    plan: list[tuple[Any, str, str, bool]] = [
        (rows, "insert", "after commit", True),
        (doorbell, "ring", "after publish", True),
        (claims, "_take", "after claim", True),
        (base.Provider, "outcome_of", "after the provider's answer", True),
        (outcomes, "record", "before the record", False),
        (outcomes, "record", "after the record", True),
    ]
    for owner, name, boundary, after in plan:
        setattr(owner, name, deadly(chance, boundary, getattr(owner, name), after=after))


def main() -> None:
    from celery.bin.celery import main as celery

    from config import celery_app

    chance, *arguments = sys.argv[1:]
    random.seed()
    celery_app.loader.import_default_modules()
    celery_app.finalize()
    plant(float(chance))
    sys.argv = ["celery", "-A", "config", *arguments]
    celery()


if __name__ == "__main__":
    main()
