"""The contract of a backend: each test is a line of the design document, on each of the three."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis
from celery import Celery
from django.conf import settings
from django.db import connections

from scheduling import chosen_backend, jobs, leases, retries, rule_documents
from scheduling.backends.database import DatabaseBackend
from scheduling.kept.protocol import Backend
from scheduling.recurrence import upcoming
from scheduling.rule_documents import recurrence_of
from scheduling.run_errors import NotOpenError
from tests.integration.scheduling.backends import DatabaseStage, Stage, in_memory, in_redis
from tests.integration.scheduling.conftest import queued_messages

pytestmark = pytest.mark.django_db(transaction=True)

TASK = "jobs.note"
MINUTE = timedelta(minutes=1)


def _stage(kind: str) -> Stage:
    if kind == "memory":
        return in_memory()
    if kind == "redis":
        return in_redis(settings.BROKER_URL)
    return DatabaseStage(DatabaseBackend(), DatabaseBackend)


@pytest.fixture(params=["database", "redis", "memory"])
def stage(
    request: pytest.FixtureRequest, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    monkeypatch.setattr(jobs, "_allowed", {TASK})
    monkeypatch.setattr(jobs, "_declared", {})
    made = _stage(request.param)
    with chosen_backend.using(made.backend):
        yield made


@pytest.fixture
def backend(stage: Stage) -> Backend:
    return stage.backend


def tick(backend: Backend, app: Celery) -> None:
    while not backend.tick(app):
        pass


def due(stage: Stage, name: str = "job", seconds_ago: float = 0.1, **options: Any) -> None:
    jobs.register(name, TASK, options.pop("every", 60), **options)
    stage.make_due(name, seconds_ago)


def fired(stage: Stage, app: Celery, **options: Any) -> Any:
    """Have a job fire once; return its fire, which is published."""
    due(stage, **options)
    tick(stage.backend, app)
    (fire,) = jobs.fires("job")
    return fire


def at_once(work: Callable[[], Any], count: int = 4) -> list[Any]:
    """Do the same in several threads."""

    def alone() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(alone) for _ in range(count)]]


# --- one API ------------------------------------------------------------------------------


def test_one_api_serves_each_backend(backend: Backend) -> None:
    made = jobs.register("b", TASK, 60, args=[1], kwargs={"x": 2}, description="why")
    jobs.register("a", TASK, "0 3 * * *", timezone="Europe/Berlin")
    assert jobs.names() == ["a", "b"]
    assert jobs.get("b") == made
    assert made.definition == {
        "name": "b",
        "handler": TASK,
        "schedule": {"every": 60},
        "args": [1],
        "kwargs": {"x": 2},
        "description": "why",
    }
    jobs.remove("b")
    assert jobs.names() == ["a"]


@pytest.mark.parametrize(
    "when",
    ["*/5 * * * *", 90, timedelta(hours=2), datetime(2100, 1, 1, tzinfo=UTC)],
    ids=["cron", "interval", "timedelta", "exact timestamp"],
)
def test_cron_interval_exact_timestamp_and_delayed(backend: Backend, when: Any) -> None:
    jobs.register("job", TASK, when)
    now = backend.now()
    (following,) = jobs.next_fires("job", 1)
    assert now < following
    if isinstance(when, datetime):
        assert following == when


@pytest.mark.parametrize(
    "rule",
    [
        {"cron": "@daily", "timezone": "Europe/Berlin"},
        {"cron": "0 9 * * 7"},
        {"cron": "0 9 L * *"},
        {"cron": "0 9 * * 6#3"},
        {"cron": "*/20 * * * * *", "seconds": True},
        {"cron": "0 0 13 * 5", "days": "or"},
        {"rrule": "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9;BYMINUTE=0", "timezone": "Europe/Berlin"},
        {"every": 600, "between": ["08:00", "20:00"], "timezone": "Europe/Berlin"},
        {"cron": "0 9 * * *", "holidays": "DE-BY", "business_days": True, "on_holiday": "next"},
    ],
)
def test_each_kind_of_rule_is_kept_and_planned(
    stage: Stage, app: Celery, rule: dict[str, Any]
) -> None:
    jobs.define({"name": "job", "handler": TASK, "schedule": rule})
    tick(stage.backend, app)
    kept = jobs.get("job").definition["schedule"]
    own = recurrence_of(rule, stage.backend.now())
    after = stage.backend.now() - timedelta(seconds=1)
    expected = upcoming(own, after, 4)
    found = jobs.next_fires("job", 3)
    if "every" in rule:
        assert {moment.astimezone(ZoneInfo("Europe/Berlin")).hour for moment in found} <= {
            *range(8, 20)
        }
    else:
        assert set(found) <= set(expected)
    assert upcoming(recurrence_of(kept, after), after, 4) == upcoming(
        recurrence_of(rule, after), after, 4
    )


def test_a_delayed_job_fires_once_when_its_time_has_come(backend: Backend, app: Celery) -> None:
    jobs.register("later", TASK, backend.now() + timedelta(seconds=0.2))
    tick_until(backend, app, lambda: jobs.fires("later"))
    (fire,) = jobs.fires("later")
    assert fire.status == "dispatched"
    assert not jobs.get("later").enabled
    assert jobs.next_fires("later") == []


def test_registration_has_name_schedule_timeout_retry_policy(backend: Backend) -> None:
    policy: dict[str, Any] = {
        "timeout": 60,
        "retries": 3,
        "retry_backoff": 5,
        "misfire": "all",
        "misfire_cap": 7,
        "grace": 30,
        "overlap": "skip",
        "jitter": 9,
        "catch_up_on_resume": True,
        "message_expires": 40,
        "queue": "jobs",
        "priority": 3,
    }
    jobs.register("job", TASK, 60, **policy)
    assert policy.items() <= jobs.get("job").definition.items()


def test_registration_is_idempotent_and_does_not_resume_what_somebody_paused(
    backend: Backend,
) -> None:
    jobs.register("job", TASK, 60)
    before = jobs.get("job")
    assert jobs.register("job", TASK, 60) == before
    jobs.pause("job")
    jobs.register("job", TASK, 90)
    assert not jobs.get("job").enabled
    assert jobs.get("job").definition["schedule"] == {"every": 90}


def test_a_name_that_is_taken_is_refused_if_the_job_shall_be_new(backend: Backend) -> None:
    definition = {"name": "job", "handler": TASK, "schedule": {"every": 60}}
    jobs.define(definition, is_new=True)
    with pytest.raises(jobs.JobExistsError):
        jobs.define(definition, is_new=True)


def test_only_what_differs_from_the_previous_definition_is_written(backend: Backend) -> None:
    first = {"name": "job", "handler": TASK, "schedule": {"every": 60}, "timeout": 5}
    jobs.define(first)
    jobs.define({**first, "retries": 2})
    jobs.define({**first, "timeout": 9}, previous=first)
    definition = jobs.get("job").definition
    assert (definition["timeout"], definition["retries"]) == (9, 2)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"schedule": {"cron": "61 * * * *"}}, "schedule"),
        ({"schedule": {"cron": "0 0 31 2 *"}}, "schedule"),
        ({"schedule": {"cron": "* * * *"}}, "schedule.cron"),
        ({"schedule": {"cron": "* * * * *", "timezone": "Mars/Base"}}, "schedule.timezone"),
        ({"schedule": {"every": 0.5}}, "schedule.every"),
        ({"schedule": {"cron": "0 * * * * *"}}, "schedule.cron"),
        ({"schedule": {"cron": "@sometimes"}}, "schedule.cron"),
        ({"schedule": {"cron": "0 0 32 * *", "days": "or"}}, "schedule"),
        ({"schedule": {"rrule": "FREQ=NEVER"}}, "schedule"),
        ({"schedule": {"rrule": "FREQ=SECONDLY"}}, "schedule"),
        ({"schedule": {"every": 60, "between": ["8", "late"]}}, "schedule.between"),
        ({"schedule": {"cron": "0 9 * * *", "holidays": "Atlantis"}}, "schedule"),
        ({"schedule": {"at": "2026-01-01T00:00:00"}}, "schedule.at"),
        ({"schedule": {"at": "2001-01-01T00:00:00Z"}}, "schedule.at"),
        ({"schedule": {"at": "9999-12-31T23:59:59-14:00"}}, "schedule.at"),
        ({"schedule": {"cron": "0 9 * * *", "calendar": "../etc"}}, "schedule.calendar"),
        ({"expires": "2001-01-01T00:00:00Z"}, "expires"),
        ({"pause_after": 0}, "pause_after"),
        ({"start": "never"}, "start"),
        ({"timeout": 0}, "timeout"),
        ({"start": "2100-01-02T00:00:00Z", "expires": "2100-01-01T00:00:00Z"}, "expires"),
        ({"surprise": 1}, "surprise"),
        ({"retry": {"strategy": "lost"}}, "retry.strategy"),
        ({"retry": {"strategy": "waits"}}, "retry.waits"),
        ({"retry": {"errors": {"ValueError": {"wait": -1}}}}, "retry.errors.ValueError.wait"),
        ({"concurrency": 0}, "concurrency"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_field(
    backend: Backend, change: dict[str, Any], field: str
) -> None:
    definition = {"name": "job", "handler": TASK, "schedule": {"every": 60}}
    with pytest.raises(jobs.InvalidJobError) as refused:
        jobs.define(definition | change)
    assert refused.value.field == field
    assert jobs.names() == []


def test_a_moment_that_has_passed_may_stay_where_it_was(backend: Backend) -> None:
    """Registration at each start of a program does not fail when its moment is over."""
    soon = backend.now() + timedelta(seconds=1)
    options = {"expires": (soon + timedelta(seconds=1)).isoformat()}
    jobs.register("once", TASK, soon)
    jobs.register("often", TASK, 60, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rule_documents, "JUST_NOW", -timedelta(days=1))  # a day later
        jobs.register("once", TASK, soon)
        jobs.register("often", TASK, 60, timeout=5, **options)
        with pytest.raises(jobs.InvalidJobError):
            jobs.register("again", TASK, soon)
    assert jobs.get("often").definition["timeout"] == 5


def test_no_handler_is_injected_through_the_api(backend: Backend) -> None:
    with pytest.raises(jobs.HandlerNotAllowedError):
        jobs.register("job", "os.system", 60)
    assert jobs.names() == []


def test_cancel_pause_resume(stage: Stage, app: Celery) -> None:
    due(stage)
    jobs.pause("job")
    tick(stage.backend, app)
    assert jobs.fires("job") == []
    assert jobs.next_fires("job") == []
    jobs.resume("job")
    tick(stage.backend, app)
    assert jobs.fires("job") == []  # what was due during the pause is not made up for
    assert len(jobs.next_fires("job")) == 5
    jobs.remove("job")
    for verb in (jobs.pause, jobs.resume, jobs.remove, jobs.run_now, jobs.next_fires, jobs.fires):
        with pytest.raises(jobs.UnknownJobError, match="job"):
            verb("job")


def test_run_now_fires_once_paused_or_not_and_leaves_the_schedule_alone(
    backend: Backend, app: Celery
) -> None:
    jobs.register("job", TASK, 60, enabled=False)
    key = jobs.run_now("job")
    tick(backend, app)
    (fire,) = jobs.fires("job")
    assert (fire.id, fire.by_hand, fire.status) == (key, True, "dispatched")
    assert not jobs.get("job").enabled


def test_load_jobs_at_startup(stage: Stage, app: Celery) -> None:
    due(stage)
    tick(stage.another(), app)
    assert [fire.status for fire in jobs.fires("job")] == ["dispatched"]


def test_declared_jobs_are_registered_and_keep_a_persons_edits(
    backend: Backend, app: Celery
) -> None:
    jobs.job(name="declared", every=60, retries=3)(app.tasks[TASK])
    jobs.register_declared()
    jobs.pause("declared")
    jobs.register_declared()
    assert not jobs.get("declared").enabled
    jobs.job(name="declared", every=90, retries=3)(app.tasks[TASK])
    jobs.register_declared()
    assert jobs.get("declared").definition["schedule"] == {"every": 90}
    assert not jobs.get("declared").enabled


# --- due times ----------------------------------------------------------------------------


def test_several_instances_one_executes(stage: Stage, app: Celery) -> None:
    for number in range(20):
        due(stage, f"job {number}")
    at_once(lambda: tick(stage.another(), app))
    fires = [fire for number in range(20) for fire in jobs.fires(f"job {number}")]
    assert [fire.status for fire in fires] == ["dispatched"] * 20
    assert queued_messages() == 20


def test_drift_compensation_an_interval_counts_from_its_due_time(stage: Stage, app: Celery) -> None:
    due(stage, seconds_ago=7)
    tick(stage.backend, app)
    (fire,) = jobs.fires("job")
    assert jobs.next_fires("job", 1) == [fire.scheduled_for + MINUTE]


@pytest.mark.parametrize(
    ("policy", "ran", "skipped"),
    [
        ({}, 1, 0),
        ({"misfire": "skip"}, 0, 1),
        ({"misfire": "all"}, 5, 0),
        ({"misfire": "all", "misfire_cap": 2}, 2, 0),
        ({"grace": 10}, 0, 1),
    ],
)
def test_window_scanning_what_passed_is_answered_by_the_misfire_policy(
    stage: Stage, app: Celery, policy: dict[str, Any], ran: int, skipped: int
) -> None:
    due(stage, seconds_ago=4 * 60 + 50, **policy)
    tick(stage.backend, app)
    counts = [str(fire.status) for fire in jobs.fires("job")]
    assert counts.count("dispatched") == ran
    assert counts.count("skipped_misfire") == skipped


@pytest.mark.parametrize("misfire", ["latest", "all"])
def test_time_drift_a_clock_that_was_ahead_delays_and_doubles_nothing(
    stage: Stage, app: Celery, misfire: str
) -> None:
    due(stage, every=10, misfire=misfire)
    tick(stage.backend, app)
    (first,) = jobs.fires("job")
    stage.claim(stage.backend.now() + timedelta(days=3))
    early = {fire.scheduled_for for fire in jobs.fires("job")} - {first.scheduled_for}
    (far,) = jobs.next_fires("job", 1)
    assert far - stage.backend.now() > timedelta(days=2)
    stage.keep_house()
    tick(stage.backend, app)
    (following,) = jobs.next_fires("job", 1)
    assert following == first.scheduled_for + timedelta(seconds=10)
    stage.claim(max(early))  # and so it comes to the due times that fired too early
    fires = [fire.scheduled_for for fire in jobs.fires("job")]
    assert len(fires) == len({*fires})
    assert max(early) in fires


def test_a_fire_tells_from_when_on_it_stands_for_missed_ones(stage: Stage, app: Celery) -> None:
    fire = fired(stage, app, seconds_ago=190)
    assert fire.scheduled_for - fire.missed_since == 3 * MINUTE


def test_a_due_time_fires_once_also_if_it_is_claimed_again(stage: Stage, app: Celery) -> None:
    fire = fired(stage, app)
    stage._set("job", answered_until=fire.scheduled_for - MINUTE, next_fire_at=fire.scheduled_for)
    tick(stage.backend, app)
    assert len(jobs.fires("job")) == 1
    assert queued_messages() == 1


@pytest.mark.parametrize(
    ("overlap", "second", "third"),
    [
        ("allow", "dispatched", "dispatched"),
        ("skip", "skipped_overlap", "skipped_overlap"),
        ("queue", "waiting", "skipped_overlap"),
    ],
)
def test_overlap(stage: Stage, app: Celery, overlap: str, second: str, third: str) -> None:
    backend = stage.backend
    fire = fired(stage, app, overlap=overlap)
    assert backend.begin(fire.id, "worker") == 1
    later = [jobs.run_now("job"), jobs.run_now("job")]
    tick(backend, app)
    found = {fire.id: fire.status for fire in jobs.fires("job")}
    assert [found[key] for key in later] == [second, third]
    backend.succeed(fire.id, 1)
    tick(backend, app)
    ended = {fire.id: fire.status for fire in jobs.fires("job")}
    assert ended[later[0]] == ("dispatched" if second == "waiting" else second)


def test_run_now_from_many_places_never_overlaps_where_that_is_forbidden(
    stage: Stage, app: Celery
) -> None:
    jobs.register("job", TASK, 3600, overlap="skip")
    at_once(lambda: jobs.run_now("job"))
    statuses = sorted(fire.status for fire in jobs.fires("job"))
    assert statuses == ["claimed", *["skipped_overlap"] * 3]


def test_jitter_delays_a_fire_and_not_its_due_time(stage: Stage, app: Celery) -> None:
    jobs.register("job", TASK, 3600, jitter=600)
    (following,) = jobs.next_fires("job", 1)
    assert stage.backend.now() + 50 * MINUTE < following < stage.backend.now() + 71 * MINUTE


def test_start_and_expiry_bound_the_due_times(backend: Backend) -> None:
    start = datetime(2100, 1, 1, tzinfo=UTC)
    jobs.register("job", TASK, 3600, start=start, expires=start + timedelta(hours=2))
    hours = [start + timedelta(hours=hour) for hour in range(3)]
    assert jobs.next_fires("job", 9) == hours


# --- the life of a fire -------------------------------------------------------------------


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


def test_a_dead_letter_is_replayed_once_or_discarded(stage: Stage, app: Celery) -> None:
    backend = stage.backend
    fire = fired(stage, app)
    backend.begin(fire.id, "worker")
    backend.fail(fire.id, 1, ValueError("no"))
    again = backend.replay(fire.id)
    with pytest.raises(NotOpenError):
        backend.replay(fire.id)
    assert backend.failed_runs() == []
    tick(backend, app)
    assert backend.begin(again, "worker") == 1
    backend.fail(again, 1, ValueError("no"))
    backend.discard(again, why="known")
    with pytest.raises(NotOpenError):
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
    with pytest.raises(jobs.InvalidJobError) as refused:
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


# --- locks --------------------------------------------------------------------------------


def test_a_lock_is_had_by_one(stage: Stage) -> None:
    taken = at_once(lambda: stage.another().acquire("work", "me", MINUTE))
    assert len([lease for lease in taken if lease is not None]) == 1
    assert stage.backend.acquire("other work", "me", MINUTE) is not None


def test_a_lock_is_renewed_while_held_and_released_by_its_holder_only(backend: Backend) -> None:
    lease = backend.acquire("work", "a", MINUTE)
    assert lease is not None
    assert backend.renew(lease)
    backend.release(lease)
    assert not backend.renew(lease)
    following = backend.acquire("work", "b", MINUTE)
    backend.release(lease)
    assert backend.acquire("work", "a", MINUTE) is None
    assert following is not None
    assert following.token > lease.token


def test_a_lock_is_taken_over_when_its_holder_has_died(stage: Stage) -> None:
    backend = stage.backend
    first = leases.Holder(backend, "work", "first")
    second = leases.Holder(backend, "work", "second")
    assert first.hold()
    assert first.hold()
    assert not second.hold()
    stage.end_leases()
    assert second.hold()
    assert not first.hold()  # it wakes up, and finds itself fenced off
    second.release()
    assert first.hold()


def test_a_lock_lasts_10_to_30_seconds() -> None:
    assert timedelta(seconds=10) <= leases.TTL <= timedelta(seconds=30)


def tick_until(backend: Backend, app: Celery, predicate: Callable[[], Any]) -> None:
    deadline = backend.now() + timedelta(seconds=20)
    while not predicate():
        backend.tick(app)
        assert backend.now() < deadline
