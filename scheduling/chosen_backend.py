"""Which backend keeps schedules and fires: a database, a Redis, or this process' memory.

``current()`` is the one that the setting ``SCHEDULING_BACKEND`` names. A fire tells by its id
whether a database keeps it, so that one worker follows the fires of both.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from typing import cast
from uuid import UUID

from scheduling import configuration
from scheduling.kept.documents import VENDOR_VERSION
from scheduling.kept.protocol import Backend, Ledger
from scheduling.kept.ticks import Ticks

KINDS = {
    "database": "scheduling.backends.database",
    "redis": "scheduling.backends.redis",
    "memory": "scheduling.backends.memory",
}
"""Name of a backend -> the module whose ``make()`` makes it."""

_current: Backend | None = None


def current() -> Backend:
    """Return this process's backend; it is made at the first call.

    Raises ``BadSetting`` for a name that is none, or an address that cannot be used.
    """
    global _current  # noqa: PLW0603 -- a process has one backend
    if _current is None:
        _current = make(name())
    return _current


def kept() -> Ticks:
    """Return this process's backend where it is not the database."""
    return cast("Ticks", current())


def name() -> str:
    """Return the name of the backend that is configured. Raises ``BadSetting``."""
    default = "database" if configuration.uses_django() else "redis"
    name = str(configuration.read("SCHEDULING_BACKEND", default))
    if name not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise configuration.BadSetting(
            f"SCHEDULING_BACKEND is {name!r}; it must be one of {known}."
        )
    return name


def make(kind: str) -> Backend:
    """Make a backend of this kind."""
    return cast("Backend", import_module(KINDS[kind]).make())


@contextmanager
def using(backend: Backend) -> Iterator[Backend]:
    """Have this process use a backend of one's own while the block runs."""
    global _current  # noqa: PLW0603 -- as above
    before, _current = _current, backend
    try:
        yield backend
    finally:
        _current = before


def now_of(fire: UUID) -> datetime:
    """Return the time by the clock of the ledger that keeps a fire."""
    if fire.version == VENDOR_VERSION or not configuration.uses_django():
        return current().now()
    return cast("datetime", import_module("scheduling.clock").database_now())


def ledger_of(fire: UUID) -> Ledger:
    """Return the ledger that keeps a fire."""
    if fire.version == VENDOR_VERSION or not configuration.uses_django():
        return current()
    return cast("Ledger", import_module("scheduling.ledger"))
