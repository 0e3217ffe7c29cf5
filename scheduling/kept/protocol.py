"""What a scheduler, a worker and a project want of a backend: one protocol for all of them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from celery import Celery

from scheduling.kept.documents import Definition, Figures, Fire, Job, Lease


class Ledger(Protocol):
    """The life of a fire after it was published, as its worker tells it."""

    def begin(self, pk: UUID, worker: str, now: datetime | None = None) -> int | None:
        """Take a fire for a run; return the run's number, from 1, ``None`` if it must not run."""
        ...

    def withdraw(self, pk: UUID, worker: str, begun_at: datetime) -> None: ...

    def beat(self, runs: Iterable[tuple[UUID, int]]) -> None: ...

    def succeed(self, pk: UUID, attempt: int) -> None: ...

    def fail(self, pk: UUID, attempt: int, error: BaseException) -> None: ...

    def orphan(self, pk: UUID, attempt: int, error: BaseException) -> None: ...

    def leave(self, pk: UUID, attempt: int) -> None: ...

    def return_to_queue(self, pk: UUID, attempt: int, wait: timedelta = ...) -> None: ...

    def attempt_on(self, pk: UUID, worker: str) -> int | None: ...

    def interrupt(self, pk: UUID, worker: str) -> None: ...

    def cancel_run(self, pk: UUID, worker: str, error: str) -> None: ...

    def cancel(self, pk: UUID, error: str) -> None: ...

    def expire(self, pk: UUID) -> None: ...

    def give_back(self, pk: UUID) -> None: ...

    def not_known(self, pk: UUID, error: str) -> None: ...

    def refuse(self, pk: UUID, error: str) -> None: ...


class Leases(Protocol):
    """Who does for a while what one process shall do; see ``scheduling.leases``."""

    def acquire(self, name: str, owner: str, ttl: timedelta) -> Lease | None:
        """Take a free lease for ``ttl``; ``None`` while somebody holds it."""
        ...

    def renew(self, lease: Lease) -> bool:
        """Prolong a lease by its whole time; return whether it was still held."""
        ...

    def release(self, lease: Lease) -> None:
        """Release a lease; one that somebody else holds meanwhile is left alone."""
        ...


class Backend(Ledger, Leases, Protocol):
    """Where jobs and their fires are kept."""

    # Time: one clock for all schedulers and workers.
    def now(self) -> datetime: ...

    # Jobs. Each that names one raises ``UnknownJob``.
    def save(
        self,
        definition: Definition,
        *,
        previous: Definition | None = None,
        is_new: bool = False,
        origin: str = "",
    ) -> Job:
        """Create a job, or bring it in line with a definition that fits the schema.

        With ``previous`` only the keys that differ from it are written. Raises
        ``InvalidJob``, and ``JobExists`` if it shall be new.
        """
        ...

    def declare(self, definition: Definition) -> None:
        """Register what ``@jobs.job`` declares, leaving people's edits as they are."""
        ...

    def job(self, name: str) -> Job: ...

    def names(self) -> list[str]: ...

    def pause(self, name: str) -> None: ...

    def resume(self, name: str) -> None: ...

    def remove(self, name: str) -> None: ...

    def run_now(self, name: str) -> UUID: ...

    def backfill(
        self, name: str, since: datetime, until: datetime, *, pace: timedelta, dry_run: bool
    ) -> list[tuple[datetime, datetime]]:
        """Run a job for past due times without a fire; return each with when it is run."""
        ...

    def next_fires(self, name: str, count: int = 5) -> list[datetime]: ...

    # The ledger, as people read it.
    def fires(self, name: str, limit: int = 100) -> list[Fire]: ...

    def fire(self, key: UUID) -> Fire | None: ...

    def failed_runs(self, limit: int = 100) -> list[Fire]: ...

    def replay(self, key: UUID) -> UUID: ...

    def discard(self, key: UUID, *, why: str) -> None: ...

    def figures(self, window: timedelta) -> Figures: ...

    # A scheduler's work.
    def tick(self, app: Celery) -> float:
        """Do a round of what is due, publish it; return the seconds until something else is."""
        ...

    def clean(self, now: datetime, kept_days: float) -> int:
        """Delete a batch of old ended fires; return how many."""
        ...
