"""The queues: one per channel and priority, and one for jobs.

A plain ``celery -A config worker`` consumes all of them.
"""

from kombu import Queue

from notifications.routing import JOBS_QUEUE, QUEUE_NAMES

QUEUES: list[Queue] = [Queue(name) for name in (*QUEUE_NAMES, JOBS_QUEUE)]
