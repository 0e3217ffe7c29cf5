"""Where no database keeps the schedules, too, a clock that was ahead delays nothing."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery

from scheduling import chosen_backend, jobs, waits
from scheduling.backends.memory import MemoryBackend
from scheduling.kept.documents import Fire
from scheduling.kept.store import Move
from scheduling.terms import FireStatus

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = timedelta(days=3)
SECOND = timedelta(seconds=1)


class Clock:
    """A clock that a test sets."""

    now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backend(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryBackend]:
    monkeypatch.setattr(jobs, "_allowed", {"jobs.note"})
    made = MemoryBackend(clock)
    with chosen_backend.using(made):
        yield made


@pytest.fixture
def app() -> Celery:
    app = Celery("clock", broker="memory://", set_as_current=False)

    @app.task(name="jobs.note", shared=False)  # type: ignore[untyped-decorator]  # celery is untyped
    def note() -> None:
        """Do nothing."""

    return app


def fires_at(clock: Clock, backend: MemoryBackend, app: Celery, moment: datetime) -> None:
    clock.now = moment
    while not backend.tick(app):
        pass


def test_each_due_time_of_the_true_clock_fires_once_in_its_phase(
    clock: Clock, backend: MemoryBackend, app: Celery
) -> None:
    jobs.register("job", "jobs.note", 10)
    jobs.register("daily", "jobs.note", "0 12 * * *")
    jobs.register("once", "jobs.note", START + DAYS * 2)
    for seconds in range(0, 25, 5):
        fires_at(clock, backend, app, START + seconds * SECOND)
    fires_at(clock, backend, app, clock.now + DAYS)
    for seconds in range(21, 60):
        fires_at(clock, backend, app, START + seconds * SECOND)
    due = sorted(fire.scheduled_for for fire in jobs.fires("job"))
    assert due[:-1] == [START + seconds * SECOND for seconds in (10, 20, 30, 40, 50)]
    assert due[-1] > START + DAYS - timedelta(minutes=1)
    assert jobs.next_fires("daily", 1) == [START + timedelta(hours=12)]
    assert jobs.next_fires("once", 1) == [START + DAYS * 2]


def test_a_job_that_expired_by_that_clock_goes_on(
    clock: Clock, backend: MemoryBackend, app: Celery
) -> None:
    jobs.register("job", "jobs.note", 10, expires=START + DAYS / 2)
    for moment in (START, START + 11 * SECOND, START + DAYS, START + 12 * SECOND):
        fires_at(clock, backend, app, moment)
    assert jobs.next_fires("job", 1) == [START + 20 * SECOND]


@pytest.mark.parametrize(
    ("status", "state", "wait"),
    [
        (FireStatus.RUNNING, {"attempt": 1, "heartbeat_at": START + DAYS}, waits.SECOND_LOOK),
        (FireStatus.WAITING, {}, timedelta(0)),
        (FireStatus.CLAIMED, {}, waits.LONGEST_UNKNOWN_BACKOFF),
        (FireStatus.DISPATCHED, {}, waits.UNSTARTED_WAIT),
        (FireStatus.CLAIMED, {"attempt": 1}, 10 * SECOND),
        (FireStatus.DISPATCHED, {"attempt": 1, "started_at": START}, None),
    ],
)
def test_an_unfinished_fire_of_that_future_is_looked_at_in_time(
    clock: Clock,
    backend: MemoryBackend,
    app: Celery,
    status: FireStatus,
    state: dict[str, Any],
    wait: timedelta | None,
) -> None:
    job = jobs.register("job", "jobs.note", 30 * 86400, retries=1)
    key = jobs.run_now("job")
    fire = backend.fire(key)
    assert isinstance(fire, Fire)
    ahead = replace(fire, status=status, due_at=START + DAYS, **state)
    clock.now = START + DAYS - SECOND
    assert None not in backend.store.commit([Move(fires=[ahead])])
    fires_at(clock, backend, app, START + DAYS - SECOND)
    fires_at(clock, backend, app, START)
    seen = backend.fire(key)
    assert seen is not None
    assert job.name == seen.job
    if status == FireStatus.WAITING:  # nothing runs before it: it is published in that tick
        assert seen.status == FireStatus.DISPATCHED
    else:
        assert seen.due_at == (START + DAYS if wait is None else START + wait)
