"""What a scheduler, a worker and a project want of a backend: one protocol for all of them."""

from collections.abc import Collection, Iterable
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

    def withdraw(self, pk: UUID, worker: str, begun_at: datetime) -> None:
        """Undo a ``begin`` whose answer was lost: nothing has run."""
        ...

    def beat(self, runs: Iterable[tuple[UUID, int]]) -> None:
        """Record that these runs, each a fire's id and the run's number, are alive."""
        ...

    def succeed(self, pk: UUID, attempt: int) -> None:
        """Record a run that ended well."""
        ...

    def fail(self, pk: UUID, attempt: int, error: BaseException) -> None:
        """Record a run that failed: another attempt after its backoff, or the end."""
        ...

    def orphan(self, pk: UUID, attempt: int, error: BaseException) -> None:
        """Record a run whose process died: run again at once, or the end, by its guarantee."""
        ...

    def leave(self, pk: UUID, attempt: int) -> None:
        """Record a run that ended by ``Ignore``, or was replaced by other tasks."""
        ...

    def return_to_queue(self, pk: UUID, attempt: int, wait: timedelta = ...) -> None:
        """Record that the task asked to run again: its message comes after ``wait``."""
        ...

    def attempt_on(self, pk: UUID, worker: str) -> int | None:
        """Return the number of the fire's run that is on ``worker``; ``None`` for no run."""
        ...

    def interrupt(self, pk: UUID, worker: str) -> None:
        """Record a run that the shutdown of ``worker`` ended: due at once, or lost."""
        ...

    def cancel_run(self, pk: UUID, worker: str, error: str) -> None:
        """End a fire whose run on ``worker`` was told to stop, with the reason."""
        ...

    def cancel(self, pk: UUID, error: str) -> None:
        """End a fire that no worker has begun and that shall not run, with the reason."""
        ...

    def expire(self, pk: UUID) -> None:
        """End a fire whose message no worker took before it expired."""
        ...

    def give_back(self, pk: UUID) -> None:
        """Record that a worker took a fire's message and could not begin the run."""
        ...

    def not_known(self, pk: UUID, error: str) -> None:
        """Record that a worker does not know the task: published again, at last failed."""
        ...

    def refuse(self, pk: UUID, error: str) -> None:
        """End a fire that can be neither read nor published, with the reason."""
        ...


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
    def now(self) -> datetime:
        """Return the time by the clock that all schedulers and workers share."""
        ...

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

    def job(self, name: str) -> Job:
        """Return a job."""
        ...

    def names(self) -> list[str]:
        """Return the names of all jobs, in order."""
        ...

    def pause(self, name: str) -> None:
        """Pause a job until ``resume``."""
        ...

    def resume(self, name: str) -> None:
        """Resume a job; its policy decides what happens to the due times of the pause."""
        ...

    def remove(self, name: str) -> None:
        """Delete a job and its fires."""
        ...

    def run_now(self, name: str) -> UUID:
        """Fire a job once, now, paused or not; return the fire's id."""
        ...

    def backfill(
        self, name: str, since: datetime, until: datetime, *, pace: timedelta, dry_run: bool
    ) -> list[tuple[datetime, datetime]]:
        """Run a job for past due times without a fire; return each with when it is run."""
        ...

    def next_fires(self, name: str, count: int = 5) -> list[datetime]:
        """Return the next moments at which a job fires; none while it is paused."""
        ...

    # The ledger, as people read it.
    def fires(self, name: str, limit: int = 100) -> list[Fire]:
        """Return a job's fires, the latest due time first."""
        ...

    def fire(self, key: UUID) -> Fire | None:
        """Return a fire; ``None`` if it is not kept."""
        ...

    def failed_runs(self, limit: int = 100) -> list[Fire]:
        """Return the failed and lost runs that nobody has replayed or discarded."""
        ...

    def replay(self, key: UUID) -> UUID:
        """Run a failed fire's job again; return the new fire's id. Raises ``NotOpen``."""
        ...

    def discard(self, key: UUID, *, why: str) -> None:
        """Close a failed run without a replay, with the reason. Raises ``NotOpen``."""
        ...

    def figures(self, window: timedelta) -> Figures:
        """Return the counts and latencies of the last ``window``."""
        ...

    # A scheduler's work.
    def tick(self, app: Celery) -> float:
        """Do a round of what is due, publish it; return the seconds until something else is."""
        ...

    def replan(self, calendars: Collection[str]) -> None:
        """Plan the jobs that go by one of these calendars anew: their files have changed."""
        ...

    def clean(self, now: datetime, kept_days: float) -> int:
        """Delete a batch of old ended fires; return how many."""
        ...
