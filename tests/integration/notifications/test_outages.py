"""The broker or the database goes away, a worker is told to stop: nothing accepted is lost."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.notifications.db.broken_database import SENT
from tests.servers.postgres import PostgresServer
from tests.servers.processes import Processes
from tests.servers.redis import RedisServer

SUBMIT = """
import django; django.setup()
from notifications.submission import send
for n in range({count}):
    send(channel="simulator", recipient="ada{how}", body="Hello", priority="low")
print("accepted")
"""
ATTEMPTS = "SELECT count(*) FROM notifications_attempt"


@pytest.fixture
def system(
    processes: Processes,
    redis_server: RedisServer,
    migrated_postgres_server: PostgresServer,
    tmp_path: Path,
) -> Any:
    """Processes on a broker and a database of their own, which may be taken away."""
    processes.env |= {
        "DATABASE_URL": migrated_postgres_server.url,
        "BROKER_URL": redis_server.url,
        "BROKER_TIMEOUT": "0.8",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "NOTIFICATIONS_PICKUP_GRACE": "1",
        "NOTIFICATIONS_LEASE": "5",
        "NOTIFICATIONS_PROVIDER_TIMEOUT": "2",
        "NOTIFICATIONS_BATCH_TIME_LIMIT": "2",
        "SIMULATOR": f"record={tmp_path / 'simulated.log'}",
    }
    return processes


@pytest.fixture
def submit(system: Any) -> Callable[..., Any]:
    """Accept so many from a process of its own; ``how`` is the simulator's behaviour."""
    return lambda count, how="": system.run(
        "submit", "python", "-c", SUBMIT.format(count=count, how=how)
    )


@pytest.fixture
def count(migrated_postgres_server: PostgresServer) -> Callable[..., int]:
    def count(sql: str) -> int:
        try:
            with psycopg.connect(migrated_postgres_server.url, connect_timeout=2) as connection:
                row = connection.execute(sql).fetchone()
                return int(row[0]) if row else 0
        except psycopg.OperationalError:
            return -1

    return count


def test_what_was_accepted_without_a_broker_is_sent_once_it_returns(
    system: Any,
    submit: Callable[..., Any],
    count: Callable[..., int],
    redis_server: RedisServer,
    wait_until: Callable[..., Any],
) -> None:
    system.beat()
    system.worker()
    redis_server.stop()
    assert "accepted" in submit(5)
    redis_server.start()
    wait_until(lambda: count(SENT) == 5)
    assert count(ATTEMPTS) == 5


def test_a_broker_that_hangs_does_not_hold_up_the_door(
    system: Any,
    submit: Callable[..., Any],
    count: Callable[..., int],
    redis_server: RedisServer,
    wait_until: Callable[..., Any],
) -> None:
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        assert "accepted" in submit(5)
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    system.beat()
    system.worker()
    wait_until(lambda: count(SENT) == 5)


def test_without_a_database_nothing_is_half_accepted_and_workers_resume_by_themselves(
    system: Any,
    submit: Callable[..., Any],
    count: Callable[..., int],
    migrated_postgres_server: PostgresServer,
    wait_until: Callable[..., Any],
) -> None:
    system.beat()
    system.worker()
    submit(3)
    wait_until(lambda: count(SENT) == 3)
    migrated_postgres_server.stop()
    with pytest.raises(RuntimeError, match="OperationalError"):
        submit(1)
    migrated_postgres_server.start()
    submit(4)
    wait_until(lambda: count(SENT) == 7)
    assert count(ATTEMPTS) == 7


def test_sigterm_finishes_what_is_being_sent_and_gives_the_rest_back(
    system: Any,
    submit: Callable[..., Any],
    count: Callable[..., int],
    wait_until: Callable[..., Any],
    tmp_path: Path,
) -> None:
    system.beat()
    first = system.worker("-c", "1", NOTIFICATIONS_BATCH_TIME_LIMIT="1")
    submit(400, how="?latency=0.5")  # the simulator takes 64 at once
    wait_until((tmp_path / "simulated.log").exists)
    first.terminate()
    assert first.wait() == 0
    recorded = len((tmp_path / "simulated.log").read_text().split())
    assert count(SENT) == recorded < 400
    system.worker()
    wait_until(lambda: count(SENT) == 400)
    ids = (tmp_path / "simulated.log").read_text().split()
    assert len(ids) == len(set(ids)) == 400


def test_a_second_sigterm_hurries(
    system: Any,
    submit: Callable[..., Any],
    count: Callable[..., int],
    wait_until: Callable[..., Any],
) -> None:
    system.beat()
    system.env |= {"NOTIFICATIONS_PROVIDER_TIMEOUT": "900", "NOTIFICATIONS_LEASE": "999"}
    worker = system.worker("-c", "1")
    submit(1, how="?result=hang")
    wait_until(
        lambda: count("SELECT count(*) FROM notifications_notification WHERE status='sending'") == 1
    )
    worker.terminate()
    worker.wait_for_output("Warm shutdown")
    worker.terminate()
    worker.wait()  # the hanging provider has a quarter of an hour
    assert count(SENT) == 0
