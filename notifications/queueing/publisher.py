"""Publishes messages that make a worker look into the database. Losing one is harmless.

Two kinds. One carries the id of a notification, and is published when it is accepted. The
other says "take up to so many due rows of this queue", and is published by the sweep: it
needs no bookkeeping, for whoever takes it finds by due time what has to be done.

They go by Celery's default app, the project's. The current app of a thread is another one, once
code beside ours has made an app to speak with another system.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

import structlog
from celery.app import default_app
from django.conf import settings
from kombu.connection import Connection, ConnectionPool
from kombu.exceptions import BatchPublishError, ChannelError, LimitExceeded, OperationalError
from kombu.pools import ProducerPool

from notifications import metrics
from notifications.core import routing
from notifications.db import shared_state
from notifications.queueing import eager, patience
from scheduling import outages
from scheduling.watch import Watch

DELIVER_DUE_TASK = "notifications.deliver_due"

# After a failure the broker is left alone for a moment, so that a caller waits once, not each time.
AWAY_FOR = 1.0  # seconds
NOWHERE = "notifications.probe"
"""The name of a queue that nobody declares."""
NO_ANSWER = "it does not answer"
_away_until = 0.0

FULL_SAID_EVERY = 60.0  # seconds
_full_at: dict[str, float] = {}
"""When each queue was last said to be full, by the monotonic clock."""

log = structlog.get_logger(__name__)


class BrokerAway(Exception):
    """The broker cannot be reached now; what it should have been told is due in the database."""


def publish_one(id_: UUID, queue: str) -> None:
    """Tell a worker about one notification. Raises ``BrokerAway``.

    In eager mode delivers it, and raises what ``eager.run`` raises.
    """
    if eager.is_on():
        eager.run(routing.SEND_TASK, {"notification_id": str(id_)})
        return
    if not _publish([(routing.SEND_TASK, str(id_), {"notification_id": str(id_)}, queue)]):
        raise BrokerAway("Its queue is full.")


def publish_due(wanted: Iterable[tuple[str, int, int]]) -> int:
    """Publish, in one round trip, messages for due rows: (queue, rows each, messages).

    Returns how many messages it published.

    Raises ``BrokerAway``; then any of them may have been published, which does no harm.
    """
    messages: list[tuple[str, str, Mapping[str, Any], str]] = []
    for queue, limit, count in wanted:
        channel, priority = queue.split(".")
        kwargs = {"channel": channel, "priority": priority, "limit": limit}
        while eager.is_on() and eager.run(DELIVER_DUE_TASK, kwargs):
            pass
        messages += [(DELIVER_DUE_TASK, str(uuid4()), kwargs, queue)] * count
    if messages and not eager.is_on():
        return _publish(messages)
    return len(messages)


def depths(queues: Iterable[str]) -> dict[str, int]:
    """Count the messages that wait on the broker, by queue. Raises ``BrokerAway``."""
    if eager.is_on():
        return dict.fromkeys(queues, 0)
    with _producer() as producer:
        if settings.BROKER_IS_REDIS:
            return _lengths(producer.channel, list(queues))
        return {queue: _depth(producer.channel, queue) for queue in queues}


def _lengths(channel: Any, queues: list[str]) -> dict[str, int]:
    """Ask a Redis in one round trip; a message's priority has no list of its own here."""
    with channel.conn_or_acquire() as client, client.pipeline(transaction=False) as pipeline:
        for queue in queues:
            pipeline.llen(queue)
        return dict(zip(queues, map(int, pipeline.execute()), strict=True))


def _depth(channel: Any, queue: str) -> int:
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except ChannelError:  # nobody has declared it yet, so nothing waits there
        return 0


def _publish(messages: list[tuple[str, str, Mapping[str, Any], str]]) -> int:
    """Publish messages, and return how many. Raises ``BrokerAway``.

    A queue that is full costs no other its messages.
    """
    amqp = default_app.amqp
    refused = 0
    with _producer() as producer, _one_trip(producer, len(messages)):
        for name, task_id, kwargs, queue in messages:
            # Empty reprs: nothing of a message's content reaches events, logs or Flower.
            message = amqp.as_task_v2(
                task_id,
                name,
                args=(),
                kwargs=kwargs,
                argsrepr="",
                kwargsrepr="",
                ignore_result=True,
            )
            # Even a declaration that kombu remembers costs copies of the queue, each time.
            declared = hash(amqp.queues[queue]) in producer.connection.declared_entities
            try:
                amqp.send_task_message(
                    *(producer, name, message),
                    queue=queue,
                    retry=False,
                    declare=() if declared else None,
                )
            except Exception as error:
                if not outages.is_full_queue(error):
                    raise
                refused += 1
                _note_full(queue)
    return len(messages) - refused


