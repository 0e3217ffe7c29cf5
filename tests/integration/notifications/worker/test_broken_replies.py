"""A reply of Redis that breaks off, or cannot be read, is an outage like its silence."""

import time
from collections.abc import Iterator

import pytest
import redis
from kombu.connection import Connection
from kombu.pidbox import Mailbox

from config import celery_app
from notifications.models import Notification, Status
from notifications.queueing.publisher import DELIVER_DUE_TASK
from notifications.submission import send
from scheduling import redis_address
from tests.servers.process import wait_until
from tests.servers.processes import Processes, RunningProcess
from tests.servers.proxy import Proxy, Spoil, half, only
from tests.servers.redis import RedisServer

FAULTS: dict[str, Spoil] = {
    "half of a broadcast, then silence": only(b"pidbox", half),
    "half of any reply, then silence": half,
    "no number": lambda _: b":what?\r\n",
    "an error of one that is just starting": lambda _: b"-LOADING Redis is loading the dataset\r\n",
}


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def worker(processes: Processes, proxy: Proxy) -> RunningProcess:
    processes.env |= {
        "BROKER_URL": f"redis://127.0.0.1:{proxy.port}/0",
        "BROKER_TIMEOUT": "2",
        "REDIS_URL": "",
        "NOTIFICATIONS_PICKUP_GRACE": "1",
        "WORKER_SHUTDOWN_GRACE": "1",
    }
    return processes.worker("-c", "1")


def _tell(server: RedisServer) -> None:
    """Have each kind of connection that a worker waits on be answered: tasks and broadcasts."""
    kwargs = {"channel": "simulator", "priority": "medium", "limit": 9}
    with Connection(server.url) as connection:
        celery_app.send_task(
            DELIVER_DUE_TASK, kwargs=kwargs, queue="simulator.medium", connection=connection
        )
        # Not celery_app.control: whatever connection it is given, it asks the app's own broker.
        Mailbox("celery", type="fanout", connection=connection)._broadcast("ping")


def test_a_worker_resumes_after_replies_that_cannot_be_read(
    worker: RunningProcess, proxy: Proxy, redis_server: RedisServer
) -> None:
    for fault, spoil in FAULTS.items():
        proxy.spoil = spoil
        before = proxy.spoilt

        def is_spoilt() -> bool:
            _tell(redis_server)  # again: a worker that has not subscribed yet misses a broadcast
            time.sleep(0.5)
            return proxy.spoilt > before  # noqa: B023 -- called within the round

        wait_until(is_spoilt, 30, fault)
        time.sleep(2)  # so that each connection gets some
        proxy.spoil = None
        accepted = send(channel="simulator", recipient="ada", body=fault).id

        def is_sent() -> bool:
            _tell(redis_server)
            time.sleep(1)
            return Notification.objects.filter(id=accepted, status=Status.SENT).exists()  # noqa: B023 -- called within the round

        wait_until(is_sent, 30, fault)
        assert worker.returncode is None, fault
    assert "broker_away" in worker.output()
    assert worker.first_traceback() == ""


def test_a_reply_without_its_number_breaks_the_connection_of_our_own_client_too(
    proxy: Proxy,
) -> None:
    address = redis_address.read(f"redis://127.0.0.1:{proxy.port}/0")
    with address.client(socket_timeout=30) as client:
        assert client.incr("n") == 1
        proxy.spoil = FAULTS["no number"]
        with pytest.raises(redis.ConnectionError):
            client.incr("n")
