"""The queues: one per channel and priority, and one for jobs.

A plain ``celery -A config worker`` consumes all of them.
"""

from kombu.entity import Exchange, Queue

from notifications.routing import JOBS_QUEUE, QUEUE_NAMES

_EXCHANGE = Exchange("notifications", type="direct")

QUEUES: list[Queue] = [
    Queue(name, _EXCHANGE, routing_key=name) for name in (*QUEUE_NAMES, JOBS_QUEUE)
]
