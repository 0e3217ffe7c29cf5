"""A process' database session, where it has one: a Celery app without Django has none.

What knows Django is in ``sound_connection``, ``left_behind`` and ``watch``.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from scheduling import configuration

T = TypeVar("T")


def write(call: Callable[[], T]) -> T:
    """Do a write of the ledger on a session that a task's own code has not spoilt."""
    result: T = _of_django("sound_connection").write(call) if _uses_django() else call()
    return result


def clear() -> None:
    """Undo what a task's own code left behind in this process."""
    if _uses_django():
        _of_django("left_behind").clear()


def close() -> None:
    """Close this thread's sessions."""
    if _uses_django():
        import_module("django.db").connections.close_all()


def outage_rest(error: BaseException) -> float | None:
    """Return the seconds to wait if an error tells of an outage of the database, else ``None``."""
    if not _uses_django():
        return None
    backoff: float | None = _of_django("watch").database_outage(error)
    return backoff


def _uses_django() -> bool:
    return configuration.uses_django()


def _of_django(name: str) -> Any:
    return import_module(f"scheduling.{name}")
