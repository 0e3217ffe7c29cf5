"""What only the redis backend has: one slot of a cluster, restarts, outages, Django beside it."""

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.conf import settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from scheduling import chosen_backend, jobs, leases
from scheduling.backends.redis import RedisBackend, Scheduler
from scheduling.models import Fire, FireStatus
from tests.integration.scheduling.jobs_app import RUNS
from tests.servers.processes import Processes
from tests.servers.redis import RedisServer

DEFINITION = {"name": "job", "handler": "jobs.note", "schedule": {"every": 3600}}


def test_all_keys_are_in_one_slot_of_a_cluster(app: Celery) -> None:
    backend = RedisBackend(settings.BROKER_URL, "mine:")
    backend.save(DEFINITION)
    backend.run_now("job")
    backend.announce("a scheduler")
    assert backend.acquire("work", "me", leases.TTL) is not None
    keys: Any = backend.store._client.keys("*")
    assert len(keys) >= 9
    assert {key.partition("{scheduling}:")[0] for key in keys} == {"mine:"}


def test_the_name_of_a_concurrency_key_is_forgotten_when_it_is_used_no_more(app: Celery) -> None:
    backend = RedisBackend(settings.BROKER_URL, "keys:")
    backend.save({**DEFINITION, "overlap": "skip", "concurrency_key": "shop"})
    store, now = backend.store, backend.now()

    def names() -> list[Any]:
        kept: Any = store._client.hkeys(store._keys)
        return list(kept)

    backend.run_now("job")
    store.forget_keys(now + timedelta(hours=23))
    assert names() == ["concurrency:shop"]
    store.forget_keys(now + timedelta(hours=25))
    assert names() == []
    backend.run_now("job")  # the run before goes on, so it decides nothing
    assert [fire.status for fire in backend.fires("job")] == ["skipped_overlap", "claimed"]


def test_what_was_answered_survives_the_death_of_redis(
    redis_server: RedisServer, app: Celery
) -> None:
    backend = RedisBackend(redis_server.url)
    backend.save(DEFINITION)
    key = backend.run_now("job")
    redis_server.kill()
    redis_server.start()
    backend.tick(app)
    assert [fire.id for fire in backend.fires("job")] == [key]
    assert backend.begin(key, "worker") == 1
    redis_server.kill()
    redis_server.start()
    assert backend.begin(key, "another") is None


def test_a_document_that_cannot_be_read_costs_itself(
    redis_server: RedisServer, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_allowed", {"jobs.note"})
    backend = RedisBackend(redis_server.url)
    client, store = backend.store._client, backend.store
    broken = ["7 {bad", "x", "", "7", "7 null", '7 {"name": 5}', '7 {"created_at": "infinity"}']
    with chosen_backend.using(backend):
        for number in range(len(broken)):
            jobs.register(f"bad {number}", "jobs.note", 3600)
            jobs.register(f"bad fire {number}", "jobs.note", 3600)
        jobs.register("good", "jobs.note", 3600)
        fires = [jobs.run_now(f"bad fire {number}") for number in range(len(broken))]
        long_ago = dict.fromkeys(jobs.names(), 0.0)
        client.zadd(store._due, {**long_ago, "good": 0.0})
        for number, text in enumerate(broken):
            client.hset(store._jobs, f"bad {number}", text)
            client.hset(store._fires, str(fires[number]), text)
        run = jobs.run_now("good")
        for _ in range(5):
            wait = backend.tick(app)
        assert wait > 0, "what cannot be read is looked at again and again"
        assert jobs.fires("good")[0].status == FireStatus.DISPATCHED
        assert run in {fire.id for fire in jobs.fires("good")}
        for number, fire in enumerate(fires):
            job = jobs.get(f"bad {number}")
            assert "cannot be read" in job.quarantine_reason
            ended = backend.fire(fire)
            assert ended is not None
            assert "cannot be read" in ended.error
            jobs.register(job.name, "jobs.note", 3600)
            assert jobs.next_fires(job.name)  # defined anew, it goes on
        assert backend.figures(leases.TTL).quarantined == 0


def test_what_another_process_ends_or_pauses_between_two_reads_is_left_alone(
    redis_server: RedisServer, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = RedisBackend(redis_server.url)
    store = backend.store
    backend.save(DEFINITION)
    key = backend.run_now("job")
    read_until = store._until
    seen = {store._due: ["job"], store._look: [str(key)]}  # as they are when both are due

    def read_as_they_move_on(of: str, *args: Any) -> list[str]:
        if fire := backend.fire(key):
            backend.cancel(fire.id, "somebody else was quicker")
        backend.pause("job")
        return [*read_until(of, *args), *seen.pop(of, [])]

    monkeypatch.setattr(store, "_until", read_as_they_move_on)
    for _ in range(3):
        backend.tick(app)
    assert [fire.status for fire in backend.fires("job")] == [FireStatus.CANCELLED]
    assert backend.job("job").next_fire_at is None


def test_a_scheduler_says_an_outage_once_and_goes_on(
    redis_server: RedisServer, app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    class Elsewhere(Scheduler):
        def make_backend(self) -> RedisBackend:
            return RedisBackend(redis_server.url)

    scheduler = Elsewhere(app)
    redis_server.stop()
    with caplog.at_level(logging.WARNING):
        assert [scheduler.tick() for _ in range(3)] == [1.0] * 3
    assert caplog.text.count("redis_away") == 1
    redis_server.start()
    with caplog.at_level(logging.WARNING):
        assert scheduler.tick() <= 0.5
    assert caplog.text.count("redis_back") == 1


@pytest.mark.django_db(transaction=True)
def test_jobs_in_redis_run_beside_the_schedules_in_the_database(
    processes: Processes, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    runs = tmp_path / "runs"
    runs.touch()
    processes.env |= {RUNS: str(runs), "SCHEDULING_BACKEND": "redis"}
    interval = IntervalSchedule.objects.create(every=1, period="seconds")
    row = {"name": "row", "task": "jobs.note", "args": '["database"]', "interval": interval}
    PeriodicTask.objects.create(**row)
    backend = RedisBackend(settings.BROKER_URL)
    with chosen_backend.using(backend):
        jobs.allow("jobs.note")
        jobs.register("in redis", "jobs.note", 1, args=["redis"])
    app = "tests.integration.scheduling.jobs_app"
    processes.start("beat", "celery", "-A", app, "beat", "-l", "info")
    processes.start("worker", "celery", "-A", app, "worker", "-c", "1", "-Q", "jobs")
    wait_until(lambda: {"database", "redis"} <= set(runs.read_text().split()))
    wait_until(lambda: any(fire.status == "succeeded" for fire in backend.fires("in redis")))
    wait_until(Fire.objects.filter(status=FireStatus.SUCCEEDED).exists)
