"""Schedules and fires in this process' memory: for tests, and where one process is all."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import TypeVar
from uuid import UUID

from scheduling.kept.documents import Fire, Job, Lease
from scheduling.kept.store import Key, Move, Outlook, Process
from scheduling.kept.ticks import Ticks

Document = TypeVar("Document", Job, Fire)


def wall_clock() -> datetime:
    """Return this machine's time."""
    return datetime.now(UTC)


class MemoryStore:
    """A ``Store`` under one lock."""

    def __init__(self, clock: Callable[[], datetime] = wall_clock) -> None:
        self._clock = clock
        self._lock = RLock()
        self._version = 0
        self._jobs: dict[str, Job] = {}
        self._fires: dict[UUID, Fire] = {}
        self._keys: dict[str, Key] = {}
        self._due_times: dict[tuple[str, datetime], UUID] = {}
        self._leases: dict[str, tuple[Lease, datetime]] = {}
        self._processes: dict[str, Process] = {}

    def now(self) -> datetime:
        return self._clock()

    def look(self) -> Outlook:
        with self._lock:
            moments = [job.next_fire_at for job in self._jobs.values() if job.next_fire_at]
            moments += [fire.due_at for fire in self._fires.values() if fire.due_at]
        return Outlook(self.now(), min(moments, default=None))

    def job(self, name: str) -> Job | None:
        return self._jobs.get(name)

    def jobs(self, names: Sequence[str]) -> list[Job]:
        with self._lock:
            return [self._jobs[name] for name in names if name in self._jobs]

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._jobs)

    def due_jobs(self, now: datetime, limit: int) -> list[Job]:
        with self._lock:
            due = [(job.next_fire_at, name) for name, job in self._jobs.items() if job.next_fire_at]
            return [self._jobs[name] for moment, name in sorted(due) if moment <= now][:limit]

    def fire(self, key: UUID) -> Fire | None:
        return self._fires.get(key)

    def due_fires(self, now: datetime, limit: int) -> list[Fire]:
        with self._lock:
            due = sorted((fire.due_at, key) for key, fire in self._fires.items() if fire.due_at)
            return [self._fires[key] for moment, key in due if moment <= now][:limit]

    def open_fires(self, job: str) -> list[Fire]:
        return [fire for fire in self.fires_of(job, len(self._fires)) if fire.is_open]

    def open_fires_of_key(self, key: str) -> list[Fire]:
        with self._lock:
            return [f for f in self._fires.values() if f.is_open and f.concurrency_key == key]

    def key(self, name: str) -> Key:
        return self._keys.get(name, Key(name))

    def forget_keys(self, before: datetime) -> None:
        with self._lock:
            known = self._keys.items()
            self._keys = {
                name: key
                for name, key in known
                if key.taken_until is None or key.taken_until > before
            }

    def fires_of(self, job: str, limit: int) -> list[Fire]:
        with self._lock:
            fires = [fire for fire in self._fires.values() if fire.job == job]
        return sorted(fires, key=lambda fire: fire.scheduled_for, reverse=True)[:limit]

    def unfinished(self, limit: int) -> list[Fire]:
        return self.due_fires(datetime.max.replace(tzinfo=UTC), limit)

    def failed(self, limit: int) -> list[Fire]:
        with self._lock:
            failures = [(f.finished_at, k) for k, f in self._fires.items() if f.has_failed]
            newest = sorted(((m, k) for m, k in failures if m is not None), reverse=True)
            return [self._fires[key] for _, key in newest[:limit]]

    def recent(self, since: datetime, limit: int) -> list[Fire]:
        with self._lock:
            fires = [fire for fire in self._fires.values() if fire.scheduled_for >= since]
        return sorted(fires, key=lambda fire: fire.scheduled_for, reverse=True)[:limit]

    def commit(self, moves: Sequence[Move]) -> list[Move | None]:
        with self._lock:
            return [self._commit(move) for move in moves]

    def _commit(self, move: Move) -> Move | None:
        job, fires = move.job, move.fires
        if job is not None and _version(self._jobs.get(job.name)) != job.version:
            return None
        if any(_version(self._fires.get(fire.id)) != fire.version for fire in fires):
            return None
        if any(self.key(key.name).version != key.version for key in move.keys):
            return None
        for key in move.keys:
            self._version += 1
            self._keys[key.name] = replace(key, version=self._version)
        if job is not None:
            job = self._jobs[job.name] = self._versioned(job)
        kept = []
        for fire in fires:
            due_time = (fire.job, fire.scheduled_for)
            if self._due_times.setdefault(due_time, fire.id) != fire.id:
                continue
            self._fires[fire.id] = self._versioned(fire)
            kept.append(self._fires[fire.id])
        return Move(job=job, fires=kept)

    def _versioned(self, document: Document) -> Document:
        self._version += 1
        return replace(document, version=self._version)

    def remove(self, name: str) -> bool:
        with self._lock:
            for fire in self.fires_of(name, len(self._fires)):
                self._forget(fire)
            return self._jobs.pop(name, None) is not None

    def drop_ended(self, before: datetime, limit: int) -> int:
        with self._lock:
            old = [f for f in self._fires.values() if not f.is_open and f.scheduled_for < before]
            for fire in old[:limit]:
                self._forget(fire)
        return len(old[:limit])

    def _forget(self, fire: Fire) -> None:
        del self._fires[fire.id]
        del self._due_times[fire.job, fire.scheduled_for]

    def acquire(self, name: str, owner: str, ttl: timedelta) -> int | None:
        with self._lock:
            now = self.now()
            held = self._leases.get(name)
            if held is not None and held[1] > now:
                return None
            self._version += 1
            lease = Lease(name, owner, self._version, ttl)
            self._leases[name] = (lease, now + ttl)
            return lease.token

    def renew(self, lease: Lease) -> bool:
        with self._lock:
            now = self.now()
            held = self._leases.get(lease.name)
            if held is None or held[0].token != lease.token or held[1] <= now:
                return False
            self._leases[lease.name] = (lease, now + lease.ttl)
            return True

    def release(self, lease: Lease) -> None:
        with self._lock:
            held = self._leases.get(lease.name)
            if held is not None and held[0].token == lease.token:
                del self._leases[lease.name]

    @property
    def version(self) -> int:
        """The version of the latest change."""
        return self._version

    def changed_since(self, version: int) -> list[Fire]:
        """Return the fires that changed after a version, in the order of their due times."""
        with self._lock:
            fires = [fire for fire in self._fires.values() if fire.version > version]
        return sorted(fires, key=lambda fire: (fire.scheduled_for, fire.id))

    def announce(self, process: Process) -> None:
        with self._lock:
            self._processes[process.name] = process

    def forget_processes(self, before: datetime) -> None:
        with self._lock:
            seen = self._processes.items()
            self._processes = {name: p for name, p in seen if p.seen_at >= before}

    def processes(self) -> list[Process]:
        with self._lock:
            return list(self._processes.values())


def _version(document: Job | Fire | None) -> int:
    return 0 if document is None else document.version


class MemoryBackend(Ticks):
    """The scheduler in one process. ``clock`` gives its time."""

    def __init__(self, clock: Callable[[], datetime] = wall_clock) -> None:
        self.store = MemoryStore(clock)
        super().__init__(self.store)


def make() -> MemoryBackend:
    """Make the backend that ``SCHEDULING_BACKEND=memory`` names."""
    return MemoryBackend()
