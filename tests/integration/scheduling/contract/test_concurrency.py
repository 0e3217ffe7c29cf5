"""How many runs there may be at once, and how many in a period."""

from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from scheduling import jobs
from tests.integration.scheduling.backends import Stage
from tests.integration.scheduling.contract.acts import (
    TASK,
    at_once,
    due,
    tick,
    tick_until,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_concurrency_bounds_the_runs_of_a_job(stage: Stage, app: Celery) -> None:
    backend = stage.backend
    jobs.register("job", TASK, 3600, overlap="queue", concurrency=2)
    keys = [jobs.run_now("job") for _ in range(4)]

    def statuses() -> list[str]:
        found = {fire.id: str(fire.status) for fire in jobs.fires("job")}
        return [found[key] for key in keys]

    tick(backend, app)
    assert statuses() == ["dispatched", "dispatched", "waiting", "skipped_overlap"]
    assert backend.begin(keys[1], "worker") == 1
    backend.succeed(keys[1], 1)
    tick(backend, app)
    assert statuses() == ["dispatched", "succeeded", "dispatched", "skipped_overlap"]


def test_jobs_with_one_concurrency_key_share_their_runs_at_once(stage: Stage, app: Celery) -> None:
    backend = stage.backend
    for name in "ab":
        jobs.register(name, TASK, 3600, overlap="queue", concurrency_key="shop")
    first, waiting, skipped = (jobs.run_now(name) for name in "abb")

    def statuses() -> list[str]:
        found = [backend.fire(key) for key in (first, waiting, skipped)]
        return [str(fire.status) for fire in found if fire is not None]

    tick(backend, app)
    assert statuses() == ["dispatched", "waiting", "skipped_overlap"]
    assert backend.begin(first, "worker") == 1
    backend.succeed(first, 1)
    tick(backend, app)
    assert statuses() == ["succeeded", "dispatched", "skipped_overlap"]


def test_no_more_runs_of_a_key_are_let_through_at_once(stage: Stage, app: Celery) -> None:
    shared: dict[str, Any] = {"overlap": "skip", "concurrency_key": "shop", "concurrency": 2}
    for number in range(4):
        jobs.register(f"job {number}", TASK, 3600, **shared)
    for number in range(4, 8):
        due(stage, f"job {number}", **shared)
    by_hand = iter([f"job {number}" for number in range(4)])

    def act() -> None:
        name = next(by_hand, None)
        if name is None:
            tick(stage.another(), app)
        else:
            jobs.run_now(name)

    at_once(act, count=6)

    def statuses() -> list[str]:
        return [str(fire.status) for number in range(8) for fire in jobs.fires(f"job {number}")]

    tick_until(stage.backend, app, lambda: statuses().count("dispatched") >= 2)
    found = statuses()
    assert (found.count("dispatched"), found.count("skipped_overlap")) == (2, 6)


def test_a_unique_key_has_one_run_in_its_period(stage: Stage, app: Celery) -> None:
    for name in "ab":
        due(stage, name, every=3600, unique_key="report", unique_seconds=60)
    due(stage, "other", unique_key="another", unique_seconds=60)
    tick(stage.backend, app)
    jobs.run_now("a")
    found = [fire for name in "ab" for fire in jobs.fires(name)]
    assert sorted(str(fire.status) for fire in found) == ["dispatched", *["skipped_unique"] * 2]
    assert {fire.note for fire in found if fire.status == "skipped_unique"} == {"key 'report'"}
    assert [fire.status for fire in jobs.fires("other")] == ["dispatched"]
    assert jobs.get("a").skipped_in_a_row == 0


def test_a_unique_key_is_free_when_its_period_is_over(stage: Stage, app: Celery) -> None:
    jobs.register("job", TASK, 3600, unique_key="report", unique_seconds=1)
    runs = at_once(lambda: jobs.run_now("job"))
    over = stage.backend.now() + timedelta(seconds=1)
    tick_until(stage.backend, app, lambda: stage.backend.now() > over)
    stage.keep_house()
    tick(stage.backend, app)
    runs.append(jobs.run_now("job"))
    found = [stage.backend.fire(key) for key in runs]
    statuses = [str(fire.status) for fire in found if fire is not None]
    assert sorted(statuses) == ["claimed", "dispatched", *["skipped_unique"] * 3]
    assert statuses[-1] == "claimed"
