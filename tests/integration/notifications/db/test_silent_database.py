"""A Postgres whose processes stand still: what its clients leave behind while they wait for it."""

import time
from typing import Any

import psutil
import psycopg
import pytest

from tests.integration.notifications.db.broken_database import SENT
from tests.servers.postgres import PostgresServer
from tests.servers.process import suspended, wait_until
from tests.servers.processes import Processes, RunningProcess
from tests.servers.redis import RedisServer

SEND = """
import django; django.setup()
from notifications.submission import send
send(channel="simulator", recipient="ada", body="Hello")
"""
SILENT_FOR = 24  # seconds: the attempts to connect of four to eight timeouts


@pytest.fixture
def system(
    processes: Processes, redis_server: RedisServer, migrated_postgres_server: PostgresServer
) -> Any:
    processes.env |= {
        "DATABASE_URL": migrated_postgres_server.url,
        "BROKER_URL": redis_server.url,
        "NOTIFICATIONS_PICKUP_GRACE": "1",
    }
    return processes


def sockets(process: RunningProcess, port: int) -> dict[int, int]:
    """Count the open sockets to a port, of a process and of each of its children."""
    main = psutil.Process(process.pid)
    counts = {}
    for member in [main, *main.children(recursive=True)]:
        found = member.net_connections("tcp")
        counts[member.pid] = sum(
            bool(socket_.raddr) and socket_.raddr.port == port for socket_ in found
        )
    return counts


def test_no_attempt_to_connect_is_left_open_to_a_silent_database(
    system: Any, migrated_postgres_server: PostgresServer
) -> None:
    server = migrated_postgres_server
    running = [system.beat(), system.worker("-c", "2")]

    def sent() -> int:
        with psycopg.connect(server.url) as database:
            row = database.execute(SENT).fetchone()
        return int(row[0]) if row else 0

    system.run("send", "python", "-c", SEND)
    wait_until(lambda: sent() == 1)
    before = [sockets(process, server.port) for process in running]
    most: dict[int, int] = {}
    with suspended(server.pid):
        ends = time.monotonic() + SILENT_FOR
        while time.monotonic() < ends:
            time.sleep(0.5)
            for process in running:
                for pid, count in sockets(process, server.port).items():
                    most[pid] = max(most.get(pid, 0), count)
        in_the_end = [sockets(process, server.port) for process in running]
    for earlier, later in zip(before, in_the_end, strict=True):
        assert sum(later.values()) <= sum(earlier.values()), (before, most, in_the_end)
        # One attempt to connect, and one look at whether the server answers those that wait.
        assert all(count <= 2 for count in later.values()), (before, most, in_the_end)
    system.run("send more", "python", "-c", SEND)
    wait_until(lambda: sent() == 2)
    for process in running:
        process.wait_for_output("database_back")
        assert "53300" not in process.output()
