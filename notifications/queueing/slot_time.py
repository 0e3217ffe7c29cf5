"""How much of the workers' slot time each queue took, over the last minute and all workers.

Every worker adds what its messages took to a bucket of a few seconds in Redis, so what is read
outlives the workers that reported it. While Redis is away nothing is known; nothing depends on it.
"""

import threading
from collections.abc import Mapping
from typing import NamedTuple

from notifications.db import clock
from notifications.db.shared_state import SharedStateAway, key_of, shared_state

BUCKET = 10  # seconds
KEPT = 6  # whole buckets that are read, beside the one that is being filled


class Spent(NamedTuple):
    """Slot time in seconds, and how many messages took it."""

    seconds: float = 0.0
    messages: int = 0

    @property
    def pace(self) -> float:
        """Seconds that a message holds its slot."""
        return self.seconds / self.messages if self.messages else 0.0

    def plus(self, other: "Spent") -> "Spent":
        """Add up."""
        return Spent(self.seconds + other.seconds, self.messages + other.messages)


class Meter:
    """Adds up slot time by queue until somebody takes it, perhaps another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent: dict[str, Spent] = {}

    def add(self, queue: str, seconds: float) -> None:
        """Count one message."""
        with self._lock:
            self._spent[queue] = self._spent.get(queue, Spent()).plus(Spent(seconds, 1))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added since the last call of ``take``."""
        return not self._spent

    def take(self) -> dict[str, Spent]:
        """Return what was added since the last call."""
        with self._lock:
            taken, self._spent = self._spent, {}
        return taken


def report(spent: Mapping[str, Spent]) -> None:
    """Add to what all workers took. Raises ``SharedStateAway`` and ``django.db.Error``."""
    if not spent:
        return
    key = _key(_now())
    with shared_state() as client, client.pipeline() as pipeline:
        for queue, used in spent.items():
            pipeline.hincrbyfloat(key, f"{queue}:seconds", used.seconds)
            pipeline.hincrby(key, f"{queue}:messages", used.messages)
        pipeline.expire(key, BUCKET * (KEPT + 2))
        pipeline.execute()


def last_minute() -> dict[str, Spent] | None:
    """Return what each queue took; None while Redis is away. Raises ``django.db.Error``."""
    now = _now()
    try:
        with shared_state() as client, client.pipeline(transaction=False) as pipeline:
            for bucket in range(now - KEPT, now + 1):
                pipeline.hgetall(_key(bucket))
            buckets = pipeline.execute()
    except SharedStateAway:
        return None
    spent: dict[str, Spent] = {}
    for name, value in (item for bucket in buckets for item in bucket.items()):
        queue, _, kind = name.decode().rpartition(":")
        part = Spent(seconds=float(value)) if kind == "seconds" else Spent(messages=int(value))
        spent[queue] = spent.get(queue, Spent()).plus(part)
    return spent


def _now() -> int:
    return int(clock.now().timestamp() // BUCKET)


def _key(bucket: int) -> str:
    return key_of(f"slot-time:{bucket}")
