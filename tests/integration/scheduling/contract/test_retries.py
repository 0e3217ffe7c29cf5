"""A run that fails: when it is tried again, when it is given up, what a streak comes to."""

import time
from datetime import timedelta

import pytest
from celery import Celery

from scheduling import conditions, jobs, retries
from scheduling.run_errors import NotOpen
from tests.integration.scheduling.backends import Stage
from tests.integration.scheduling.contract.acts import (
    TASK,
    due,
    fired,
    tick,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_retry_n_times_with_exponential_backoff_then_dead_letter(stage: Stage, app: Celery) -> None:
    backend = stage.backend
    fire = fired(stage, app, retries=2, retry_backoff=100)
    for attempt, wait in ((1, 100), (2, 200)):
        assert backend.begin(fire.id, "worker") == attempt
        failed_at = backend.now()
        backend.fail(fire.id, attempt, ValueError("no 17"))
        (found,) = jobs.fires("job")
        assert found.status == "claimed"
        assert found.due_at is not None
        late = found.due_at - failed_at
        assert timedelta(seconds=wait) <= late < timedelta(seconds=wait + 5)
        stage.end_waits()
        tick(backend, app)
    assert backend.begin(fire.id, "worker") == 3
    backend.fail(fire.id, 3, ValueError("no 18"))
    (dead,) = backend.failed_runs()
    assert (dead.id, dead.status, dead.error) == (fire.id, "failed", "ValueError: no 18")
    assert [attempt["error"] for attempt in dead.history] == [
        *["ValueError: no 17"] * 2,
        "ValueError: no 18",
    ]
    assert jobs.get("job").failed_in_a_row == 1


def test_custom_retry_strategies_also_by_the_errors_class(stage: Stage, app: Celery) -> None:
    backend = stage.backend
    retry = {
        "strategy": "waits",
        "waits": [7, 70],
        "errors": {"KeyError": {"strategy": "never"}},
    }
    fire = fired(stage, app, retries=5, retry=retry)
    assert jobs.get("job").definition["retry"] == retry
    for attempt, wait in ((1, 7), (2, 70)):
        assert backend.begin(fire.id, "worker") == attempt
        failed_at = backend.now()
        backend.fail(fire.id, attempt, ValueError("no"))
        (found,) = jobs.fires("job")
        assert found.due_at is not None
        late = (found.due_at - failed_at).total_seconds()
        assert wait <= late < wait + 5
        stage.end_waits()
        tick(backend, app)
    assert backend.begin(fire.id, "worker") == 3
    backend.fail(fire.id, 3, KeyError("gone"))
    assert [fire.status for fire in backend.failed_runs()] == ["failed"]


def test_a_strategy_that_raises_gives_up_and_says_so(
    stage: Stage, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "_own", {"broken": lambda *_: 1 / 0})
    fire = fired(stage, app, retries=5, retry={"strategy": "broken"})
    stage.backend.begin(fire.id, "worker")
    stage.backend.fail(fire.id, 1, ValueError("no"))
    (dead,) = stage.backend.failed_runs()
    assert dead.error == "ValueError: no (not tried again: ZeroDivisionError: division by zero)"


def test_a_dead_letter_is_replayed_once_or_discarded(stage: Stage, app: Celery) -> None:
    backend = stage.backend
    fire = fired(stage, app)
    backend.begin(fire.id, "worker")
    backend.fail(fire.id, 1, ValueError("no"))
    again = backend.replay(fire.id)
    with pytest.raises(NotOpen):
        backend.replay(fire.id)
    assert backend.failed_runs() == []
    tick(backend, app)
    assert backend.begin(again, "worker") == 1
    backend.fail(again, 1, ValueError("no"))
    backend.discard(again, why="known")
    with pytest.raises(NotOpen):
        backend.discard(again, why="known")
    assert backend.failed_runs() == []


def test_a_run_that_ends_well_ends_the_streak_of_failures(stage: Stage, app: Celery) -> None:
    backend = stage.backend
    fire = fired(stage, app)
    backend.begin(fire.id, "worker")
    backend.fail(fire.id, 1, ValueError("no"))
    again = jobs.run_now("job")
    backend.begin(again, "worker")
    backend.succeed(again, 1)
    assert jobs.get("job").failed_in_a_row == 0


def test_a_job_is_paused_after_so_many_failures_in_a_row(stage: Stage, app: Celery) -> None:
    due(stage, pause_after=2)
    for number in (1, 2, 3, 4):
        stage.make_due("job")
        tick(stage.backend, app)
        fire = jobs.fires("job")[0]
        attempt = stage.backend.begin(fire.id, "w1")
        assert attempt
        stage.backend.fail(fire.id, attempt, ValueError("no"))
        tick(stage.backend, app)  # which the database's change of the row waits for
        assert jobs.get("job").enabled == (number % 2 == 1)
        if number == 2:
            assert jobs.next_fires("job") == []
            jobs.resume("job")
            tick(stage.backend, app)


def hang(*_: object) -> bool:
    time.sleep(600)
    return True


def test_a_condition_that_hangs_is_broken_off_and_its_job_quarantined_at_the_third_time(
    stage: Stage, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions, "LONGEST", 0.05)
    conditions.register("test.hangs")(hang)
    due(stage, "hangs", condition="test.hangs")
    due(stage, "good")
    for number in (1, 2, 3):
        stage.make_due("hangs")
        tick(stage.backend, app)
        assert jobs.get("hangs").failed_in_a_row == number
        assert bool(jobs.get("hangs").quarantined_at) == (number == 3)
    assert {fire.status for fire in jobs.fires("hangs")} == {"failed"}
    assert "'test.hangs' took longer than 0.05 s" in jobs.fires("hangs")[0].error
    assert "'test.hangs' took longer" in jobs.get("hangs").quarantine_reason
    assert [fire.status for fire in jobs.fires("good")] == ["dispatched"]


def test_a_job_with_a_fault_is_quarantined_and_the_others_go_on(stage: Stage, app: Celery) -> None:
    due(stage, "bad", queue="nowhere")
    due(stage, "good")
    tick(stage.backend, app)
    assert [fire.status for fire in jobs.fires("bad")] == ["failed"]
    assert "nowhere" in jobs.get("bad").quarantine_reason
    assert jobs.next_fires("bad") == []
    assert [fire.status for fire in jobs.fires("good")] == ["dispatched"]
    jobs.register("bad", TASK, 60)
    assert len(jobs.next_fires("bad")) == 5
