"""Workers announce themselves, and are forgotten when they are silent."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from celery import Celery
from django.db import connection
from kombu.entity import Queue

from scheduling import housekeeping, workers
from scheduling.clock import database_now
from scheduling.models import WorkerProcess
from tests.servers.process import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def announcer(app: Celery, *queues: str, hostname: str = "celery@here") -> workers.Announcer:
    consumed = SimpleNamespace(queues=[Queue(name) for name in queues])
    return workers.Announcer(
        SimpleNamespace(
            app=app,
            hostname=hostname,
            task_consumer=consumed if queues else None,
            pool=SimpleNamespace(num_processes=3),
        )
    )


def test_a_worker_is_alive_until_it_is_silent(app: Celery) -> None:
    announcer(app, "jobs", "others").announce()
    [worker] = workers.alive()
    assert (worker.queues, worker.slots) == (["jobs", "others"], 3)
    now = database_now()
    assert workers.alive(now + workers.LIVE) == []
    housekeeping.clean(now + housekeeping.PROCESSES_KEPT + timedelta(seconds=1))
    assert not WorkerProcess.objects.exists()


def test_a_worker_whose_session_has_ended_signs_off_all_the_same(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    announcing = announcer(app, "jobs")
    announcing.start()
    wait_until(workers.alive)
    connection.ensure_connection()
    assert connection.connection is not None
    connection.connection.close()  # as an outage leaves it, unknown to Django
    announcing.stop()
    assert workers.alive() == []
    assert "sign off" not in caplog.text


def test_a_worker_without_its_broker_consumes_nothing(app: Celery) -> None:
    announcer(app).announce()
    assert [worker.queues for worker in workers.alive()] == [[]]


def test_a_task_is_unknown_when_no_living_worker_has_it(app: Celery) -> None:
    tasks = {"jobs.note", "old.module.gone"}
    assert workers.unknown(tasks) == set()  # who knows, without a worker
    announcer(app, "jobs").announce()
    assert workers.unknown(tasks) == {"old.module.gone"}
    assert workers.unknown(tasks, database_now() + workers.LIVE) == set()
