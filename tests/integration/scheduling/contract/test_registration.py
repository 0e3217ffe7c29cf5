"""Jobs and their rules: one API on each backend."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery import Celery

from scheduling import jobs, rule_documents
from scheduling.kept.protocol import Backend
from scheduling.recurrence import upcoming
from scheduling.rule_documents import recurrence_of
from tests.integration.scheduling.backends import Stage
from tests.integration.scheduling.contract.acts import TASK, due, tick, tick_until

pytestmark = pytest.mark.django_db(transaction=True)


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


def test_registration_has_name_schedule_timeout_retry_policy_metadata(backend: Backend) -> None:
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
        "groups": ["reports", "nightly"],
        "description": "For the accountants.",
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
    with pytest.raises(jobs.JobExists):
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
        ({"schedule": {"cron": "*/0 * * * *"}}, "schedule.cron"),
        ({"schedule": {"cron": "0 */20,5/00 * * * *", "seconds": True}}, "schedule.cron"),
        ({"schedule": {"cron": "@sometimes"}}, "schedule.cron"),
        ({"schedule": {"cron": "0 0 32 * *", "days": "or"}}, "schedule"),
        ({"schedule": {"rrule": "FREQ=NEVER"}}, "schedule.rrule"),
        ({"schedule": {"rrule": "FREQ=SECONDLY"}}, "schedule.rrule"),
        ({"schedule": {"rrule": "FREQ=DAILY;INTERVAL=0"}}, "schedule.rrule"),
        ({"schedule": {"rrule": "FREQ=DAILY;COUNT=3"}}, "schedule.from"),
        ({"schedule": {"rrule": "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30"}}, "schedule.rrule"),
        ({"schedule": {"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}}, "schedule"),
        ({"schedule": {"every": 60, "between": ["8", "late"]}}, "schedule.between"),
        ({"schedule": {"cron": "0 9 * * *", "holidays": "Atlantis"}}, "schedule"),
        ({"schedule": {"at": "2026-01-01T00:00:00"}}, "schedule.at"),
        ({"schedule": {"at": "2001-01-01T00:00:00Z"}}, "schedule.at"),
        ({"schedule": {"at": "9999-12-31T23:59:59-14:00"}}, "schedule.at"),
        ({"schedule": {"cron": "0 9 * * *", "calendar": "../etc"}}, "schedule.calendar"),
        ({"expires": "2001-01-01T00:00:00Z"}, "expires"),
        ({"pause_after": 0}, "pause_after"),
        ({"jitter": 60}, "jitter"),
        ({"schedule": {"cron": "*/20 * * * * *", "seconds": True}, "jitter": 20}, "jitter"),
        ({"start": "never"}, "start"),
        ({"timeout": 0}, "timeout"),
        ({"start": "2100-01-02T00:00:00Z", "expires": "2100-01-01T00:00:00Z"}, "expires"),
        ({"surprise": 1}, "surprise"),
        ({"retry": {"strategy": "lost"}}, "retry.strategy"),
        ({"retry": {"strategy": "waits"}}, "retry.waits"),
        ({"retry": {"errors": {"ValueError": {"wait": -1}}}}, "retry.errors.ValueError.wait"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency_key": "shop"}, "concurrency_key"),
        ({"unique_key": "report"}, "unique_seconds"),
        ({"unique_seconds": 60}, "unique_key"),
        ({"kwargs": {"x": {"__type__": "datetime", "__value__": 5}}}, "kwargs"),
        ({"args": [{"__type__": "uuid", "__value__": {"hex": 1}}]}, "args"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_field(
    backend: Backend, change: dict[str, Any], field: str
) -> None:
    definition = {"name": "job", "handler": TASK, "schedule": {"every": 60}}
    with pytest.raises(jobs.InvalidJob) as refused:
        jobs.define(definition | change)
    assert refused.value.field == field
    assert jobs.names() == []


def test_a_moment_that_has_passed_may_stay_where_it_was(backend: Backend) -> None:
    """Registration at each start of a program does not fail when its moment is over."""
    soon = backend.now() + timedelta(seconds=1)
    options: Any = {"expires": (soon + timedelta(seconds=1)).isoformat()}
    jobs.register("once", TASK, soon)
    jobs.register("often", TASK, 60, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rule_documents, "JUST_NOW", -timedelta(days=1))  # a day later
        jobs.register("once", TASK, soon)
        jobs.register("often", TASK, 60, timeout=5, **options)
        with pytest.raises(jobs.InvalidJob):
            jobs.register("again", TASK, soon)
    assert jobs.get("often").definition["timeout"] == 5


def test_no_handler_is_injected_through_the_api(backend: Backend) -> None:
    with pytest.raises(jobs.HandlerNotAllowed):
        jobs.register("job", "os.system", 60)
    assert jobs.names() == []


def test_handlers_are_injected_by_user_services(
    backend: Backend, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_allowed", set())
    with pytest.raises(jobs.HandlerNotAllowed):
        jobs.register("job", TASK, 60)
    jobs.register("job", app.tasks[TASK], 60)
    assert jobs.get("job").handler == TASK
    assert TASK in jobs.allowed_handlers()


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
        with pytest.raises(jobs.UnknownJob, match="job"):
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
