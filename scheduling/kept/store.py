"""What a backend without a database has to keep, and the one way in which it changes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from scheduling.kept.documents import Fire, Job, Lease


@dataclass(frozen=True)
class Key:
    """A key that jobs share: each decision by it makes a new version, so no two decide at once.

    ``taken_until`` is, of a unique key that has had its run of the period, the end of that period;
    of a concurrency key, until when its name is kept: a day after its last use.
    """

    name: str
    taken_until: datetime | None = None
    version: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Move:
    """A change that happens wholly, or not at all if what it was planned from has changed.

    Each document has the version that it was read with; 0 stands for a new one. A new fire whose
    job has one of that due time is left out, and the rest of the move happens.
    """

    job: Job | None = None
    fires: Sequence[Fire] = ()
    keys: Sequence[Key] = ()


@dataclass(frozen=True)
class Outlook:
    """The time by the clock that all schedulers share, and when something is due next."""

    now: datetime
    next_due_at: datetime | None

    @property
    def is_due(self) -> bool:
        """Whether something is due now."""
        return self.next_due_at is not None and self.next_due_at <= self.now


@dataclass(frozen=True)
class Process:
    """A scheduler as it announced itself."""

    name: str
    seen_at: datetime


class Store(Protocol):
    """Jobs and fires under compare-and-set. All orders are by time, or by name."""

    def now(self) -> datetime:
        """Return the time by the clock that all schedulers share."""
        ...

    def look(self) -> Outlook:
        """Return when something is due next; its cost does not grow with the jobs."""
        ...

    def job(self, name: str) -> Job | None:
        """Return a job; ``None`` if there is none of that name."""
        ...

    def jobs(self, names: Sequence[str]) -> list[Job]:
        """Return those of these jobs that are there."""
        ...

    def names(self) -> list[str]:
        """Return the names of all jobs, in order."""
        ...

    def due_jobs(self, now: datetime, limit: int) -> list[Job]:
        """Return up to ``limit`` jobs that are due at ``now``, the earliest first."""
        ...

    def fire(self, key: UUID) -> Fire | None:
        """Return a fire; ``None`` if it is not kept."""
        ...

    def due_fires(self, now: datetime, limit: int) -> list[Fire]:
        """Return up to ``limit`` unfinished fires to look at again, the earliest first."""
        ...

    def open_fires(self, job: str) -> list[Fire]:
        """Return a job's fires that have not ended."""
        ...

    def open_fires_of_key(self, key: str) -> list[Fire]:
        """Return the fires of a concurrency key that have not ended."""
        ...

    def key(self, name: str) -> Key:
        """Return a key; one that nobody has used is new."""
        ...

    def forget_keys(self, before: datetime) -> None:
        """Forget the keys that were taken until before then."""
        ...

    def fires_of(self, job: str, limit: int) -> list[Fire]:
        """Return a job's fires, the latest due time first."""
        ...

    def unfinished(self, limit: int) -> list[Fire]:
        """Return fires of any job that have not ended, in the order of their ``due_at``."""
        ...

    def failed(self, limit: int) -> list[Fire]:
        """Return the failed runs that nobody has seen to, newest first."""
        ...

    def recent(self, since: datetime, limit: int) -> list[Fire]:
        """Return the fires that were due since then, newest first."""
        ...

    def commit(self, moves: Sequence[Move]) -> list[Move | None]:
        """Do each move that still fits; return it as it is stored now, ``None`` for the others."""
        ...

    def remove(self, name: str) -> bool:
        """Delete a job and its fires; return whether it was there."""
        ...

    def drop_ended(self, before: datetime, limit: int) -> int:
        """Delete ended fires that were due before then; return how many."""
        ...

    def acquire(self, name: str, owner: str, ttl: timedelta) -> int | None:
        """Take a free lease; return its token, or ``None`` while somebody holds it."""
        ...

    def renew(self, lease: Lease) -> bool:
        """Prolong a lease by its whole time; return whether it was still held."""
        ...

    def release(self, lease: Lease) -> None:
        """Release a lease; one that is held by another meanwhile is left alone."""
        ...

    def announce(self, process: Process) -> None:
        """Write that a scheduler is alive."""
        ...

    def processes(self) -> list[Process]:
        """Return the schedulers that announced themselves."""
        ...

    def forget_processes(self, before: datetime) -> None:
        """Forget those that were last seen before then."""
        ...
