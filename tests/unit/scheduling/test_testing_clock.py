"""The scheduler for tests: what falls due while a test moves its clock."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery

from scheduling import chosen_backend, jobs, testing

BERLIN_SPRING = "2026-03-29T00:00Z"


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_allowed", set())


@pytest.fixture
def app() -> Celery:
    return Celery("of a test", set_as_current=False)


@pytest.fixture
def runs() -> list[str]:
    return []


@pytest.fixture
def note(app: Celery, runs: list[str]) -> Any:
    def note(text: str = "") -> None:
        runs.append(text)

    return app.task(name="test.note")(note)


def test_each_due_time_that_passes_is_run(app: Celery, note: Any, runs: list[str]) -> None:
    with testing.clock(BERLIN_SPRING, app) as clock:
        jobs.register("import", note, "30 * * * *", timezone="Europe/Berlin", args=["a"])
        fires = clock.advance(hours=3)
    # 02:30 in Berlin is skipped that day: it is due right after the gap, at 03:00.
    times = [f"{fire.scheduled_for:%H:%M}" for fire in fires]
    assert times == ["00:30", "01:00", "01:30", "02:30"]
    assert [fire.status for fire in fires] == ["succeeded"] * 4
    assert runs == ["a"] * 4


def test_a_local_time_that_a_clock_change_skips_fires_once_after_the_gap(
    app: Celery, note: Any
) -> None:
    with testing.clock(BERLIN_SPRING, app) as clock:
        jobs.register("nightly", note, "30 2 * * *", timezone="Europe/Berlin")
        (fire,) = clock.advance(hours=12)
    assert fire.scheduled_for == datetime(2026, 3, 29, 1, tzinfo=UTC)


def test_a_run_that_fails_is_tried_again_when_its_wait_is_over(app: Celery) -> None:
    tries: list[datetime] = []

    def fail() -> None:
        tries.append(clock.now)
        raise ValueError("not now")

    with testing.clock("2026-01-01T00:00Z", app) as clock:
        task = app.task(name="test.fail")(fail)
        jobs.register("job", task, datetime(2026, 1, 1, 1, tzinfo=UTC), retries=2, retry_backoff=60)
        (fire,) = clock.advance(hours=2)
    assert (fire.status, fire.error) == ("failed", "ValueError: not now")
    assert [moment - tries[0] for moment in tries] == [
        timedelta(minutes=minutes) for minutes in (0, 1, 3)
    ]


def test_pause_and_run_now_are_as_in_production(app: Celery, note: Any) -> None:
    with testing.clock("2026-01-01T00:00Z", app) as clock:
        jobs.register("job", note, 3600)
        jobs.pause("job")
        assert clock.advance(days=1) == []
        key = jobs.run_now("job")
        (fire,) = clock.advance()
        assert (fire.id, fire.status) == (key, "succeeded")
        jobs.resume("job")
        assert len(clock.advance(hours=2)) == 2
        assert len(clock.fires("job")) == 3


def test_a_condition_and_a_task_that_is_not_there_are_said(app: Celery, note: Any) -> None:
    with testing.clock("2026-01-01T00:00Z", app) as clock:
        jobs.allow("test.gone")
        jobs.register("gone", "test.gone", 3600)
        (fire,) = clock.advance(hours=1)
    assert fire.status == "failed"
    assert "test.gone" in fire.error


def test_runs_can_be_left_out(app: Celery, note: Any, runs: list[str]) -> None:
    with testing.clock("2026-01-01T00:00Z", app, runs=False) as clock:
        jobs.register("job", note, 3600)
        (fire,) = clock.advance(hours=1)
    assert (fire.status, runs) == ("dispatched", [])


def test_a_clock_is_not_set_back_and_needs_an_offset() -> None:
    with pytest.raises(ValueError, match="offset"), testing.clock("2026-01-01T00:00"):
        pass
    with testing.clock("2026-01-01T00:00Z") as clock, pytest.raises(ValueError, match="set back"):
        clock.advance(hours=-1)


@pytest.mark.scheduling_clock("2030-01-01T00:00Z")
def test_the_plugin_has_a_clock(scheduling_clock: testing.Clock, app: Celery, note: Any) -> None:
    assert scheduling_clock.now == datetime(2030, 1, 1, tzinfo=UTC)
    assert chosen_backend.current() is scheduling_clock.backend
