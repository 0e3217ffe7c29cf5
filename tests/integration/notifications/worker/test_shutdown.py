"""A worker ends by SIGTERM even while its main process does nothing."""

import os

from tests.servers.process import wait_until
from tests.servers.processes import Processes
from tests.servers.redis import RedisServer

APP = "tests.integration.notifications.worker.blocked_app"


def test_a_blocked_worker_ends_with_its_pool_after_its_grace(
    processes: Processes, redis_server: RedisServer
) -> None:
    worker = processes.start(
        "worker",
        *("celery", "-A", APP, "worker", "-c", "2"),
        BROKER_URL=redis_server.url,
        WORKER_SHUTDOWN_GRACE="0.1",
    )
    worker.wait_for_output("blocked")
    os.kill(worker.pid, 15)
    assert worker.wait(60) == os.EX_SOFTWARE
    assert "worker_ended_hard" in worker.output()
    wait_until(lambda: not _group_is_alive(worker.pid), 30, "The pool is still there")


def _group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
