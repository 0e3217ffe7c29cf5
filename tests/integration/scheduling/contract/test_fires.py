"""The life of a fire: published, begun, heard of, ended, and kept."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
import redis
from celery import Celery
from django.conf import settings

from scheduling import jobs
from tests.integration.scheduling.backends import Stage
from tests.integration.scheduling.conftest import queued_messages
from tests.integration.scheduling.contract.acts import (
    MINUTE,
    TASK,
    at_once,
    fired,
    tick,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_handlers_timeout_goes_with_its_message(stage: Stage, app: Celery) -> None:
    fired(stage, app, timeout=7)
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        (message,) = [json.loads(raw) for raw in broker.lrange("jobs", 0, -1)]
    assert message["headers"]["timelimit"] == [12, 7]


def test_an_execution_log_against_duplicates(stage: Stage, app: Celery) -> None:
    backend = stage.backend
    fire = fired(stage, app)
    begun = at_once(lambda: stage.another().begin(fire.id, "worker"))
    assert sorted(begun, key=str) == [1, None, None, None]
    backend.succeed(fire.id, 1)
    assert backend.begin(fire.id, "worker") is None
    (ended,) = jobs.fires("job")
    assert (ended.status, ended.worker, ended.attempt) == ("succeeded", "worker", 1)
    assert ended.started_at is not None
    assert ended.finished_at is not None


def test_at_least_once_by_default_a_crashed_run_runs_again(stage: Stage, app: Celery) -> None:
    backend = stage.backend
    fire = fired(stage, app)
    backend.begin(fire.id, "worker")
    stage.be_silent()  # the worker died
    tick(backend, app)  # its run is suspected,
    stage.end_waits()
    tick(backend, app)  # and not heard at the second look either
    (found,) = jobs.fires("job")
    assert found.status == "dispatched"
    assert backend.begin(fire.id, "another") == 2
    assert queued_messages() == 2


def test_at_most_once_by_configuration_a_crashed_run_is_lost(stage: Stage, app: Celery) -> None:
    backend = stage.backend
    fire = fired(stage, app, guarantee="at_most_once")
    backend.begin(fire.id, "worker")
    for _ in range(2):
        stage.end_waits()
        tick(backend, app)
    (found,) = jobs.fires("job")
    assert found.status == "lost"
    assert backend.begin(fire.id, "another") is None
    assert queued_messages() == 1


@pytest.mark.parametrize(("overlap", "begins"), [("allow", 1), ("skip", None)])
def test_at_most_once_a_message_that_comes_late_runs_once(
    stage: Stage, app: Celery, overlap: str, begins: int | None
) -> None:
    backend = stage.backend
    fire = fired(stage, app, guarantee="at_most_once", overlap=overlap)
    stage.end_waits()  # nobody has started it, as workers have too much to do
    tick(backend, app)
    assert [fire.status for fire in backend.failed_runs()] == ["lost"]
    assert backend.begin(fire.id, "worker") == begins
    assert backend.begin(fire.id, "another") is None
    if begins:
        assert backend.failed_runs() == []
        backend.succeed(fire.id, begins)
        assert [fire.status for fire in jobs.fires("job")] == ["succeeded"]
        assert jobs.get("job").failed_in_a_row == 0
    assert queued_messages() == 1


def test_heartbeat_and_failure_detection_a_run_that_is_heard_is_left_alone(
    stage: Stage, app: Celery
) -> None:
    backend = stage.backend
    fire = fired(stage, app)
    backend.begin(fire.id, "worker")
    for _ in range(3):
        stage.be_silent()
        tick(backend, app)
        backend.beat([(fire.id, 1)])
    (found,) = jobs.fires("job")
    assert (found.status, found.attempt) == ("running", 1)


def test_reconciliation_after_a_crash_a_claimed_fire_is_published_by_another_scheduler(
    stage: Stage, app: Celery
) -> None:
    jobs.register("job", TASK, 60)
    jobs.run_now("job")  # recorded, and whoever did so dies before it is published
    stage.end_waits()
    tick(stage.another(), app)
    assert [fire.status for fire in jobs.fires("job")] == ["dispatched"]
    stage.end_waits()  # its message is lost
    tick(stage.another(), app)
    assert queued_messages() == 2


def test_a_backlog_does_not_multiply_messages(stage: Stage, app: Celery) -> None:
    """A message that waits in a long queue cannot be told from a lost one."""
    backend = stage.backend
    fire = fired(stage, app, retries=9)
    waited = [_wait_for_a_worker(stage)]
    for _ in range(6):
        stage.end_waits()
        tick(backend, app)
        waited.append(_wait_for_a_worker(stage))
    assert waited == [10, 20, 40, 80, 160, 160, 160]
    for attempt in (1, 2, 3, 4, 5, 6):  # each message so far may bring a run that is given back
        assert backend.begin(fire.id, "worker") == attempt
        backend.interrupt(fire.id, "worker")
    assert backend.begin(fire.id, "worker") == 7
    backend.fail(fire.id, 7, ValueError("first"))
    stage.end_waits()
    tick(backend, app)
    assert _wait_for_a_worker(stage) == 10  # the first message of a retry may be lost, too


def _wait_for_a_worker(stage: Stage) -> int:
    """Return after how many minutes a published fire is published again."""
    (fire,) = jobs.fires("job")
    assert fire.status == "dispatched"
    assert fire.due_at is not None
    return round((fire.due_at - stage.backend.now()) / MINUTE)


def test_an_end_that_comes_late_changes_nothing(stage: Stage, app: Celery) -> None:
    backend = stage.backend
    fire = fired(stage, app)
    backend.begin(fire.id, "slow")
    for _ in range(2):
        stage.end_waits()
        tick(backend, app)
    assert backend.begin(fire.id, "another") == 2
    backend.fail(fire.id, 1, ValueError("late"))  # of the run that was given up
    assert [fire.status for fire in jobs.fires("job")] == ["running"]
    backend.succeed(fire.id, 2)
    assert [fire.status for fire in jobs.fires("job")] == ["succeeded"]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (lambda b, f: b.leave(f, 1), "handed_over"),
        (lambda b, f: b.return_to_queue(f, 1), "dispatched"),
        (lambda b, f: b.orphan(f, 1, SystemExit()), "claimed"),
        (lambda b, f: b.interrupt(f, "worker"), "claimed"),
        (lambda b, f: b.cancel_run(f, "worker", "revoked"), "cancelled"),
        (lambda b, f: b.cancel(f, "revoked"), "running"),
        (lambda b, f: b.expire(f), "running"),
        (lambda b, f: b.refuse(f, "unreadable"), "failed"),
    ],
)
def test_status_is_reported_however_a_run_ends(
    stage: Stage, app: Celery, end: Callable[..., None], status: str
) -> None:
    backend = stage.backend
    fire = fired(stage, app)
    backend.begin(fire.id, "worker")
    assert backend.attempt_on(fire.id, "worker") == 1
    assert backend.attempt_on(fire.id, "another") is None
    end(backend, fire.id)
    assert [fire.status for fire in jobs.fires("job")] == [status]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (lambda b, f: b.cancel(f, "revoked"), "cancelled"),
        (lambda b, f: b.expire(f), "skipped_expired"),
        (lambda b, f: b.give_back(f), "claimed"),
        (lambda b, f: b.not_known(f, "unknown"), "claimed"),
    ],
)
def test_status_is_reported_of_what_no_worker_began(
    stage: Stage, app: Celery, end: Callable[..., None], status: str
) -> None:
    fire = fired(stage, app)
    end(stage.backend, fire.id)
    assert [fire.status for fire in jobs.fires("job")] == [status]


def test_a_start_without_an_answer_is_withdrawn(stage: Stage, app: Celery) -> None:
    backend = stage.backend
    fire = fired(stage, app)
    now = backend.now()
    assert backend.begin(fire.id, "worker", now) == 1
    backend.withdraw(fire.id, "worker", now)
    assert backend.begin(fire.id, "worker") == 1


def test_the_ledger_is_bounded_by_age(stage: Stage, app: Celery) -> None:
    backend = stage.backend
    fire = fired(stage, app)
    backend.begin(fire.id, "worker")
    tomorrow = backend.now() + timedelta(days=1.1)
    assert jobs.run_now("job")
    backend.clean(tomorrow, kept_days=1)
    assert len(jobs.fires("job")) == 2  # what has not ended is kept
    backend.succeed(fire.id, 1)
    backend.clean(tomorrow, kept_days=0)
    assert len(jobs.fires("job")) == 2
    backend.clean(tomorrow, kept_days=1)
    assert [fire.status for fire in jobs.fires("job")] == ["claimed"]


def test_metrics(stage: Stage, app: Celery) -> None:
    fired(stage, app)
    jobs.run_now("job")
    figures = stage.backend.figures(timedelta(minutes=5))
    assert figures.fires_by_status["dispatched"] == 1
    assert figures.unfinished["claimed"] == 1
    assert figures.due_backlog == figures.quarantined == figures.failed_runs == 0
    assert figures.lateness_p99 is not None
    assert figures.lateness_p99 >= 0.1
