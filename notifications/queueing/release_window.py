"""The window of a queue: how many messages may wait on the broker.

The backlog stays in the database, where it can be counted, cancelled and put in order. Each
process looks at a queue now and then, and between two looks admits at most a share of the
room that it saw, so that several processes together stay within the window.
"""

import time
from dataclasses import dataclass

from notifications.core.conf import conf
from notifications.queueing import backlog, publisher

LOOK_EVERY = 0.1  # seconds
SHARE = 4  # one process takes a quarter of the room at a time


@dataclass(slots=True)
class _Room:
    left: int
    until: float
    announces: bool = False


_rooms: dict[str, _Room] = {}


def admit(channel: str, priority: str, queue: str) -> bool:
    """Return whether one more message may be published, and count it.

    Where rows of the queue already wait their turn in the database, a new one waits behind
    them: it is due, and the sweep releases it in its order.
    """
    room = _rooms.get(queue)
    if room is None or time.monotonic() >= room.until:
        room = _rooms[queue] = _look(channel, priority, queue)
    if room.left <= 0:
        return False
    room.left -= 1
    if room.left == 0:
        room.until = 0.0  # used up: look again, there may be more
    return True


def announces(queue: str) -> bool:
    """Return whether rows that were not admitted need a message to be seen to; once per look."""
    room = _rooms.get(queue)
    if room is None or not room.announces:
        return False
    room.announces = False
    return True


def _look(channel: str, priority: str, queue: str) -> _Room:
    until = time.monotonic() + LOOK_EVERY
    try:
        depth = publisher.depths([queue])[queue]
    except publisher.BrokerAway:
        return _Room(0, until)
    turn = backlog.turn_of(channel, priority)
    if turn.held or turn.behind:
        lacks = depth < conf.released_messages
        return _Room(0, until, announces=lacks and not turn.held)
    return _Room(max(0, (conf.queue_window - depth + SHARE - 1) // SHARE), until)
