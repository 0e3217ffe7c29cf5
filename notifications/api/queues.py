"""Queues: what waits where, and for how long."""

from datetime import datetime

from django.http import HttpRequest
from ninja import Field, Router, Schema

from notifications import backlog, conf, doorbell, routing
from notifications.api.authentication import READ
from notifications.metrics.state import oldest

router = Router()

COUNTED_UP_TO = 1_000_000


class Queue(Schema):
    """One queue: a channel at a priority."""

    name: str
    channel: str
    priority: str
    depth: int = Field(description="Notifications that are due and wait, in the database.")
    oldest_age: float | None = Field(description="Seconds that the oldest of them is due.")
    next_due_at: datetime | None = Field(description="When the next future one falls due.")
    released: int | None = Field(description="Messages on the broker; null while it is away.")
    allocation: int = Field(description="How many messages may be released at a time.")


@router.get("", auth=READ, response=list[Queue], summary="Depth, oldest age and allocation")
def list_queues(request: HttpRequest) -> list[Queue]:
    """Tell what waits in each queue."""
    waiting = backlog.look(COUNTED_UP_TO)
    ages = oldest([(queue.channel, queue.priority) for queue in waiting])
    released = _released()
    return [
        Queue(
            name=name,
            channel=queue.channel,
            priority=queue.priority,
            depth=queue.due,
            oldest_age=ages.get((queue.channel, queue.priority)),
            next_due_at=queue.next_due_at,
            released=released.get(name),
            allocation=conf.get("WINDOW"),
        )
        for queue in waiting
        for name in [routing.queue_for(queue.channel, queue.priority)]
    ]


def _released() -> dict[str, int]:
    try:
        return doorbell.depths(routing.QUEUE_NAMES)
    except doorbell.BrokerAway:
        return {}
