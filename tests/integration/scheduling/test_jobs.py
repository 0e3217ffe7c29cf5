"""The jobs API: idempotent by name, from an allow-list, beside people's own edits."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
from celery import Celery
from django.core.exceptions import ValidationError
from django_celery_beat.models import PeriodicTask

from scheduling import jobs
from scheduling.clock import database_now
from scheduling.models import Fire, FireStatus, Schedule
from tests.integration.scheduling.conftest import apply_all_changes, tick

pytestmark = pytest.mark.django_db(transaction=True)

JOB = {"name": "api job", "handler": "jobs.note", "schedule": {"cron": "0 3 * * *"}}


@pytest.fixture(autouse=True)
def allowed(app: Celery, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(jobs, "_allowed", {"jobs.note"})
    monkeypatch.setattr(jobs, "_declared", {})
    settings.SCHEDULING_ALLOWED_TASKS = []


def row(name: str) -> dict[str, Any]:
    values: dict[str, Any] = PeriodicTask.objects.filter(name=name).values().get()
    return values


def test_a_job_is_registered_with_its_policy(app: Celery) -> None:
    jobs.register(
        "nightly",
        app.tasks["jobs.note"],
        "30 2 * * *",
        timezone="Europe/Berlin",
        args=("a",),
        kwargs={"b": 1},
        retries=3,
        retry_backoff=timedelta(minutes=1),
        timeout=60,
        guarantee="at_least_once",
        overlap="skip",
    )
    task = PeriodicTask.objects.get(name="nightly")
    assert (task.task, task.args, task.kwargs) == ("jobs.note", '["a"]', '{"b": 1}')
    assert (task.crontab.hour, str(task.crontab.timezone)) == ("2", "Europe/Berlin")
    policy = Schedule.objects.get(pk=task.pk)
    assert (policy.max_retries, policy.retry_backoff_seconds) == (3, 60)
    assert (policy.timeout_seconds, policy.overlap) == (60, "skip")


def test_registering_again_changes_nothing(app: Celery) -> None:
    jobs.define(JOB)
    before = row("api job")
    jobs.define(JOB)
    assert row("api job") == before


def test_registering_again_brings_changes_but_does_not_resume_a_paused_job() -> None:
    jobs.define(JOB)
    jobs.pause("api job")
    jobs.define(JOB | {"schedule": {"every": 90}, "jitter": 5})
    task = PeriodicTask.objects.get(name="api job")
    assert (task.interval.every, task.interval.period) == (90, "seconds")
    assert task.crontab is None
    assert not task.enabled
    assert Schedule.objects.get(pk=task.pk).jitter_seconds == 5


@pytest.mark.parametrize(
    ("when", "every", "period"),
    [(300, 5, "minutes"), (timedelta(days=2), 2, "days"), (1.5, 1500000, "microseconds")],
)
def test_intervals_are_kept_in_their_largest_unit(when: Any, every: int, period: str) -> None:
    jobs.register("interval", "jobs.note", when)
    interval = PeriodicTask.objects.get(name="interval").interval
    assert (interval.every, interval.period) == (every, period)


def test_a_moment_fires_once(app: Celery) -> None:
    jobs.register("once", "jobs.note", database_now())
    assert PeriodicTask.objects.get(name="once").one_off
    assert len(tick(app)) == 1
    assert tick(app) == []


def test_a_handler_that_is_not_allowed_cannot_be_named(app: Celery) -> None:
    assert "celery.backend_cleanup" in app.tasks
    with pytest.raises(jobs.HandlerNotAllowed, match=r"celery\.backend_cleanup"):
        jobs.define(JOB | {"handler": "celery.backend_cleanup"})
    assert not PeriodicTask.objects.filter(name="api job").exists()


def test_handlers_are_allowed_by_pattern(settings: Any, app: Celery) -> None:
    settings.SCHEDULING_ALLOWED_TASKS = ["jobs.f*"]
    assert jobs.allowed_handlers() == ["jobs.fail", "jobs.note"]


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"schedule": {"cron": "0 3 * *"}}, "five"),
        ({"schedule": {"cron": "61 * * * *"}}, "61"),
        ({"schedule": {"cron": "0 0 31 2 *"}}, "never"),
        ({"schedule": {"cron": "0 3 * * *", "timezone": "Mars/Base"}}, "Mars/Base"),
        ({"schedule": {"every": 0}}, "schedule"),
        ({"schedule": {"every": 0.0001}}, "minimum of 1"),
        ({"schedule": {"at": "2030-01-01T00:00:00"}}, "offset"),
        ({"schedule": {"at": "tomorrow"}}, "ISO 8601"),
        ({"expires": "9999-12-31T23:59:59-14:00"}, "range"),
        ({"expires": "0001-01-01T00:00:00+14:00"}, "range"),
        ({"schedule": {}}, "schedule"),
        ({"misfire": "whenever"}, "misfire"),
        ({"surprise": 1}, "surprise"),
        ({"name": ""}, "name"),
        ({"guarantee": "at_most_once", "retries": 2}, "retries: .*most once"),
        ({"schedule": {"every": 60}, "jitter": 60}, "jitter: .*60 seconds"),
        ({"schedule": {"cron": "0,5 3 * * *"}, "jitter": 300}, "jitter: .*300 seconds"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_hint(change: dict[str, Any], hint: str) -> None:
    with pytest.raises(jobs.InvalidJob, match=hint):
        jobs.define(JOB | change)
    assert not PeriodicTask.objects.filter(name=JOB["name"]).exists()


def test_a_jitter_below_the_time_to_the_next_fire_is_taken() -> None:
    jobs.define(JOB | {"schedule": {"every": 60}, "jitter": 59})
    schedule = Schedule.objects.get(periodic_task__name=JOB["name"])
    schedule.jitter_seconds = 60
    with pytest.raises(ValidationError) as refused:
        schedule.clean()
    assert list(refused.value.message_dict) == ["jitter_seconds"]


def test_the_schema_is_a_schema_and_accepts_a_job() -> None:
    schema = jobs.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(JOB, schema)
    assert schema["properties"]["handler"]["enum"] == ["jobs.note"]


def test_pause_resume_remove(app: Celery) -> None:
    jobs.define(JOB)
    jobs.pause("api job")
    assert jobs.next_fires("api job") == []
    jobs.resume("api job")
    assert len(jobs.next_fires("api job")) == 5
    jobs.remove("api job")
    for verb in (jobs.pause, jobs.resume, jobs.remove, jobs.run_now, jobs.next_fires):
        with pytest.raises(jobs.UnknownJob, match="api job"):
            verb("api job")


def test_the_next_fires_are_told_in_order_before_any_scheduler_has_seen_the_job() -> None:
    jobs.register("berlin", "jobs.note", "0 12 * * *", timezone="Europe/Berlin")
    fires = jobs.next_fires("berlin", 3)
    assert fires == sorted(fires)
    assert {moment.hour for moment in fires} <= {10, 11}
    assert all(moment > datetime.now(UTC) for moment in fires)


def test_run_now_fires_once_paused_or_not_and_leaves_the_schedule_alone(app: Celery) -> None:
    jobs.define(JOB | {"enabled": False})
    fire_id = jobs.run_now("api job")
    assert [fire.pk for fire in tick(app)] == [fire_id]
    fire = Fire.objects.get()
    assert fire.by_hand
    assert fire.status == FireStatus.DISPATCHED
    assert tick(app) == []


def declare(**options: Any) -> None:
    @jobs.job(name="declared", **options)
    def declared() -> None:
        """Do nothing."""


def test_a_declared_job_is_registered_and_keeps_a_persons_edits(app: Celery) -> None:
    declare(cron="*/5 * * * *", retries=3)
    jobs.register_declared()
    task = PeriodicTask.objects.get(name="declared")
    assert task.crontab.minute == "*/5"
    PeriodicTask.objects.filter(pk=task.pk).update(enabled=False, description="mine")
    Schedule.objects.filter(pk=task.pk).update(max_retries=9)
    jobs.register_declared()
    task.refresh_from_db()
    assert (task.enabled, task.description) == (False, "mine")
    assert Schedule.objects.get(pk=task.pk).max_retries == 9


def test_only_what_changes_in_the_code_is_written_again(app: Celery) -> None:
    declare(cron="*/5 * * * *", retries=3)
    jobs.register_declared()
    Schedule.objects.update(max_retries=9)
    declare(cron="*/10 * * * *", retries=3)
    jobs.register_declared()
    task = PeriodicTask.objects.get(name="declared")
    assert task.crontab.minute == "*/10"
    assert Schedule.objects.get(pk=task.pk).max_retries == 9


def test_a_job_kept_by_hand_is_left_as_it_is(
    make: Callable[..., PeriodicTask], app: Celery
) -> None:
    task = make("declared")
    apply_all_changes()
    Schedule.objects.filter(pk=task.pk).update(definition=None)
    before = row("declared")
    declare(cron="*/5 * * * *")
    jobs.register_declared()
    assert row("declared")["interval_id"] == before["interval_id"]


def test_a_declared_job_that_cannot_be_kept_is_named_and_stops_no_other(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    bad: dict[str, dict[str, Any]] = {
        "minute": {"cron": "61 * * * *"},
        "never": {"cron": "0 0 31 2 *"},
        "zone": {"cron": "* * * * *", "timezone": "Mars/Base"},
        "huge": {"every": 1e300},
        "unknown key": {"every": 60, "surprise": 1},
        "typed JSON": {"every": 60, "kwargs": {"x": {"__type__": "datetime", "__value__": 5}}},
        "not JSON": {"every": 60, "kwargs": {"x": object()}},
    }
    for name, definition in {"before": {"every": 60}, **bad, "after": {"every": 60}}.items():
        jobs.job(name=name, **definition)(app.tasks["jobs.note"])
    jobs.register_declared()
    assert {*PeriodicTask.objects.values_list("name", flat=True)} == {"before", "after"}
    assert [name for name in bad if name not in caplog.text] == []
