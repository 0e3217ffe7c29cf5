"""The doorbell: messages that tell a worker to look into the database. Losing one is harmless.

Two kinds. One carries the id of a notification, and is published when it is accepted. The
other says "take up to so many due rows of this queue", and is published by the sweep: it
needs no bookkeeping, for whoever takes it finds by due time what has to be done.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

import structlog
from celery import current_app
from django.conf import settings
from kombu.connection import ConnectionPool
from kombu.exceptions import BatchPublishError, ChannelError, LimitExceeded, OperationalError
from kombu.pools import ProducerPool

from notifications import metrics, routing

log = structlog.get_logger(__name__)

DELIVER_DUE_TASK = "notifications.deliver_due"

# After a failure the broker is left alone for a moment, so that a caller waits once, not each time.
AWAY_FOR = 1.0  # seconds
_away_until = 0.0


class BrokerAway(Exception):
    """The broker cannot be reached now; what it should have been told is due in the database."""


def ring(id_: UUID, queue: str) -> None:
    """Tell a worker about one notification. Raises ``BrokerAway``."""
    _publish([(routing.SEND_TASK, str(id_), {"notification_id": str(id_)}, queue)])


def ring_due(wanted: Iterable[tuple[str, int, int]]) -> int:
    """Publish, in one round trip, messages for due rows: (queue, rows each, messages).

    Gives how many messages it published.

    Raises ``BrokerAway``; then any of them may have been published, which does no harm.
    """
    messages: list[tuple[str, str, Mapping[str, Any], str]] = []
    for queue, limit, count in wanted:
        channel, priority = queue.split(".")
        kwargs = {"channel": channel, "priority": priority, "limit": limit}
        messages += [(DELIVER_DUE_TASK, str(uuid4()), kwargs, queue)] * count
    if messages:
        _publish(messages)
    return len(messages)


def depths(queues: Iterable[str]) -> dict[str, int]:
    """Count the messages that wait on the broker, by queue. Raises ``BrokerAway``."""
    with _producer() as producer:
        return {queue: _depth(producer.channel, queue) for queue in queues}


def _depth(channel: Any, queue: str) -> int:
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except ChannelError:  # nobody has declared it yet, so nothing waits there
        return 0


def _publish(messages: list[tuple[str, str, Mapping[str, Any], str]]) -> None:
    amqp = current_app.amqp
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
            amqp.send_task_message(
                producer, name, message, queue=queue, retry=False, declare=() if declared else None
            )


def _one_trip(producer: Any, count: int) -> AbstractContextManager[Any]:
    """Send many messages in one round trip; for a single one a batch costs more than it saves."""
    return producer.batch(max_size=1000) if count > 1 else nullcontext()


@contextmanager
def _producer() -> Iterator[Any]:
    """Lend a producer that fails fast. Raises ``BrokerAway`` for every fault of the broker."""
    global _away_until  # noqa: PLW0603 -- one broker per process
    if time.monotonic() < _away_until:
        raise BrokerAway("The broker was away a moment ago.")
    pool = _pool(os.getpid())
    try:
        with pool.acquire(block=True, timeout=1) as producer:
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
        log.warning("broker_away", error=type(error).__name__)
        raise BrokerAway(str(error)) from error


@lru_cache(maxsize=1)
def _pool(_pid: int) -> ProducerPool:
    """Make this process's own connections: a caller waits for them a second, not a worker's ten."""
    connection = current_app.connection_for_write()
    connection.transport_options = {
        **connection.transport_options,
        **settings.DOORBELL_TRANSPORT_OPTIONS,
    }
    return ProducerPool(connections=ConnectionPool(connection, limit=100), limit=100)
