"""Which share of the workers' slots each queue is due, and which it had: one answer for all.

A queue's weight is that of its priority, by the settings. One whose oldest row waits for too
long has it raised until that is over; one that an operator gave a weight has that one.
"""

import json
import math
from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog
from django.conf import settings

from notifications.core import routing
from notifications.core.conf import conf
from notifications.db.shared_state import SharedStateAway, key_of, shared_state
from notifications.models import QueueWeight
from notifications.queueing import backlog, slot_time
from scheduling import watch
from scheduling.lookout import Work

log = structlog.get_logger(__name__)

RAISED_BY = 2.0  # times its weight
TICK, IDLE = 1.0, 30.0  # seconds between two looks at the ages
_RAISED = "raised-queues"
_RAISED_FOR = 30  # seconds that a raised weight outlives the last scheduler


class Source(StrEnum):
    """Where a queue's weight comes from."""

    SETTINGS = "settings"
    AGE = "age"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Allocation:
    """A queue's weight and what it had over the last minute.

    ``share`` is a part of the slot time that all queues took together, ``service_time`` the
    seconds that one of its messages held a slot; a message may stand for many notifications.
    Both are None while Redis, which knows them, is away.
    """

    weight: float
    source: Source
    share: float | None = None
    service_time: float | None = None


def is_on() -> bool:
    """Return whether workers take messages by weight: on Redis, unless it was switched off."""
    return bool(conf.fair_queues and settings.BROKER_IS_REDIS)


def read() -> dict[str, Allocation]:
    """Return every queue's allocation. Raises ``django.db.Error``."""
    spent = slot_time.last_minute()
    if spent is None:
        return {queue: Allocation(*sourced) for queue, sourced in sourced_weights().items()}
    total = sum(used.seconds for used in spent.values())
    allocated = {}
    for queue, (weight, source) in sourced_weights().items():
        used = spent.get(queue, slot_time.Spent())
        share = used.seconds / total if total else 0.0
        allocated[queue] = Allocation(weight, source, share, used.pace)
    return allocated


def weights() -> dict[str, float]:
    """Return every queue's weight as it is now. Raises ``django.db.Error``."""
    return {queue: weight for queue, (weight, _) in sourced_weights().items()}


def sourced_weights() -> dict[str, tuple[float, Source]]:
    """Return every queue's weight with its source. Raises ``django.db.Error``."""
    by_priority = conf.weights
    found = {
        queue: (weight, Source.SETTINGS)
        for queue, weight in routing.default_weights(by_priority).items()
    }
    for queue in raised() & found.keys():
        found[queue] = (raised_weight(queue, by_priority), Source.AGE)
    for queue, weight in QueueWeight.objects.values_list("queue", "weight"):
        found[queue] = (weight, Source.OPERATOR)
    return found


def raised_weight(queue: str, by_priority: Mapping[str, float]) -> float:
    """Return the weight of a queue that waits for too long: never above the next priority's."""
    priority = queue.rpartition(".")[2]
    weight = by_priority[priority]
    place = routing.PRIORITIES.index(priority)
    if place == 0:
        return weight * RAISED_BY
    return max(weight, min(weight * RAISED_BY, by_priority[routing.PRIORITIES[place - 1]]))


def next_raised(
    before: Set[str], ages: Mapping[str, float], *, raise_after: float
) -> frozenset[str]:
    """Return which queues are raised, by the ages in seconds of their oldest due rows.

    A queue is raised beyond ``raise_after`` and let down below half of it, so that one near the
    limit does not go up and down.
    """
    return frozenset(
        queue
        for queue, age in ages.items()
        if age > (raise_after / 2 if queue in before else raise_after)
    )


def raised() -> frozenset[str]:
    """Return the queues whose weight is raised; none while Redis is away."""
    try:
        with shared_state() as client:
            return frozenset(json.loads(client.get(key_of(_RAISED)) or "[]"))
    except SharedStateAway:
        return frozenset()


def work() -> tuple[Work, ...]:
    """Say where it shows that a queue may have to be raised."""
    return (backlog.FIRST_DUE,)


def tick() -> float:
    """Raise the weight of queues whose oldest row is too old; reset it once they have caught up.

    Safe to run in every scheduler. Returns the seconds until the next call.
    """
    raise_after = conf.raise_after
    if not (is_on() and raise_after):
        return IDLE
    if watch.database.outage is not None:
        return TICK  # rows are old because nobody can claim them
    before = raised()
    now = next_raised(before, _ages(), raise_after=raise_after)
    if not (now or before):
        return IDLE
    try:
        before = _keep(now)
    except SharedStateAway:
        return TICK  # said by whoever lends it; the weights are those of the settings meanwhile
    changed = now ^ before
    for queue in sorted(changed - _fixed(changed)):
        log.info("queue_weight_changed", queue=queue, raised=queue in now)
    return TICK


def _fixed(queues: Set[str]) -> set[str]:
    """Return those of these whose weight is the same raised or not, or is an operator's."""
    by_priority = conf.weights
    usual = routing.default_weights(by_priority)
    same = {queue for queue in queues if raised_weight(queue, by_priority) == usual[queue]}
    return same | set(QueueWeight.objects.values_list("queue", flat=True))


def override(queue: str, weight: float) -> None:
    """Return a queue an operator's weight. Raises ``ValidationError``, ``ValueError``."""
    if not math.isfinite(weight):
        raise ValueError("A weight is a number.")
    row = QueueWeight.objects.filter(queue=queue).first() or QueueWeight(queue=queue)
    row.weight = weight
    row.full_clean()
    row.save()
    log.info("queue_weight_overridden", queue=queue, weight=weight)


def let_go(queue: str) -> bool:
    """Take an operator's weight back; return whether there was one."""
    deleted, _ = QueueWeight.objects.filter(queue=queue).delete()
    if deleted:
        log.info("queue_weight_let_go", queue=queue)
    return bool(deleted)


def _ages() -> dict[str, float]:
    queues = [
        (channel, priority) for channel in routing.CHANNELS for priority in routing.PRIORITIES
    ]
    return {routing.queue_for(*queue): age for queue, age in backlog.oldest(queues).items()}


def _keep(queues: Set[str]) -> frozenset[str]:
    """Keep which are raised; return which were. Of several schedulers one sees each change."""
    with shared_state() as client:
        key, text = key_of(_RAISED), json.dumps(sorted(queues))
        before: Any = client.set(key, text, ex=_RAISED_FOR, get=True)
        return frozenset(json.loads(before or "[]"))
