"""A task may do what it likes with its database connection; its run is recorded all the same."""

import os
import random
import sys
from collections.abc import Callable, Iterator

import pytest
from celery import Celery
from django.db import connection
from django.utils import timezone, translation

from scheduling import endings
from scheduling.models import Fire, FireStatus, Schedule
from tests.integration.scheduling.conftest import run_here as run
from tests.integration.scheduling.conftest import tick
from tests.spoiling import harms_of_this_database, sql

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _sound_connection() -> Iterator[None]:
    yield
    connection.close()
    connection.connect()


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process be one of a worker's."""
    monkeypatch.setattr(endings, "_worker", "celery@here")
    monkeypatch.setattr(endings, "_process", os.getpid())


@pytest.fixture
def fired(app: Celery, due: Callable[..., Schedule]) -> Callable[[str], Fire]:
    """Publish a fire of a schedule of that name, and return it."""

    def publish(name: str) -> Fire:
        schedule = due(name, task="jobs.here")
        (fire,) = (fire for fire in tick(app) if fire.schedule_id == schedule.pk)
        return fire

    return publish


def test_a_run_that_spoils_its_connection_is_recorded_as_it_ended(
    fired: Callable[[str], Fire],
) -> None:
    for name, harm in harms_of_this_database().items():
        fire = fired(name)
        run(fire, harm)
        connection.close()  # what was not committed is gone
        connection.connect()
        fire.refresh_from_db()
        assert (name, fire.status, fire.attempt) == (name, FireStatus.SUCCEEDED, 1)
        assert not endings.heartbeat.has(fire.pk)


@pytest.mark.usefixtures("worker")
def test_a_worker_hands_no_session_on(fired: Callable[[str], Fire]) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no settings of a session")
    fire = fired("ascii")
    run(fire, lambda: sql("SET client_encoding TO SQL_ASCII; SET statement_timeout TO 1"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('client_encoding')")
        assert cursor.fetchone() == ("UTF8",)
    fire.refresh_from_db()
    assert fire.status == FireStatus.SUCCEEDED


@pytest.mark.usefixtures("worker")
def test_a_worker_hands_no_settings_of_a_process_on(fired: Callable[[str], Fire]) -> None:
    expected = (timezone.get_current_timezone(), translation.get_language())
    limit = sys.getrecursionlimit()

    def leave() -> None:
        timezone.activate("Asia/Tokyo")
        translation.activate("de")
        sys.setrecursionlimit(limit - 100)
        random.seed(7)

    drawn = random.Random(7).random()
    run(fired("settings"), leave)
    assert (timezone.get_current_timezone(), translation.get_language()) == expected
    assert sys.getrecursionlimit() == limit
    assert random.random() != drawn


@pytest.mark.usefixtures("worker")
def test_a_copy_of_the_process_that_a_task_forks_ends_with_the_task(
    fired: Callable[[str], Fire],
) -> None:
    own = os.getpid()

    def fork() -> None:
        copy = os.fork()
        if not copy:
            sys.exit(3)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]))

    codes: list[int] = []
    fire = fired("forks")
    try:
        run(fire, fork)
    finally:
        if os.getpid() != own:
            os._exit(99)  # a copy that went on
    fire.refresh_from_db()
    assert (codes, fire.status, fire.attempt) == ([3], FireStatus.SUCCEEDED, 1)


def test_a_run_begins_though_an_earlier_task_spoilt_the_connection(
    fired: Callable[[str], Fire],
) -> None:
    for name, harm in harms_of_this_database().items():
        fire, ran = fired(name), []
        harm()
        # Where not even Celery could begin it, it is given back, and published once more.
        for _ in range(2):
            run(fire, lambda: ran.append(1))  # noqa: B023 -- it is called in this round
        connection.close()
        connection.connect()
        fire.refresh_from_db()
        assert (name, fire.status, ran) == (name, FireStatus.SUCCEEDED, [1])
