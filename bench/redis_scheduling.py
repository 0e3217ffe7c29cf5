"""The redis backend's work beside the database's: 20,000 jobs, and 500 of them due in one second.

The scheduler ticks in this process when it is told to, and publishes for real; nothing consumes.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from bench import scheduling
from bench.benchmark import Benchmark, Sample
from bench.stage import Stage

BATCH = 500
DAY = timedelta(days=1)


class Redis:
    """The redis backend with many jobs, all due tomorrow."""

    def __init__(self, url: str, count: int) -> None:
        from config.celery import app
        from scheduling.backends.redis import RedisBackend
        from scheduling.kept.documents import Job
        from scheduling.kept.store import Move

        self._app, self._backend = app, RedisBackend(url)
        self._store, self._move = self._backend.store, Move
        now = self._backend.now()
        definition = {"handler": "celery.backend_cleanup", "schedule": {"every": 86400}}
        jobs = [
            Job(
                name=f"bench {number}",
                definition={"name": f"bench {number}", **definition},
                created_at=now,
                answered_until=now,
                next_fire_at=now + DAY,
            )
            for number in range(count)
        ]
        for start in range(0, count, BATCH):
            self._store.commit([Move(job=job) for job in jobs[start : start + BATCH]])
        self._backend.tick(app)

    def idle_tick(self) -> float:
        """Return the microseconds of a tick that finds nothing to do."""
        return statistics.median(
            scheduling.milliseconds(lambda: self._backend.tick(self._app)) * 1000
            for _ in range(scheduling.IDLE_TICKS)
        )

    def fire(self, count: int) -> float:
        """Have ``count`` jobs fall due; return the seconds until all are published."""
        now = self._backend.now()
        due = self._store.jobs([f"bench {number}" for number in range(count)])
        moved = [replace(job, answered_until=now - DAY, next_fire_at=now) for job in due]
        self._store.commit([self._move(job=job) for job in moved])
        started = time.perf_counter()
        while not self._backend.tick(self._app):
            pass
        seconds = time.perf_counter() - started
        published = self._backend.figures(timedelta(minutes=1)).fires_by_status["dispatched"]
        self._backend.clean(now + 2 * DAY, kept_days=1)
        for fire in self._store.unfinished(count):
            self._backend.cancel(fire.id, "of a benchmark")
        self._backend.clean(now + 2 * DAY, kept_days=1)
        if published != count:
            raise RuntimeError(f"{published} of {count} fires were published")
        return seconds


def _beside_the_database(
    measure: Callable[[Redis | scheduling.Ours], float],
) -> Callable[[Stage], Callable[[], Sample]]:
    def prepare(stage: Stage) -> Callable[[], Sample]:
        scheduling.make_schedules(scheduling.SCHEDULES)
        database, redis = scheduling.Ours(), Redis(stage.redis.url, scheduling.SCHEDULES)
        return lambda: Sample(ours=measure(redis), floor=measure(database))

    return prepare


def _idle(scheduler: Redis | scheduling.Ours) -> float:
    if isinstance(scheduler, Redis):
        return scheduler.idle_tick()
    return scheduling.idle_tick(scheduler)


IDLE = Benchmark(
    title=f"redis backend: idle tick, {scheduling.SCHEDULES:,} jobs",
    floor_title="the database backend",
    unit=" µs",
    prepare=_beside_the_database(_idle),
    target="<= 500 µs",
)
BURST = Benchmark(
    title=f"redis backend: {scheduling.DUE} of {scheduling.SCHEDULES:,} due at once, published",
    floor_title="the database backend",
    unit=" ms",
    prepare=_beside_the_database(lambda scheduler: scheduler.fire(scheduling.DUE) * 1000),
    target="<= 500 ms",
)
