"""Queues: what waits where, for how long, and what it gets of the workers."""

from datetime import datetime
from typing import Annotated

from django.http import HttpRequest
from ninja import Field, Router, Schema
from pydantic.json_schema import WithJsonSchema

from notifications import allocation, backlog, doorbell, routing
from notifications.api.authentication import READ
from notifications.api.fields import one_of

router = Router()

COUNTED_UP_TO = 1_000_000


class Allocation(Schema):
    """What a queue gets of the workers' slots; jobs get the rest of the shares."""

    weight: float = Field(description="Its share beside the others', while all have work.")
    source: Annotated[str, WithJsonSchema({"type": "string", **one_of(tuple(allocation.Source))})]
    share: float | None = Field(
        description="Its part of the last minute's slot time, 0 to 1; null while Redis is away."
    )
    service_time: float | None = Field(
        description="Seconds that one of its messages held a slot; null while Redis is away."
    )


class Queue(Schema):
    """One queue: a channel at a priority."""

    name: str
    channel: str
    priority: str
    depth: int = Field(description="Notifications that are due and wait, in the database.")
    oldest_age: float | None = Field(description="Seconds that the oldest of them is due.")
    next_due_at: datetime | None = Field(description="When the next future one falls due.")
    released: int | None = Field(description="Messages on the broker; null while it is away.")
    allocation: Allocation


@router.get("", auth=READ, response=list[Queue], summary="Depth, oldest age and allocation")
def list_queues(request: HttpRequest) -> list[dict[str, object]]:
    """Tell what waits in each queue."""
    waiting = backlog.look(COUNTED_UP_TO)
    ages = backlog.oldest([(queue.channel, queue.priority) for queue in waiting])
    released = _released()
    allocated = allocation.read()
    return [
        {
            "name": name,
            "channel": queue.channel,
            "priority": queue.priority,
            "depth": queue.due,
            "oldest_age": ages.get((queue.channel, queue.priority)),
            "next_due_at": queue.next_due_at,
            "released": released.get(name),
            "allocation": allocated[name],
        }
        for queue in waiting
        for name in [routing.queue_for(queue.channel, queue.priority)]
    ]


def _released() -> dict[str, int]:
    try:
        return doorbell.depths(routing.QUEUE_NAMES)
    except doorbell.BrokerAway:
        return {}
