"""Publishes what the broker lacks for rows that are due.

Nothing is marked: a queue needs as many messages as it has due rows to fill them, and what already
waits on the broker counts. So a backlog is not published again, and a flushed broker is refilled.
"""

from collections.abc import Sequence

import structlog
from django.db import Error

from notifications import metrics
from notifications.core import routing
from notifications.core.conf import conf
from notifications.queueing import backlog, publisher, release_window
from scheduling import watch

log = structlog.get_logger(__name__)


def look() -> list[backlog.Waiting]:
    """Return each queue's backlog, counted as far as it changes what is published."""
    return backlog.look(max(map(_rows, routing.PRIORITIES)) * conf.released_messages)


def publish_now() -> None:
    """Publish what the broker lacks, now rather than at the next sweep.

    An outage of the database is no fault of who calls: what is accepted is committed by now.
    """
    try:
        waiting = watch.past_brief(look)
    except Error as error:
        if watch.database_outage(error) is None:
            raise
        log.info("publishing_left_to_the_sweep", error=type(error).__name__)
    else:
        publish(waiting)


def announce(channel: str, priority: str) -> None:
    """Publish a message for the due rows of a queue that was found to lack some, once per look.

    So a row that the queue's window had no room for does not wait for the next sweep.
    """
    queue = routing.queue_for(channel, priority)
    if release_window.announces(queue):
        try:
            publisher.publish_due([(queue, _rows(priority), 1)])
        except publisher.BrokerAway:
            return  # logged by the publisher; the sweep asks again


def publish(waiting: Sequence[backlog.Waiting]) -> None:
    """Publish what the broker lacks for these backlogs, in one round trip."""
    due = {routing.queue_for(q.channel, q.priority): q for q in waiting if q.due}
    if not due:
        return
    try:
        depths = publisher.depths(due)
        messages = publisher.publish_due(
            (name, _rows(queue.priority), missing)
            for name, queue in due.items()
            if (missing := _messages(queue) - depths[name]) > 0
        )
        metrics.released(messages)
    except publisher.BrokerAway:
        return  # logged by the publisher; the rows stay due, and the next sweep asks again


def _rows(priority: str) -> int:
    return int(conf.batch[priority])


def _messages(queue: backlog.Waiting) -> int:
    return min(-(-queue.due // _rows(queue.priority)), conf.released_messages)
