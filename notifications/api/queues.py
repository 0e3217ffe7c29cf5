"""Queues: what waits where, for how long, and what it gets of the workers."""

from datetime import datetime
from typing import Annotated

from django.http import HttpRequest
from ninja import Field, Router, Schema
from pydantic.json_schema import WithJsonSchema

from notifications.api.fields import one_of
from notifications.core import routing
from notifications.db import clock
from notifications.monitoring import waiting
from notifications.queueing import allocation, backlog, publisher

router = Router()

COUNTED_UP_TO = 1_000_000
DEFERRED_COUNTED_UP_TO = 10_000


class Allocation(Schema):
    """What a queue gets of the workers' slots; jobs get the rest of the shares."""

    weight: float = Field(
        description="Its share relative to the other queues, while all have work."
    )
    source: Annotated[str, WithJsonSchema({"type": "string", **one_of(tuple(allocation.Source))})]
    share: float | None = Field(
        description="Its part of the last minute's slot time, 0 to 1; null without Redis."
    )
    service_time: float | None = Field(
        description="Seconds that one of its messages held a slot; null while Redis is away."
    )


class Queue(Schema):
    """One queue: a channel at a priority."""

    name: str
    channel: str
    priority: str
    due: int = Field(description="Notifications that are due and wait, in the database.")
    depth: int = Field(description="The old name of `due`.", json_schema_extra={"deprecated": True})
    retrying: int = Field(description="Notifications that wait for their next attempt.")
    blocked: int = Field(
        description="Notifications that wait for an account, an endpoint or a limit."
    )
    resting: int = Field(
        description="The old name of `blocked`.", json_schema_extra={"deprecated": True}
    )
    oldest_age: float | None = Field(
        description="Seconds since the first due time of the notification that waits longest."
    )
    next_due_at: datetime | None = Field(description="When the next future notification is due.")
    on_broker: int | None = Field(description="Messages on the broker; null while it is away.")
    released: int | None = Field(
        description="The old name of `on_broker`.", json_schema_extra={"deprecated": True}
    )
    allocation: Allocation


@router.get("", response=list[Queue], summary="Depth, oldest age and allocation")
def list_queues(request: HttpRequest) -> list[dict[str, object]]:
    """Return what waits in each queue."""
    now = clock.now()
    longest = {(w.channel, w.priority): w for w in waiting.look(DEFERRED_COUNTED_UP_TO)}
    on_broker = _on_broker()
    allocated = allocation.read()
    return [
        {
            "name": name,
            "channel": queue.channel,
            "priority": queue.priority,
            "due": queue.due,
            "depth": queue.due,
            "retrying": deferred.retrying,
            "blocked": deferred.blocked,
            "resting": deferred.blocked,
            "oldest_age": deferred.age(now) if deferred.since else None,
            "next_due_at": queue.next_due_at,
            "on_broker": on_broker.get(name),
            "released": on_broker.get(name),
            "allocation": allocated[name],
        }
        for queue in backlog.look(COUNTED_UP_TO)
        for deferred in [longest[queue.channel, queue.priority]]
        for name in [routing.queue_for(queue.channel, queue.priority)]
    ]


def _on_broker() -> dict[str, int]:
    try:
        return publisher.depths(routing.QUEUE_NAMES)
    except publisher.BrokerAway:
        return {}
