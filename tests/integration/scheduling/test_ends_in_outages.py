"""A run that begins or ends while the database is away runs once, and its end is written."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery import Celery, Task
from celery.app.trace import trace_task
from django.db import connection

from scheduling import endings, ledger, waits
from scheduling.clock import database_now
from scheduling.models import Fire, FireStatus, Schedule
from tests.integration.scheduling.conftest import lease_ends, tick
from tests.locks import end_session
from tests.servers.process import wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor == 'sqlite'", reason="it has no server"),
]

Due = Callable[..., Schedule]
WORKER = "worker@here"
READ_ONLY = {"options": "-c default_transaction_read_only=on"}


@pytest.fixture
def run(app: Celery) -> Iterator[Callable[[Fire], Any]]:
    """Run a fire's message as a worker's process does, in this one."""

    def message(fire: Fire) -> Any:
        name = fire.schedule.periodic_task.task
        headers = {"id": str(fire.pk), "scheduling_fire": str(fire.pk), "hostname": WORKER}
        try:
            request = {**headers, "delivery_info": {}}
            return trace_task(app.tasks[name], str(fire.pk), [], {}, request, app=app).retval
        finally:
            connection.settings_dict = settings
            connection.close()

    settings = connection.settings_dict
    yield message
    endings.heartbeat.write_ends(10)


@pytest.fixture
def read_only_job(app: Celery) -> Iterator[list[str]]:
    """Register the task ``test.read_only``: while it runs, its database becomes read-only.

    So it is to its thread, on its connection and on new ones, until the message is done with.
    """
    ran: list[str] = []

    def work(self: Task) -> None:
        ran.append(self.request.id)
        settings = connection.settings_dict
        connection.settings_dict = settings | {"OPTIONS": settings["OPTIONS"] | READ_ONLY}
        connection.close()

    app.task(name="test.read_only", bind=True)(work)
    yield ran
    del app.tasks["test.read_only"]


@pytest.mark.parametrize(
    ("guarantee", "ended"),
    [("at_least_once", FireStatus.SUCCEEDED), ("at_most_once", FireStatus.LOST)],
)
def test_a_run_that_ends_while_the_database_is_read_only_is_not_run_again(
    due: Due,
    app: Celery,
    run: Callable[[Fire], Any],
    read_only_job: list[str],
    guarantee: str,
    ended: FireStatus,
) -> None:
    due(task="test.read_only", policy={"guarantee": guarantee})
    (fire,) = tick(app)
    run(fire)  # Celery cannot store its result either, and tells of an internal error
    silent = database_now() - waits.HEARTBEAT_LIMIT
    Fire.objects.update(heartbeat_at=silent, due_at=silent + waits.HEARTBEAT_LIMIT)
    tick(app)  # a scheduler suspects the run, but its process is alive
    assert ledger.begin(fire.pk, "another") is None
    lease_ends()
    tick(app)  # it gives the run up; the message comes to the process that still knows its end
    run(fire)
    wait_until(lambda: Fire.objects.get().status == ended)
    assert Fire.objects.get().attempt == 1
    assert read_only_job == [str(fire.pk)]


def test_a_process_that_is_told_to_end_writes_first_how_its_runs_ended(
    due: Due, app: Celery, run: Callable[[Fire], Any], read_only_job: list[str]
) -> None:
    due(task="test.read_only")
    (fire,) = tick(app)
    run(fire)
    endings._on_process_end()
    assert Fire.objects.get().status == FireStatus.SUCCEEDED


@pytest.mark.parametrize("guarantee", ["at_least_once", "at_most_once"])
def test_a_fire_that_was_taken_as_the_session_was_cut_is_still_to_run(
    due: Due, app: Celery, run: Callable[[Fire], Any], guarantee: str
) -> None:
    due(policy={"guarantee": guarantee})
    (fire,) = tick(app)
    with connection.execute_wrapper(CutOnce()):
        run(fire)
    wait_until(lambda: Fire.objects.get().status == FireStatus.CLAIMED)
    assert ledger.begin(fire.pk, "another") == 1


class CutOnce:
    """Ends the session after the first update of a fire."""

    def __init__(self) -> None:
        self.is_cut = False

    def __call__(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        pid = connection.connection.info.backend_pid
        answer = execute(sql, *rest)
        if sql.startswith('UPDATE "scheduling_fire"') and not self.is_cut:
            self.is_cut = True
            with ThreadPoolExecutor(1) as pool:
                pool.submit(end_session, pid).result(30)
        return answer
