"""Queues that wait for a slot: the worker's main process writes them, its batches read them.

A batch whose calls are on their way needs no slot: the process attends to it in the background
(``background``). So a slot is given up between two calls, or during one, as soon as a message waits
that is more urgent; and after a moment for any message of another queue.

They lie in memory that the children of a worker inherit, so a look costs no system call.
"""

import mmap
import struct
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from notifications.core import routing

QUEUES = (*routing.QUEUE_NAMES, routing.JOBS_QUEUE)
MOMENT = 0.1  # seconds that a batch keeps its slot from messages of the same urgency

_FORMAT = struct.Struct("dQ")  # when it was looked (``time.monotonic``), and a bit for each queue
_memory = mmap.mmap(-1, _FORMAT.size)
_BIT = {queue: 1 << place for place, queue in enumerate(QUEUES)}


def write(queues: Collection[str], looked_at: float) -> None:
    """Tell which queues have messages that no slot of this worker is free for.

    ``looked_at`` (``time.monotonic``, which all processes of a machine share) is when that was so.
    """
    _FORMAT.pack_into(_memory, 0, looked_at, sum(_BIT[queue] for queue in queues))


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
        looked_at, waiting = _FORMAT.unpack_from(_memory)
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
