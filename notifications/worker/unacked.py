"""The messages that a worker has taken from Redis, and what Redis has yet to write of them.

kombu keeps a copy of each message in Redis until it is acknowledged. Where Redis refuses to write
(out of memory, read-only) kombu leaves it at that: an acknowledged message counts as in hand for
ever, and enough of them and the worker takes no more; one just taken, or given back, is lost. Here
each write that fails is owed: the next ones line up behind it, no message is taken, and they are
tried again until Redis takes them. A process that ends owing leaves copies of messages behind,
which come again after the visibility timeout.
"""

import os
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import RLock
from typing import Any

from kombu.transport import redis, virtual
from kombu.utils.json import dumps
from redis.exceptions import RedisError

Write = Callable[["QoS"], object]
"""A write by way of the messages in hand of any channel that is open."""


class Owed:
    """The writes that Redis has yet to take, oldest first, whichever channel they came from.

    A channel that is closed, as after a broken connection, cannot write: the next one does.
    Tasks that run in threads may add to them, hence the lock; a signal handler too, hence its kind.
    """

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # they are the parent's

    def _reset(self) -> None:
        self._lock = RLock()
        self._writes: deque[Write] = deque()
        self._rest_until = 0.0

    def add(self, write: Write, qos: "QoS") -> None:
        """Write now if nothing is owed and Redis takes it; else later."""
        with self._lock:
            self._writes.append(write)
            self.pay(qos)

    def pay(self, qos: "QoS") -> bool:
        """Write what is owed, unless that failed a moment ago; return whether all is written."""
        if not self._writes:
            return True
        with self._lock:
            while self._writes and qos.is_open and time.monotonic() >= self._rest_until:
                write = self._writes.popleft()
                try:
                    write(qos)
                except RedisError as error:
                    self._writes.appendleft(write)
                    self._rest_until = time.monotonic() + _saw(error)
        return not self._writes


def _saw(error: RedisError) -> float:
    from notifications.queueing import publisher  # noqa: PLC0415 -- needs Django's apps

    return publisher.saw(error)


owed = Owed()


class QoS(redis.QoS):
    """The messages in one channel's hands."""

    @property
    def is_open(self) -> bool:
        """Whether the channel can still write."""
        return self.channel.connection is not None

    def can_consume(self) -> bool:
        """Whether a message may be taken: not while a write is owed, for that of its copy is one.

        A channel that takes no tasks, but remote control's broadcasts, writes no copies.
        """
        if not owed.pay(self) and self.channel.active_queues:
            return False
        return bool(super().can_consume())  # type: ignore[no-untyped-call]  # kombu has no types

    def append(self, message: Any, delivery_tag: str) -> None:
        """Take a message, and write the copy of it."""
        owed.add(partial(_write_copy, message=message, tag=delivery_tag), self)
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Be done with a message, and remove its copy."""
        owed.add(partial(_remove_copy, tag=delivery_tag), self)
        virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 -- kombu's signature
        """Be done with a message, and remove its copy or put it back into its queue."""
        if requeue:
            owed.add(partial(redis.QoS.restore_by_tag, tag=delivery_tag, leftmost=True), self)
            virtual.QoS.ack(self, delivery_tag)
        else:
            self.ack(delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        """Put all messages in hand back into their queues: the channel closes."""
        for tag in self._delivered:
            owed.add(partial(redis.QoS.restore_by_tag, tag=tag), self)
        self._delivered.clear()


def _write_copy(qos: QoS, *, message: Any, tag: str) -> None:
    way = message.delivery_info
    copy = dumps([message._raw, way["exchange"], way["routing_key"]])  # noqa: SLF001 -- as kombu's
    with qos.pipe_or_acquire() as pipe:
        pipe.zadd(qos.unacked_index_key, {tag: time.time()})
        pipe.hset(qos.unacked_key, tag, copy)
        pipe.execute()


def _remove_copy(qos: QoS, *, tag: str) -> None:
    copies: Any = qos
    copies._remove_from_indices(tag).execute()  # noqa: SLF001 -- as kombu's
