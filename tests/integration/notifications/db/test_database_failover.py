"""A standby is promoted: processes that were given both addresses go on, with no restart."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.integration.notifications.db.broken_database import SENT
from tests.servers.postgres import PostgresServer, Standby
from tests.servers.processes import Processes
from tests.servers.redis import RedisServer

SUBMIT = """
import django; django.setup()
from notifications.submission import send
for n in range(3):
    send(channel="simulator", recipient="ada", body="Hello")
"""


@pytest.fixture
def standby(migrated_postgres_server: PostgresServer) -> Iterator[Standby]:
    server = Standby(migrated_postgres_server).start()
    yield server
    server.stop()


def test_work_goes_on_at_the_new_primary(
    processes: Processes,
    migrated_postgres_server: PostgresServer,
    standby: Standby,
    redis_server: RedisServer,
    wait_until: Callable[..., Any],
) -> None:
    primary = migrated_postgres_server

    def sent() -> int:
        with psycopg.connect(standby.url) as connection:
            row = connection.execute(SENT).fetchone()
        return int(row[0]) if row else 0

    processes.env |= {
        # The standby first: it takes no writes, so it is passed over.
        "DATABASE_URL": f"postgres://postgres@127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
        "/notifications",
        "BROKER_URL": redis_server.url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "NOTIFICATIONS_PICKUP_GRACE": "1",
    }
    running = [processes.beat(), processes.worker("-c", "1")]
    processes.run("submit", "python", "-c", SUBMIT)
    wait_until(lambda: sent() == 3)
    primary.kill()
    standby.promote()
    processes.run("submit", "python", "-c", SUBMIT)
    wait_until(lambda: sent() == 6)
    for process in running:
        assert process.returncode is None
        assert process.first_traceback() == ""
