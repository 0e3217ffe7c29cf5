"""What the tests of an outage share."""

from collections.abc import Callable

import pytest
from kombu.connection import Connection

from config import celery_app
from notifications.queueing.publisher import DELIVER_DUE_TASK
from tests.servers.redis import RedisServer


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
