"""What Redis refuses to write of the messages that a worker has taken is written later."""

import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.messaging import Consumer

from config import celery_app
from notifications.queueing import publisher
from notifications.worker import unacked
from scheduling import outages, watch
from scheduling.watch import Watch
from tests.integration.scheduling.jobs_app import RUNS
from tests.servers.process import wait_until
from tests.servers.processes import Processes
from tests.servers.redis import RedisServer

PREFETCH = 2
QUEUE = Queue("refused", Exchange("refused"), routing_key="refused")
APP = "tests.integration.scheduling.jobs_app"


@pytest.fixture(autouse=True)
def _nothing_is_owed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(unacked, "owed", unacked.Owed())
    monkeypatch.setattr(watch, "QUIET", 0.0)
    its_watch = Watch(outages.BROKER, lambda: None, "it is a test")
    monkeypatch.setattr(publisher, "watch", its_watch)
    yield
    wait_until(lambda: its_watch.outage is None)  # and its thread has ended


@contextmanager
def _refusing(server: Any, begin: str = "CONFIG SET maxmemory 1") -> Iterator[None]:
    """Have a Redis answer each write with an error."""
    with server.client() as client:
        client.execute_command(*begin.split())
        try:
            yield
        finally:
            client.execute_command("CONFIG", "SET", "maxmemory", "0")
            client.execute_command("REPLICAOF", "NO", "ONE")


class Taker:
    """A connection that takes up to two messages, as a worker does."""

    def __init__(self, server: Any) -> None:
        self.taken: dict[str, list[Any]] = {}
        self.connection = Connection(server.url)
        self._consumer = Consumer(self.connection, [QUEUE], on_message=self._take)
        self._consumer.qos(prefetch_count=PREFETCH)
        self._consumer.consume()

    def _take(self, message: Any) -> None:
        self.taken.setdefault(message.payload, []).append(message)

    def look(self) -> None:
        with suppress(socket.timeout):
            self.connection.drain_events(timeout=0.2)

    def take(self, *bodies: str) -> list[Any]:
        """Look until these have come, and return them: the last of each."""

        def have_come() -> bool:
            self.look()
            return all(body in self.taken for body in bodies)

        wait_until(have_come, 30)
        return [self.taken.pop(body)[-1] for body in bodies]

    def publish(self, *bodies: str) -> None:
        producer = self.connection.Producer()
        for body in bodies:
            producer.publish(body, exchange="refused", routing_key="refused", declare=[QUEUE])


@pytest.fixture
def taker(redis_server: RedisServer) -> Iterator[Taker]:
    made = Taker(redis_server)
    yield made
    made.connection.close()


def _is_clean(server: Any) -> bool:
    with server.client() as client:
        return not client.exists("unacked", "unacked_index", "refused")


@pytest.mark.parametrize(
    "refuse",
    ["CONFIG SET maxmemory 1", "REPLICAOF 127.0.0.1 1"],
    ids=["full", "read-only"],
)
def test_acks_and_rejections_that_redis_refuses_are_written_once_it_takes_them(
    redis_server: RedisServer, taker: Taker, refuse: str
) -> None:
    for how in ("ack", "reject"):
        taker.publish("one", "two")
        messages = taker.take("one", "two")
        with _refusing(redis_server, refuse):
            for message in messages:
                getattr(message, how)()
        taker.publish("three")
        taker.take("three")[0].ack()
        assert _is_clean(redis_server)


def test_a_message_given_back_while_redis_refuses_comes_again(
    redis_server: RedisServer, taker: Taker
) -> None:
    taker.publish("one", "two")
    messages = taker.take("one", "two")
    with _refusing(redis_server):
        for message in messages:
            message.requeue()
    for message in taker.take("one", "two"):
        message.ack()
    assert _is_clean(redis_server)


def test_a_message_that_was_taken_as_redis_began_to_refuse_is_kept(
    redis_server: RedisServer, taker: Taker
) -> None:
    taker.look()  # what asks for a message, and reads the answer with the next look
    taker.publish("one")
    with _refusing(redis_server):
        (message,) = taker.take("one")
        message.requeue()
        for _ in range(3):
            taker.look()
        assert taker.taken == {}
    taker.take("one")[0].ack()
    assert _is_clean(redis_server)


def test_what_a_channel_owes_that_closed_is_written_by_the_next(
    redis_server: RedisServer, taker: Taker
) -> None:
    taker.publish("done", "not done")
    done, not_done = taker.take("done", "not done")
    with _refusing(redis_server):
        done.ack()
        taker.connection.close()
    next_taker = Taker(redis_server)
    next_taker.take("not done")[0].ack()
    not_done.ack()  # by whom it was taken first, and whose channel is closed
    next_taker.look()
    assert next_taker.taken == {}
    assert _is_clean(redis_server)
    next_taker.connection.close()


def test_what_is_in_hand_goes_back_as_a_channel_closes(
    redis_server: RedisServer, taker: Taker
) -> None:
    taker.publish("one", "two")
    taker.take("one", "two")
    taker.connection.close()
    with redis_server.client() as client:
        assert client.llen("refused") == 2
        assert client.hlen("unacked") == 0


def test_a_worker_goes_on_after_redis_refused_more_acks_than_it_may_hold_messages(
    processes: Processes, redis_server: RedisServer, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.touch()
    processes.env |= {"BROKER_URL": redis_server.url, "REDIS_URL": "", RUNS: str(runs)}
    worker = processes.start("worker", "celery", "-A", APP, "worker", "-c", "2", "-Q", "jobs")
    worker.wait_for_output(" ready.")
    accepted = Counter[str]()

    def accept(name: str, *args: float) -> None:
        with celery_app.connection_for_write(redis_server.url) as connection:
            sent = celery_app.send_task(name, args=args, queue="jobs", connection=connection)
        accepted[sent.id] += 1

    def has_run() -> Counter[str]:
        return Counter(line.split()[0] for line in runs.read_text().splitlines())

    for _ in range(3):
        for _ in range(8):
            accept("jobs.slow", 0.5)
        started = len(has_run())
        wait_until(lambda: len(has_run()) >= started + 2, 30)  # noqa: B023 -- called within the round
        said = worker.output().count("broker_away")
        with _refusing(redis_server):
            wait_until(lambda: worker.output().count("broker_away") > said, 30)  # noqa: B023 -- called within the round
            time.sleep(1)  # what runs ends, and is acknowledged in vain
        accept("jobs.note")
        wait_until(lambda: has_run() == accepted, 30, "Not all of it has run, and once")
        wait_until(lambda: not _copies(redis_server), 30, "Redis holds copies of what is done")
        wait_until(lambda: worker.output().count("broker_back") > said, 30)  # noqa: B023 -- called within the round
    os.kill(worker.pid, 0)
    assert worker.returncode is None
    assert worker.first_traceback() == ""
    assert "Couldn't ack" not in worker.output()


def _copies(server: Any) -> int:
    with server.client() as client:
        return int(client.hlen("unacked"))