def _note_full(queue: str) -> None:
    """Log that the broker refuses the messages of a queue; seldom, for each sweep meets it."""
    now = time.monotonic()
    if now - _full_at.get(queue, -FULL_SAID_EVERY) >= FULL_SAID_EVERY:
        _full_at[queue] = now
        log.warning("queue_full", queue=queue, hint="A policy of RabbitMQ bounds its length.")


def _one_trip(producer: Any, count: int) -> AbstractContextManager[Any]:
    """Send many messages in one round trip; for a single one a batch costs more than it saves."""
    return producer.batch(max_size=1000) if count > 1 else nullcontext()


@contextmanager
def _producer() -> Iterator[Any]:
    """Lend a producer that fails fast. Raises ``BrokerAway`` for every fault of the broker."""
    global _away_until  # noqa: PLW0603 -- one broker per process
    if time.monotonic() < _away_until:
        raise BrokerAway("The broker was away a moment ago.")
    if patience.is_over():
        raise BrokerAway("It has been waited for long enough; the sweep does what is left.")
    pool = _pool(os.getpid())
    try:
        with patience.counted(), pool.acquire(block=True, timeout=1) as producer:
            yield producer
    except (
        *pool.connections.connection.connection_errors,
        *pool.connections.connection.channel_errors,
        BatchPublishError,
        OperationalError,
        LimitExceeded,
        OSError,
    ) as error:
        _away_until = time.monotonic() + AWAY_FOR
        metrics.broker_away()
        saw(error)
        raise BrokerAway(type(error).__name__) from error


def probe() -> None:
    """Ask the broker whether it takes messages. Raises what it answers.

    A Redis is asked for a write, and whether a queue is another program's key: a worker asks for
    all of its queues at once. RabbitMQ is given two messages for a queue that there is not: one
    that blocks publishers connects and answers all the same, and may confirm the first.
    """
    if settings.BROKER_IS_REDIS:
        shared_state.write(settings.BROKER_URL, _types())
        return
    connection = _connection()
    try:
        connection.ensure_connection(max_retries=1, timeout=settings.BROKER_TIMEOUT)
        if connection.transport.driver_type == "amqp":
            for _ in range(2):
                connection.Producer().publish(b"", routing_key=NOWHERE)
    except BaseException:
        connection.collect()  # an orderly end waits for an answer
        raise
    connection.release()


def _types() -> dict[str, str]:
    """Return the keys that kombu has in a Redis, each with its type."""
    bindings = (f"_kombu.binding.{exchange}" for exchange in ("notifications", "celery.pidbox"))
    types = {
        **dict.fromkeys((*routing.QUEUE_NAMES, routing.JOBS_QUEUE), "list"),
        **dict.fromkeys(bindings, "set"),
        "unacked": "hash",
        "unacked_index": "zset",
    }
    return {f"{settings.REDIS_KEY_PREFIX}{key}": kind for key, kind in types.items()}


def saw(error: Exception) -> float:
    """Note an error of the broker; return the seconds to rest."""
    return watch.saw(outages.of(error) or outages.Outage(outages.BROKER, NO_ANSWER, "OSError"))


watch = Watch(outages.BROKER, probe, "what is accepted waits in the database")


@lru_cache(maxsize=1)
def _pool(_pid: int) -> ProducerPool:
    """Make this process's own connections: a caller waits a second, not a worker's five."""
    return ProducerPool(connections=ConnectionPool(_connection(), limit=100), limit=100)


def _connection() -> Connection:
    """Make a connection that waits for an answer as long as a publisher may, once it is used."""
    connection: Connection = default_app.connection_for_write()
    connection.transport_options = {
        **(connection.transport_options or {}),
        **settings.PUBLISH_TRANSPORT_OPTIONS,
    }
    return connection
