"""Rows that this process passes over: not even their quarantine can be written.

A fault ends in an outcome or a quarantine of its row. Where that write raises, too, the row is
left out for a while, so that the others go on; then it is tried again.
"""

import time
from collections.abc import Hashable, Iterable
from typing import Any

CLAIM, RECOVERY, CHANGES = "claim", "recovery", "changes"
"""The scheduler's loops, by the stage that their faults name."""
PASSED_OVER = 60.0
"""Seconds until such a row is tried again."""

_until: dict[tuple[str, Any], float] = {}


def begin(loop: str, key: Hashable) -> None:
    """Pass over a row of a loop for a while."""
    _until[loop, key] = time.monotonic() + PASSED_OVER


def keys(loop: str) -> set[Any]:
    """Return the keys of the rows that a loop passes over at present."""
    now = time.monotonic()
    for name, end in list(_until.items()):
        if end <= now:
            _until.pop(name, None)
    return {key for name, key in list(_until) if name == loop}


def without(rows: Iterable[Any], loop: str) -> list[Any]:
    """Leave out those of these keys that a loop passes over at present."""
    passed_over = keys(loop)
    return [key for key in rows if key not in passed_over]


def forget() -> None:
    """Pass over nothing any more."""
    _until.clear()
