"""Conditions: named predicates that are asked when a schedule fires.

A "no" is recorded as ``skipped_condition``; nothing is published.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from scheduling import alarm, isolation

LONGEST = 5.0
"""Seconds that a condition may take: all that is due in its scheduler waits for it meanwhile."""
HANGS = 3
"""How often in a row one may take longer until its schedule is quarantined."""

Condition = Callable[[Any, datetime], bool]
"""Given the ``PeriodicTask`` or ``Job`` of the schedule, and its due time."""

_registered: dict[str, Condition] = {}


class UnknownCondition(LookupError):
    """A schedule names a condition that no code has registered."""

    def __init__(self, name: str) -> None:
        known = ", ".join(sorted(_registered)) or "none"
        super().__init__(f"No condition {name!r} is registered; known: {known}.")


def register(name: str) -> Callable[[Condition], Condition]:
    """Register a predicate ``(task, scheduled_for) -> bool`` under a name; a decorator."""

    def keep(condition: Condition) -> Condition:
        _registered[name] = condition
        return condition

    return keep


def names() -> list[str]:
    """Return the names of all registered conditions."""
    return sorted(_registered)


def holds(name: str, task: Any, scheduled_for: datetime) -> bool:
    """Ask a condition; an empty name always holds.

    Raises ``UnknownCondition``, ``TookTooLong``, and whatever the predicate raises.
    """
    if not name:
        return True
    if name not in _registered:
        raise UnknownCondition(name)
    with isolation.contained(), alarm.within(LONGEST, f"The condition {name!r}"):
        return bool(_registered[name](task, scheduled_for))


def hangs(error: BaseException, failed_in_a_row: int) -> bool:
    """Return whether a condition took too long, and its schedule has failed before so often."""
    return isinstance(error, alarm.TookTooLong) and failed_in_a_row + 1 >= HANGS
