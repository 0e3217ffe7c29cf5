"""Who gives way to whom in a worker: its main process writes what it sees, its batches read it.

A batch whose calls are on their way needs no slot: the process attends to it in the background
(``background``). So a slot is given up between two calls, or during one, as soon as a message waits
that is more urgent; and after a moment for any message of another queue.

While a slot has a single notification that is more urgent, the processor is for that one: of the
less urgent calls each process begins one a moment, and all of them again as soon as it is handed
over. As long as such come, the less urgent are claimed and rendered a few at a time, for a slot is
not given up in between; and they leave a part of an account's connections to them.

What was seen lies in memory that the children of a worker inherit, so a look costs no system call.
"""

import mmap
import os
import struct
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache

from notifications.core import routing

QUEUES = (*routing.QUEUE_NAMES, routing.JOBS_QUEUE)
MOMENT = 0.1  # seconds that a batch keeps its slot from messages of the same urgency

PAUSE = 0.005  # seconds between two calls of a process that gives way
AGAIN = 0.001  # seconds between two looks meanwhile
RECENT = 1.0  # seconds: what is in hand for longer waits for something else than the processor
LATELY = 10.0  # seconds after an urgent message in which the next is expected
FEW = 50  # rows that are prepared at once while one is

# Of what waits and of what is in hand: when it was looked (``time.monotonic``), and a bit for each
# queue. Then when a single notification of each queue was last in hand.
_FORMAT = struct.Struct("dQ")
_WAITING, _IN_HAND, _LAST = 0, _FORMAT.size, 2 * _FORMAT.size
_LASTS, _MOMENT = struct.Struct(f"{len(QUEUES)}d"), struct.Struct("d")
_memory = mmap.mmap(-1, _LAST + _LASTS.size)
_PLACE = {queue: place for place, queue in enumerate(QUEUES)}
_BIT = {queue: 1 << place for queue, place in _PLACE.items()}
_turn = threading.Lock()


def write(queues: Collection[str], looked_at: float) -> None:
    """Tell which queues have messages that no slot of this worker is free for.

    ``looked_at`` (``time.monotonic``, which all processes of a machine share) is when that was so.
    """
    _FORMAT.pack_into(_memory, _WAITING, looked_at, sum(_BIT[queue] for queue in queues))


def hold(queues: Collection[str]) -> None:
    """Tell of which queues this worker has single notifications in hand now."""
    now, known = time.monotonic(), set(queues).intersection(routing.QUEUE_NAMES)
    _FORMAT.pack_into(_memory, _IN_HAND, now, sum(_BIT[queue] for queue in known))
    for queue in known:
        _MOMENT.pack_into(_memory, _LAST + _PLACE[queue] * _MOMENT.size, now)


def has_more_urgent(rank: int) -> bool:
    """Return whether a slot of this worker has a single notification more urgent than ``rank``."""
    seen_at, bits = _FORMAT.unpack_from(_memory, _IN_HAND)
    return bool(bits & _MORE_URGENT[rank]) and seen_at > time.monotonic() - RECENT


def give_way(rank: int) -> None:
    """Wait before a call while ``has_more_urgent`` says so; one at a time goes on.

    So the less urgent go on at a call in ``PAUSE`` seconds, however many threads make them.
    """
    if has_more_urgent(rank):
        with _turn:
            ends = time.monotonic() + PAUSE
            while has_more_urgent(rank) and time.monotonic() < ends:
                time.sleep(AGAIN)


def at_once(rows: int, rank: int) -> int:
    """Return how many of these rows, which are as urgent as ``rank``, a slot is to claim at once.

    A few while something more urgent is expected: all of the first few are handed over before the
    next are claimed.
    """
    return min(rows, FEW) if is_expected(rank) else rows


def is_expected(rank: int, channel: str = "") -> bool:
    """Return whether a single notification more urgent than ``rank`` has come lately.

    Of any channel, or of the one that is named.
    """
    since, lasts = time.monotonic() - LATELY, _LASTS.unpack_from(_memory, _LAST)
    return any(lasts[place] and lasts[place] > since for place in _places(rank, channel))


@cache
def _places(rank: int, channel: str) -> list[int]:
    return [
        place
        for queue, place in _PLACE.items()
        if rank_of(queue) < rank and channel in ("", queue.partition(".")[0])
    ]


def rank_of(queue: str) -> int:
    """Return how urgent a queue is: 0 for high, 2 for low; jobs are like medium ones."""
    priority = queue.rpartition(".")[2]
    if priority not in routing.PRIORITIES:
        priority = routing.DEFAULT_PRIORITY
    return routing.PRIORITIES.index(priority)


@dataclass(slots=True)
class Slot:
    """A slot of this worker that a message of ``queue`` has taken.

    ``left`` counts notifications that it left to the background.
    """

    queue: str
    left: int = 0
    taken_at: float = field(default_factory=time.monotonic)

    @property
    def rank(self) -> int:
        """How urgent the message is; see ``rank_of``."""
        return rank_of(self.queue)

    def is_wanted(self) -> bool:
        """Return whether this slot should be given up to a message that waits.

        To a more urgent one at once, to one of another queue after a moment. What was seen before
        the slot was taken does not count.
        """
        looked_at, waiting = _FORMAT.unpack_from(_memory, _WAITING)
        if not waiting or looked_at <= self.taken_at:
            return False
        if waiting & _MORE_URGENT[self.rank]:
            return True
        others = waiting & ~_BIT.get(self.queue, 0)
        return bool(others) and time.monotonic() - self.taken_at > MOMENT


_MORE_URGENT = [
    sum(bit for queue, bit in _BIT.items() if rank_of(queue) < rank)
    for rank in range(len(routing.PRIORITIES))
]


def _forget() -> None:
    """Begin anew in a child: a lock that a thread holds stays locked after a fork."""
    global _turn  # noqa: PLW0603 -- one per process
    _turn = threading.Lock()


os.register_at_fork(after_in_child=_forget)
