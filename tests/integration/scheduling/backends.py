"""What the contract's tests do to a backend that no protocol has: time passes, at once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from celery import Celery

from scheduling import changes, claims, housekeeping, waits
from scheduling.backends.memory import MemoryBackend
from scheduling.backends.redis import RedisBackend
from scheduling.backends.rounds import Rounds
from scheduling.clock import database_now
from scheduling.kept.protocol import Backend
from scheduling.kept.store import Move
from scheduling.kept.ticks import Ticks
from scheduling.models import Fire as FireRow
from scheduling.models import Lease, Schedule

SECOND = timedelta(seconds=1)


class Stage:
    """A backend, and the hands that turn its hours."""

    def __init__(self, backend: Backend, again: Callable[[], Backend]) -> None:
        self.backend = backend
        self.another = again
        """Makes a second process' view of the same schedules."""

    def make_due(self, name: str, seconds_ago: float = 0.1) -> None:
        """Have an interval job be due since then."""
        due = self.backend.now() - seconds_ago * SECOND
        before = due - self.backend.job(name).definition["schedule"]["every"] * SECOND
        self._set(name, answered_until=before, next_fire_at=due)

    def _set(self, name: str, **state: Any) -> None:
        raise NotImplementedError

    def end_waits(self) -> None:
        """Have every unfinished fire be looked at now."""
        raise NotImplementedError

    def claim(self, now: datetime) -> None:
        """Claim what is due by a clock that shows ``now``."""
        raise NotImplementedError

    def keep_house(self) -> None:
        """Do what one of the schedulers does each minute."""
        raise NotImplementedError

    def be_started(self, app: Celery) -> None:
        """Do the first round of a scheduler that was just started, but for what is due."""
        raise NotImplementedError

    def be_silent(self) -> None:
        """Have no run be heard for so long that it is looked at."""
        raise NotImplementedError

    def end_leases(self) -> None:
        raise NotImplementedError


class KeptStage(Stage):
    """Over a backend that keeps documents."""

    @property
    def _store(self) -> Any:
        assert isinstance(self.backend, Ticks)
        return self.backend._store

    def _set(self, name: str, **state: Any) -> None:
        (done,) = self._store.commit([Move(job=replace(self.backend.job(name), **state))])
        assert done is not None

    def end_waits(self) -> None:
        now = self.backend.now()
        fires = [replace(fire, due_at=now) for fire in self._store.unfinished(1000)]
        assert None not in self._store.commit([Move(fires=[fire]) for fire in fires])

    def claim(self, now: datetime) -> None:
        assert isinstance(self.backend, Ticks)
        self.backend.claim_due(now)

    def keep_house(self) -> None:
        self.backend.clean(self.backend.now(), kept_days=30)

    def be_started(self, app: Celery) -> None:
        assert isinstance(self.backend, Ticks)
        rounds = Rounds(self.backend, app)
        rounds.tick()
        rounds.end()

    def be_silent(self) -> None:
        now = self.backend.now()
        runs = [
            replace(fire, heartbeat_at=now - waits.HEARTBEAT_LIMIT, due_at=now)
            for fire in self._store.unfinished(1000)
            if fire.heartbeat_at
        ]
        assert None not in self._store.commit([Move(fires=[fire]) for fire in runs])

    def end_leases(self) -> None:
        for lease, _ in list(self._store._leases.values()):
            self._store._leases[lease.name] = (lease, self.backend.now())


class DatabaseStage(Stage):
    """Over the database's rows."""

    def make_due(self, name: str, seconds_ago: float = 0.1) -> None:
        while changes.apply_changes(database_now()):
            pass
        super().make_due(name, seconds_ago)

    def _set(self, name: str, **state: Any) -> None:
        assert Schedule.objects.filter(periodic_task__name=name).update(**state)

    def end_waits(self) -> None:
        FireRow.objects.filter(due_at__isnull=False).update(due_at=database_now())

    def claim(self, now: datetime) -> None:
        claims.claim_due(now)

    def keep_house(self) -> None:
        housekeeping.clean(database_now())

    def be_started(self, app: Celery) -> None:
        Lease.objects.all().delete()
        housekeeping.Housekeeping().tick()

    def be_silent(self) -> None:
        now = database_now()
        runs = FireRow.objects.filter(heartbeat_at__isnull=False, finished_at=None)
        runs.update(heartbeat_at=now - waits.HEARTBEAT_LIMIT, due_at=now)

    def end_leases(self) -> None:
        Lease.objects.update(expires_at=database_now())


class RedisStage(KeptStage):
    """Over a Redis."""

    def end_leases(self) -> None:
        client = self._store._client
        client.delete(*client.keys("*lease*"))


def in_redis(url: str) -> Stage:
    return RedisStage(RedisBackend(url), lambda: RedisBackend(url))


def in_memory() -> Stage:
    backend = MemoryBackend()
    return KeptStage(backend, lambda: backend)
