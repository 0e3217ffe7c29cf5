"""Failed runs: listed with history and cause, replayed or discarded; streaks of them."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
from celery import Celery
from django.conf import settings

from scheduling import failures, ledger, run_errors, streaks, waits
from scheduling.clock import database_now
from scheduling.models import Fire, FireStatus, Schedule
from tests.integration.scheduling.conftest import make_due, tick

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def failed(due: Callable[..., Schedule], app: Celery) -> Callable[..., Fire]:
    """Let a fire of a schedule run and fail, as often as it is tried."""

    def fail(
        name: str = "job", error: str = "no such order", *, policy: dict[str, Any] | None = None
    ) -> Fire:
        schedule = Schedule.objects.filter(periodic_task__name=name).first()
        if schedule is None:
            schedule = due(name, policy=policy)
        else:
            make_due(schedule.periodic_task, 0.1)
        (fire,) = [fire for fire in tick(app) if fire.schedule_id == schedule.pk]
        return run_and_fail(fire, error)

    return fail


def run_and_fail(fire: Fire, error: str) -> Fire:
    attempt = ledger.begin(fire.pk, "worker@host")
    assert attempt is not None
    ledger.fail(fire.pk, attempt, ValueError(error))
    fire.refresh_from_db()
    return fire


def end_well(fire: Fire) -> None:
    attempt = ledger.begin(fire.pk, "worker@host")
    assert attempt is not None
    ledger.succeed(fire.pk, attempt)


def test_a_failed_run_keeps_the_history_of_its_attempts(
    failed: Callable[..., Fire], app: Celery
) -> None:
    fire = failed(error="first", policy={"max_retries": 1, "retry_backoff_seconds": 0})
    assert not failures.open_ones().exists()
    Fire.objects.update(due_at=database_now())
    tick(app)
    fire = run_and_fail(fire, "second")
    assert fire.status == FireStatus.FAILED
    assert failures.open_ones().get() == fire
    assert fire.history is not None
    assert [attempt["error"] for attempt in fire.history] == [
        "ValueError: first",
        "ValueError: second",
    ]
    assert [attempt["attempt"] for attempt in fire.history] == [1, 2]
    assert {attempt["worker"] for attempt in fire.history} == {"worker@host"}


def test_a_run_that_is_lost_is_a_failed_run_too(due: Callable[..., Schedule], app: Celery) -> None:
    due(policy={"guarantee": "at_most_once"})
    (fire,) = tick(app)
    ledger.begin(fire.pk, "worker@host")
    Fire.objects.update(due_at=database_now())  # its heartbeat has not come for too long
    tick(app)
    lost = failures.open_ones().get()
    assert lost.status == FireStatus.LOST
    assert lost.history is not None
    assert "stopped answering" in lost.history[0]["error"]
    assert Schedule.objects.get().failed_in_a_row == 1


def test_causes_group_what_differs_only_in_ids_and_numbers(failed: Callable[..., Fire]) -> None:
    failed("a", "no order 17")
    failed("b", "no order 18")
    failed("c", "the disk is full")
    assert [(cause.count, cause.schedules) for cause in failures.causes()] == [(2, 2), (1, 1)]
    assert failures.causes()[0].example.schedule.periodic_task.name == "b"


def test_a_replay_runs_the_job_once_more_by_the_scheduler(
    failed: Callable[..., Fire], app: Celery
) -> None:
    fire = failed()
    replayed = failures.replay(fire.pk)
    assert [published.pk for published in tick(app)] == [replayed.pk]
    fire.refresh_from_db()
    assert (fire.replayed_as, fire.resolution) == (replayed.pk, "replayed")
    assert not failures.open_ones().exists()
    with pytest.raises(run_errors.NotOpen):
        failures.replay(fire.pk)


@pytest.mark.parametrize(("misfire", "runs"), [("latest", 1), ("skip", 1), ("all", 2)])
def test_the_misfire_policy_says_how_many_runs_stand_for_those_that_failed(
    failed: Callable[..., Fire], app: Celery, misfire: str, runs: int
) -> None:
    fires = [failed(policy={"misfire": misfire, "misfire_cap": 2}) for _ in range(3)]
    other = failed("other", "another cause")
    made = failures.replay_cause(fires[0].cause)
    assert len(made) == runs
    assert {fire.pk for fire in tick(app)} == {fire.pk for fire in made}
    assert failures.open_ones().get() == other
    replayed = Fire.objects.filter(replayed_as__in=[fire.pk for fire in made])
    assert replayed.count() == 3


def test_a_discarded_run_is_not_replayed(failed: Callable[..., Fire]) -> None:
    fire = failed()
    everything = Fire.objects.all()
    assert failures.discard(everything, why="obsolete") == 1
    assert failures.discard(everything, why="again") == 0
    assert failures.replay_cause(fire.cause) == []


def test_failures_in_a_row_count_until_a_run_ends_well(
    failed: Callable[..., Fire], app: Celery
) -> None:
    for _ in range(3):
        failed()
    failed("other")
    assert streaks.failing(3).get().periodic_task.name == "job"
    schedule = Schedule.objects.get(periodic_task__name="job")
    make_due(schedule.periodic_task)
    (fire,) = tick(app)
    end_well(fire)
    assert not streaks.failing(3).exists()
    assert streaks.failing(1).count() == 1


def test_due_times_skipped_in_a_row_count_until_a_run_ends_well(
    due: Callable[..., Schedule], app: Celery
) -> None:
    schedule = due(policy={"overlap": "skip"})
    (hanging,) = tick(app)
    for _ in range(3):
        make_due(schedule.periodic_task)
        tick(app)
    assert streaks.skipping(3).get() == schedule
    end_well(hanging)
    assert not streaks.skipping(1).exists()


def test_a_run_that_seems_silent_after_a_jump_of_the_clock_has_time_for_a_heartbeat(
    due: Callable[..., Schedule], app: Celery
) -> None:
    due()
    (fire,) = tick(app)
    attempt = ledger.begin(fire.pk, "worker@host")
    assert attempt is not None

    def jump() -> None:
        heard = database_now() - timedelta(hours=1)
        Fire.objects.update(heartbeat_at=heard, due_at=heard + waits.HEARTBEAT_LIMIT)

    jump()
    assert tick(app) == []
    assert ledger.begin(fire.pk, "a second message") is None
    fire.refresh_from_db()
    assert fire.status == FireStatus.RUNNING
    Fire.objects.update(due_at=database_now())  # no heartbeat came until the second look
    assert [again.pk for again in tick(app)] == [fire.pk]


def test_the_expiry_of_a_message_stops_no_retry(due: Callable[..., Schedule], app: Celery) -> None:
    due(policy={"max_retries": 2, "retry_backoff_seconds": 0}, expire_seconds=5)
    expiries = []
    for number in (1, 2, 3):
        (fire,) = tick(app)
        expiries.append(_newest_message()["headers"]["expires"])
        run_and_fail(fire, f"failure {number}")
        long_ago = database_now() - timedelta(minutes=1)
        Fire.objects.update(fire_at=long_ago)  # so that the expiry has passed
        Fire.objects.filter(finished_at=None).update(due_at=long_ago)
    assert expiries[0] is not None
    assert expiries[1:] == [None, None]
    fire.refresh_from_db()
    assert (fire.status, fire.attempt) == (FireStatus.FAILED, 3)
    assert tick(app) == []


def _newest_message() -> dict[str, Any]:
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        message: dict[str, Any] = json.loads(broker.lindex("jobs", 0))
    return message
