"""The queues: one per channel and priority, and one for jobs.

A plain ``celery -A config worker`` consumes all of them.
"""

from typing import Any

from celery.signals import worker_ready
from django.conf import settings
from kombu.entity import Exchange, Queue

from notifications.core.routing import JOBS_QUEUE, QUEUE_NAMES

QUEUE_TYPES = ("classic", "quorum")
_EXCHANGE = Exchange("notifications", type="direct")
_DEAD_EXCHANGE = Exchange("notifications.dead", type="fanout")

# Deliveries of one message after which a quorum queue gives it up. RabbitMQ would drop it
# without a log line.
DELIVERIES = 20
# Nobody consumes it: a person looks at what is there. The oldest leave when it is full.
DEAD_MESSAGES = Queue(
    "notifications.dead",
    _DEAD_EXCHANGE,
    queue_arguments={"x-queue-type": "quorum", "x-max-length": 10_000},
)
_QUORUM = {
    "x-queue-type": "quorum",
    "x-delivery-limit": DELIVERIES,
    "x-dead-letter-exchange": _DEAD_EXCHANGE.name,
}


def queues(queue_type: str) -> list[Queue]:
    """Make the queues; ``queue_type`` is RabbitMQ's, and means nothing to Redis."""
    arguments = _QUORUM if queue_type == "quorum" else None
    return [
        Queue(name, _EXCHANGE, routing_key=name, queue_arguments=arguments)
        for name in (*QUEUE_NAMES, JOBS_QUEUE)
    ]


@worker_ready.connect  # type: ignore[untyped-decorator]  # celery has no types
def declare_dead_messages(sender: Any, **_: Any) -> None:
    """Have a place for dead messages: by itself a worker declares what it consumes."""
    if settings.BROKER_QUEUE_TYPE == "quorum" and not settings.BROKER_IS_REDIS:
        with sender.app.connection_for_write() as connection:
            DEAD_MESSAGES.bind(connection.default_channel).declare()
