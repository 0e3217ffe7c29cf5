"""Conditions: named predicates that are asked when a schedule fires.

A "no" is recorded as ``skipped_condition``; nothing is published.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

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

    Raises ``UnknownCondition``, and whatever the predicate raises.
    """
    if not name:
        return True
    if name not in _registered:
        raise UnknownCondition(name)
    return bool(_registered[name](task, scheduled_for))
