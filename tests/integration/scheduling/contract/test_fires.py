"""The life of a fire: published, run, retried, ended."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import redis
from celery import Celery
from django.conf import settings

from scheduling import conditions, jobs, retries
from scheduling.kept.protocol import Backend
from scheduling.run_errors import NotOpen
from tests.integration.scheduling.backends import Stage
from tests.integration.scheduling.conftest import queued_messages
from tests.integration.scheduling.contract.acts import (
    MINUTE,
    TASK,
    at_once,
    due,
    fired,
    tick,
    tick_until,
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


def test_a_backfill_runs_what_has_no_fire_at_a_pace_and_once(stage: Stage, app: Celery) -> None:
    due(stage, every=3600)
    tick(stage.backend, app)
    (fired,) = jobs.fires("job")
    since = fired.scheduled_for - timedelta(hours=3)
    until = fired.scheduled_for + timedelta(microseconds=1)
    preview = jobs.backfill("job", since, until, pace=MINUTE, dry_run=True)
    assert [due_at for due_at, _ in preview] == [since + timedelta(hours=n) for n in range(3)]
    assert [b[1] - a[1] for a, b in pairwise(preview)] == [MINUTE, MINUTE]
    assert len(jobs.fires("job")) == 1
    runs = jobs.backfill("job", since, until, pace=MINUTE)
    assert [due_at for due_at, _ in runs] == [due_at for due_at, _ in preview]
    assert jobs.backfill("job", since, until) == []
    tick(stage.backend, app)
    statuses = [fire.status for fire in jobs.fires("job")]
    assert statuses == ["dispatched", "claimed", "claimed", "dispatched"]
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        messages = [json.loads(raw) for raw in broker.lrange("jobs", 0, -1)]
    headers = [message["headers"]["scheduled_for"] for message in reversed(messages)]
    assert headers == [fired.scheduled_for.isoformat(), since.isoformat()]
    assert jobs.get("job").answered_until == fired.scheduled_for


def test_a_backfill_waits_for_the_run_before_where_none_may_overlap(
    stage: Stage, app: Celery
) -> None:
    jobs.register("job", TASK, 3600, overlap="skip")
    now = stage.backend.now()
    assert len(jobs.backfill("job", now - timedelta(hours=3), now)) == 3
    for left in (2, 1, 0):
        stage.end_waits()
        tick(stage.backend, app)
        statuses = [str(fire.status) for fire in jobs.fires("job")]
        assert (statuses.count("dispatched"), statuses.count("waiting")) == (1, left)
        (running,) = [fire for fire in jobs.fires("job") if fire.status == "dispatched"]
        attempt = stage.backend.begin(running.id, "w1")
        assert attempt
        stage.backend.succeed(running.id, attempt)


@pytest.mark.parametrize(
    ("since", "until", "pace", "field"),
    [
        (-2, -3, 0, "until"),
        (-2, 2, 0, "until"),
        (-2000, 0, 0, "since"),
        (-2, 0, -1, "pace"),
    ],
)
def test_a_backfill_of_what_is_no_past_range_is_refused_by_field(
    backend: Backend, since: int, until: int, pace: int, field: str
) -> None:
    jobs.register("job", TASK, 3600)
    now = backend.now()
    begin, end = now + timedelta(hours=since), now + timedelta(hours=until)
    with pytest.raises(jobs.InvalidJob) as refused:
        jobs.backfill("job", begin, end, pace=timedelta(seconds=pace))
    assert refused.value.field == field


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
