"""A Redis that answers with errors is waited out like a silent one, and work resumes by itself."""

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis

from notifications.models import Notification, Status
from notifications.submission import send
from tests.servers.process import free_port, wait_until
from tests.servers.processes import Processes, RunningProcess
from tests.servers.redis import RedisServer

ADMIN = ("admin", "nobody knows")


class Broker:
    """A Redis that is put into each state by an administrator, who may do so in any state."""

    def __init__(self, server: Any) -> None:
        self._server = server
        with server.client() as client:
            client.execute_command(
                *("ACL", "SETUSER", ADMIN[0], "on", f">{ADMIN[1]}", "~*", "&*", "+@all")
            )
        self.admin = redis.Redis(
            port=server.port, username=ADMIN[0], password=ADMIN[1], socket_timeout=10
        )

    def do(self, *commands: str) -> None:
        for command in commands:
            self.admin.execute_command(*command.split())

    def fail_to_save(self) -> None:
        """A folder where the file belongs: as root there is no folder that cannot be written."""
        (self._server.folder / "dump.rdb").mkdir()
        self.admin.config_set("save", "3600 1")
        self.admin.bgsave()
        wait_until(lambda: self.admin.info()["rdb_last_bgsave_status"] == "err")

    def save(self) -> None:
        (self._server.folder / "dump.rdb").rmdir()
        self.admin.config_set("save", "")
        self.admin.bgsave()


@pytest.fixture
def broker(redis_server: RedisServer) -> Iterator[Broker]:
    made = Broker(redis_server)
    yield made
    made.admin.config_set("save", "")  # it would not end without


def _states(broker: Broker) -> dict[str, tuple[Callable[[], None], Callable[[], None]]]:
    nobody = free_port()
    return {
        "OOM": (
            lambda: broker.do("CONFIG SET maxmemory 1"),
            lambda: broker.do("CONFIG SET maxmemory 0"),
        ),
        "READONLY": (
            lambda: broker.do(f"REPLICAOF 127.0.0.1 {nobody}"),
            lambda: broker.do("REPLICAOF NO ONE"),
        ),
        "MASTERDOWN": (
            lambda: broker.do(
                "CONFIG SET replica-serve-stale-data no", f"REPLICAOF 127.0.0.1 {nobody}"
            ),
            lambda: broker.do("REPLICAOF NO ONE", "CONFIG SET replica-serve-stale-data yes"),
        ),
        "NOPERM": (
            lambda: broker.do("ACL SETUSER default -@all"),
            lambda: broker.do("ACL SETUSER default +@all"),
        ),
        "NOAUTH": (
            lambda: broker.do("CONFIG SET requirepass secret", "CLIENT KILL USER default"),
            lambda: broker.do("ACL SETUSER default nopass"),
        ),
        "MISCONF": (broker.fail_to_save, broker.save),
    }


def test_every_error_that_redis_answers_is_waited_out(
    processes: Processes, redis_server: RedisServer, broker: Broker, knock: Callable[..., None]
) -> None:
    processes.env |= {
        "BROKER_URL": redis_server.url,
        "REDIS_URL": redis_server.url,
        "NOTIFICATIONS_PICKUP_GRACE": "1",
    }
    beat, worker = processes.beat(), processes.worker("-c", "1")
    for rounds, (code, (begin, end)) in enumerate(_states(broker).items(), 1):
        os.kill(worker.pid, signal.SIGSTOP)
        knock("low")  # what the worker finds when it wakes up, and cannot take
        begin()
        os.kill(worker.pid, signal.SIGCONT)
        # Our own broker is another: these are found by the sweep alone, as after a lost message.
        accepted = [send(channel="simulator", recipient="ada", body=code).id for _ in range(3)]
        for process in (beat, worker):
            said = partial(_count, process, "broker_away")
            wait_until(lambda: said() == rounds, 30, f"{process.name} said nothing of {code}")  # noqa: B023 -- called within the round
        end()
        sent = Notification.objects.filter(id__in=accepted, status=Status.SENT)
        wait_until(lambda: sent.count() == 3, 30, f"Not resumed after {code}")  # noqa: B023 -- called within the round
        for process in (beat, worker):
            said = partial(_count, process, "broker_back")
            wait_until(lambda: said() == rounds, 30, f"{process.name}: no end of {code}")  # noqa: B023 -- called within the round
            assert process.returncode is None, code
    for process in (beat, worker):
        assert process.first_traceback() == ""
        assert "DeprecationWarning" not in process.output()


def test_a_worker_that_may_not_greet_the_others_waits_for_its_permission(
    processes: Processes, redis_server: RedisServer, broker: Broker
) -> None:
    processes.env |= {
        "BROKER_URL": redis_server.url,
        "REDIS_URL": redis_server.url,
        "NOTIFICATIONS_PICKUP_GRACE": "1",
    }
    processes.beat()
    worker = processes.worker("-c", "1")
    broker.do("ACL SETUSER default -publish", "ACL LOG RESET", "CLIENT KILL TYPE normal SKIPME yes")

    def has_tried_again() -> bool:
        denied = [entry for entry in broker.admin.acl_log() if entry["object"] == "publish"]
        return sum(int(str(entry["count"])) for entry in denied) > 5

    try:
        wait_until(has_tried_again, 60, "It has published nothing")
    finally:
        broker.do("ACL SETUSER default +publish")
    accepted = send(channel="simulator", recipient="ada", body="Hello").id
    sent = Notification.objects.filter(id=accepted, status=Status.SENT)
    wait_until(sent.exists, 30, "Not resumed")
    assert worker.returncode is None
    assert worker.first_traceback() == ""


def _count(process: RunningProcess, text: str) -> int:
    return process.output().count(text)
