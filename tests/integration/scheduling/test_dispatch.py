"""Claimed fires are published, by their guarantee, whatever breaks in between."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import redis
from celery import Celery, Task
from django.conf import settings
from django.db import connection
from kombu.messaging import Producer

from scheduling import claims, conditions, dispatch, ledger, recovery
from scheduling.clock import database_now
from scheduling.models import Fire, FireStatus, Schedule
from scheduling.scheduler import Scheduler
from tests.integration.scheduling.conftest import lease_ends, queued_messages, tick
from tests.locks import end_session
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.django_db(transaction=True)

Due = Callable[..., Schedule]

OWN_HEADERS = ("scheduling_fire", "periodic_task_name", "celery_beat_task", "scheduled_for")


def only_fire() -> Fire:
    return Fire.objects.get()


def message(queue: str = "jobs", position: int = 0) -> dict[str, Any]:
    """Read a message; number 0 is the newest."""
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        sent: dict[str, Any] = json.loads(broker.lindex(queue, position))
    return sent


def test_a_fire_is_published_under_its_own_id_with_the_rows_options(due: Due, app: Celery) -> None:
    due(
        args='["a"]',
        headers='{"tenant": "blue"}',
        policy={"timeout_seconds": 30},
        expire_seconds=600,
    )
    tick(app)
    sent, fire = message()["headers"], only_fire()
    assert fire.status == FireStatus.DISPATCHED
    assert sent["id"] == sent["scheduling_fire"] == str(fire.pk)
    assert (sent["tenant"], sent["periodic_task_name"]) == ("blue", "job")
    assert sent["timelimit"] == [35.0, 30]
    assert sent["expires"] is not None


@pytest.mark.parametrize(
    "task",
    [
        {},
        {"args": '["a"]', "kwargs": "{}", "priority": 3, "queue": "email.low"},
        {"expire_seconds": 600},
        {"task": "elsewhere.task", "kwargs": '{"n": 1}', "headers": '{"tenant": "blue"}'},
    ],
)
def test_a_fire_is_published_as_apply_async_would_publish_it(
    due: Due, app: Celery, task: dict[str, Any]
) -> None:
    row = due(**task).periodic_task
    tick(app)
    queue = task.get("queue", "jobs")
    options = {name: task[name] for name in ("priority", "queue") if name in task}
    known = app.tasks.get(row.task)
    publish = known.apply_async if known else partial(app.send_task, row.task)
    publish(
        json.loads(row.args),
        json.loads(row.kwargs),
        task_id=str(only_fire().pk),
        expires=row.expire_seconds,
        headers={name: message(queue)["headers"][name] for name in OWN_HEADERS}
        | json.loads(row.headers),
        **options,
    )
    assert queued_messages(queue) == 2
    sent, expected = message(queue, -1), message(queue, 0)
    for raw in (sent, expected):
        del raw["properties"]["delivery_tag"]
        expires = raw["headers"].pop("expires")  # counted from the moment of its sending
        assert bool(expires) == bool(row.expire_seconds)
    # Nothing of a job's arguments is shown to who watches.
    expected["headers"] |= {"argsrepr": "", "kwargsrepr": ""}
    assert sent == expected


def test_arguments_that_do_not_fit_the_task_fail_the_fire_with_the_reason(
    due: Due, app: Celery
) -> None:
    due(args='["a", "b", "c"]')
    tick(app)
    assert only_fire().status == FireStatus.FAILED
    assert "positional arguments" in only_fire().error


def test_a_task_that_is_sent_in_a_way_of_its_own_is_sent_that_way(due: Due, app: Celery) -> None:
    sent: list[tuple[Any, ...]] = []

    class Announced(Task):  # type: ignore[misc]  # celery is untyped
        name = "jobs.announced"

        def apply_async(self, *arguments: Any, **options: Any) -> None:
            sent.append(arguments)

    app.register_task(Announced())
    due(task="jobs.announced", args="[1]")
    tick(app)
    assert sent == [([1], {})]
    assert only_fire().status == FireStatus.DISPATCHED


def test_a_schedules_own_queue_is_honoured(due: Due, app: Celery) -> None:
    due(queue="email.low")
    tick(app)
    assert queued_messages("email.low") == 1


def test_a_fire_of_a_scheduler_that_died_before_publishing_is_published_by_another(
    due: Due, app: Celery
) -> None:
    due()
    claims.claim_due(database_now())  # and then it dies
    assert tick(app) == []
    lease_ends()
    tick(app)
    assert only_fire().status == FireStatus.DISPATCHED
    assert queued_messages() == 1


def test_a_fire_published_twice_is_run_once(due: Due, app: Celery) -> None:
    due()
    fires = claims.claim_due(database_now())
    dispatch.publish(app, fires)
    Fire.objects.update(status=FireStatus.CLAIMED)  # it died before it could write so
    lease_ends()
    tick(app)
    assert queued_messages() == 2
    fire = only_fire()
    assert ledger.begin(fire.pk, "a") == 1
    assert ledger.begin(fire.pk, "b") is None
    ledger.succeed(fire.pk, 1)
    assert ledger.begin(fire.pk, "b") is None


def test_at_most_once_marks_before_it_publishes_and_never_repeats(
    due: Due, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    due(policy={"guarantee": "at_most_once"})

    def die(*_: object, **__: object) -> None:
        assert only_fire().status == FireStatus.DISPATCHED
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Producer, "publish", die)
        with pytest.raises(KeyboardInterrupt):
            tick(app)
    lease_ends()
    tick(app)
    assert only_fire().status == FireStatus.LOST
    assert queued_messages() == 0


def nothing() -> None:
    """Do nothing."""


def test_during_a_broker_outage_fires_stay_claimed_and_go_out_on_return(
    due: Due, redis_server: RedisServer
) -> None:
    app = Celery("outage", broker=redis_server.url, set_as_current=False)
    app.conf.task_default_queue = "jobs"
    app.task(name="outage.note", shared=False)(nothing)
    due("least once", task="outage.note")
    due("most once", task="outage.note", policy={"guarantee": "at_most_once"})
    redis_server.kill()
    tick(app)
    assert set(Fire.objects.values_list("status", flat=True)) == {FireStatus.CLAIMED}
    redis_server.start()
    lease_ends()
    tick(app)
    assert set(Fire.objects.values_list("status", flat=True)) == {FireStatus.DISPATCHED}
    with redis_server.client() as broker:
        assert broker.llen("jobs") == 2


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="it has no server")
def test_a_database_that_goes_away_in_mid_tick_costs_no_fire(due: Due, app: Celery) -> None:
    backends: list[int] = [connection.connection.info.backend_pid]

    @conditions.register("test.database_goes_away")
    def go_away(*_: object) -> bool:
        while backends:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(end_session, backends.pop()).result(30)
        return True

    for name in ("one", "two"):
        due(name, policy={"condition": "test.database_goes_away"})
    scheduler = Scheduler(app=app, lazy=True)
    assert scheduler.tick() > 0
    assert set(Fire.objects.values_list("status", flat=True)) == {FireStatus.CLAIMED}
    lease_ends()
    while scheduler.tick() == 0:
        pass
    scheduler.close()
    assert list(Fire.objects.values_list("status", flat=True)) == [FireStatus.DISPATCHED] * 2
    assert queued_messages() >= 2  # a message that comes twice is refused


def test_after_a_long_outage_the_misfire_policy_decides(due: Due, app: Celery) -> None:
    latest = due("latest", 0.1)
    everything = due("all", 0.1, {"misfire": "all"})
    now = database_now()
    for schedule in (latest, everything):
        for seconds in (90, 60, 30):
            moment = now - timedelta(seconds=seconds)
            Fire.objects.create(schedule=schedule, scheduled_for=moment, fire_at=moment, due_at=now)
    recovered = recovery.recover(database_now())
    assert sorted(fire.schedule_id for fire in recovered) == [latest.pk] + [everything.pk] * 3
    skipped = Fire.objects.filter(status=FireStatus.SKIPPED_MISFIRE)
    assert set(skipped.values_list("schedule_id", flat=True)) == {latest.pk}


def test_what_can_never_be_published_fails_with_its_reason_and_stops_no_other(
    due: Due, app: Celery
) -> None:
    bad = due("bad", queue="there-is-no-such-queue")
    good = due("good")
    tick(app)
    assert Fire.objects.get(schedule=good).status == FireStatus.DISPATCHED
    failed = Fire.objects.get(schedule=bad)
    assert failed.status == FireStatus.FAILED
    assert "there-is-no-such-queue" in failed.error


def test_a_task_that_is_not_registered_here_is_followed_like_any_other(
    due: Due, app: Celery
) -> None:
    due(task="elsewhere.task")
    tick(app)
    assert only_fire().status == FireStatus.DISPATCHED
    assert message()["headers"]["task"] == "elsewhere.task"


def test_a_task_with_a_durable_door_is_done_when_it_is_accepted(
    due: Due, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[str] = []
    door = app.tasks["jobs.door"]
    monkeypatch.setattr(
        type(door), "apply_async", lambda *_, task_id, **__: accepted.append(task_id)
    )
    due(task="jobs.door")
    tick(app)
    assert only_fire().status == FireStatus.SUCCEEDED
    assert accepted == [str(only_fire().pk)]


@pytest.mark.parametrize(
    ("answer", "status"), [(True, FireStatus.DISPATCHED), (False, FireStatus.SKIPPED_CONDITION)]
)
def test_a_condition_is_asked_at_fire_time(
    due: Due, app: Celery, answer: bool, status: FireStatus
) -> None:
    asked = []

    @conditions.register("test.weather")
    def weather(task: object, scheduled_for: object) -> bool:
        asked.append((task, scheduled_for))
        return answer

    schedule = due(policy={"condition": "test.weather"})
    tick(app)
    assert only_fire().status == status
    assert asked == [(schedule.periodic_task, only_fire().scheduled_for)]


def test_an_unknown_condition_fails_each_fire_by_name_and_is_an_error_once(
    due: Due, app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    due(policy={"condition": "nobody.registered.this"})
    tick(app)
    fire = only_fire()
    assert fire.status == FireStatus.FAILED
    assert "nobody.registered.this" in fire.error
    dispatch.publish(app, [fire, fire])  # as its next fires are
    told = [r.levelname for r in caplog.records if "UnknownCondition" in r.getMessage()]
    assert told == ["ERROR", "INFO", "INFO"]


def test_a_message_that_no_worker_started_is_published_again_by_its_guarantee(
    due: Due, app: Celery
) -> None:
    due("least once")
    due("most once", policy={"guarantee": "at_most_once"})
    tick(app)
    lease_ends()
    tick(app)
    again = Fire.objects.get(schedule__periodic_task__name="least once")
    assert (again.status, again.publishes) == (FireStatus.DISPATCHED, 2)
    assert Fire.objects.get(schedule__periodic_task__name="most once").status == FireStatus.LOST


def test_an_orphaned_run_is_repeated_or_lost_by_its_guarantee(due: Due, app: Celery) -> None:
    due("least once")
    due("most once", policy={"guarantee": "at_most_once"})
    for fire in tick(app):
        assert ledger.begin(fire.pk, "a worker that dies") == 1
    lease_ends()
    tick(app)
    again = Fire.objects.get(schedule__periodic_task__name="least once")
    assert again.status == FireStatus.DISPATCHED
    assert ledger.begin(again.pk, "another") == 2
    lost = Fire.objects.get(schedule__periodic_task__name="most once")
    assert lost.status == FireStatus.LOST
    assert "a worker that dies" in lost.error
    assert ledger.begin(lost.pk, "another") is None


def test_a_failed_run_is_tried_again_after_its_backoff(due: Due, app: Celery) -> None:
    due(policy={"max_retries": 1, "retry_backoff_seconds": 60})
    (fire,) = tick(app)
    ledger.begin(fire.pk, "worker")
    ledger.fail(fire.pk, 1, ValueError("first"))
    waiting = only_fire()
    assert waiting.status == FireStatus.CLAIMED
    assert waiting.due_at is not None
    assert waiting.due_at > database_now() + timedelta(seconds=50)
    assert tick(app) == []
    lease_ends()
    tick(app)
    assert ledger.begin(fire.pk, "worker") == 2
    ledger.fail(fire.pk, 2, ValueError("second"))
    assert (only_fire().status, only_fire().error) == (FireStatus.FAILED, "ValueError: second")
