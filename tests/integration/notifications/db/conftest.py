"""What the tests of an outage share."""

from collections.abc import Callable
from typing import Any

import pytest
from kombu.connection import Connection

from config import celery_app
from notifications.queueing.publisher import DELIVER_DUE_TASK
from tests.integration.notifications.db.broken_database import Database
from tests.servers.postgres import PostgresServer
from tests.servers.processes import Processes
from tests.servers.redis import RedisServer


@pytest.fixture
def database(migrated_postgres_server: PostgresServer) -> Database:
    return Database(migrated_postgres_server)


@pytest.fixture
def system(processes: Processes, redis_server: RedisServer, database: Database) -> Any:
    processes.env |= {
        "DATABASE_URL": database.url,
        "BROKER_URL": redis_server.url,
        "NOTIFICATIONS_PICKUP_GRACE": "1",
    }
    return processes


@pytest.fixture
def knock(redis_server: RedisServer) -> Callable[..., None]:
    """Have a worker look for due rows of the simulator's queue of a priority."""

    def knock(priority: str) -> None:
        with Connection(redis_server.url) as connection:
            celery_app.send_task(
                DELIVER_DUE_TASK,
                kwargs={"channel": "simulator", "priority": priority, "limit": 1},
                queue=f"simulator.{priority}",
                connection=connection,
            )

    return knock
