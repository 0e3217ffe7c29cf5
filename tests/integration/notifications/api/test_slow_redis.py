"""A call does not wait for a late Redis with each question: the sweep does the rest."""

import time
from typing import Any

import httpx
import pytest

from notifications.models import Notification
from notifications.queueing import patience, publisher
from tests.servers.processes import Processes
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer

EACH_WAY = 0.2  # seconds


def test_a_call_does_not_wait_for_a_slow_redis_with_each_question(
    processes: Processes, redis_server: RedisServer, key: str
) -> None:
    with Proxy(redis_server.port) as proxy:
        _, address = processes.web(
            BROKER_URL=f"redis://127.0.0.1:{proxy.port}/0", REDIS_URL="", OUTBOX="1"
        )
        proxy.delay = EACH_WAY
        body: Any = {"channel": "simulator", "recipient": "ada", "body": "Hello"}
        headers = {"Authorization": f"Bearer {key}"}
        asked = []
        with httpx.Client(base_url=address, headers=headers, trust_env=False, timeout=30) as api:
            for _ in range(4):
                time.sleep(0.2)  # so that the broker's queue is looked at anew
                before = proxy.answers
                assert api.post("/api/v1/notifications", json=body).status_code == 201
                asked.append(proxy.answers - before)
    # To count the key, and how many wait on the broker: a third would be beyond what a call waits.
    assert max(asked) <= 2, asked
    assert Notification.objects.count() == 4


def test_a_thread_that_has_waited_enough_asks_no_broker_until_its_block_ends() -> None:
    with patience.waiting_at_most(60.0):
        with patience.counted():
            time.sleep(0.06)
        assert not patience.is_over()
    with patience.waiting_at_most(0.05):
        assert not patience.is_over()
        with patience.counted():
            time.sleep(0.06)
        assert patience.is_over()
        with patience.waiting_at_most(9.0):
            assert patience.is_over()
        with pytest.raises(publisher.BrokerAway, match="long enough"):
            publisher.publish_due([("simulator.medium", 1, 1)])
    assert not patience.is_over()
    assert publisher.publish_due([("simulator.medium", 1, 1)]) == 1
