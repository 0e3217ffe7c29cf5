"""In which order a worker asks the queues: weighted fair.

Stride scheduling (Waldspurger and Weihl, 1995): each queue has a pass, which grows by the
slot time that its messages took, divided by its weight; the queue with the smallest pass is
asked first. So the shares are of time, whether a message stands for one notification or for
hundreds. Redis returns the first available message, so no slot is idle while any queue has
work. A queue that becomes busy again starts at the current pass; idle time earns no credit.

A provider that is slow, or hangs, holds no slot: see ``making_way``.

Jobs are slow by nature, so they have a policy of their own. While they hold less than their share
of the slots they are asked in their turn; beyond it they are asked last, so they take a slot only
if no notification waits for it. While long jobs hold the whole share, one more job is asked in its
turn, so that short jobs need not wait for long ones; if it is long, too, the worker starts a spare
slot (``worker_slots.SpareSlot``). ``jobs_place`` is that decision.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Self

from notifications.core import routing

QUANTUM = 0.001  # seconds that a message is charged at once; the rest follows when it is done
LONG = 0.5  # seconds after which a running job counts as long


@dataclass(frozen=True, slots=True)
class Running:
    """A message in a worker's hands: its queue, and for how many seconds it runs already."""

    queue: str
    seconds: float
    has_begun: bool = True

    @property
    def is_job(self) -> bool:
        """Whether it is the user's own work rather than notifications."""
        return self.queue == routing.JOBS_QUEUE


@dataclass(frozen=True, slots=True)
class JobsInHand:
    """How many slots of a worker jobs hold, and how many of these jobs are long ones."""

    count: int
    long: int

    @classmethod
    def among(cls, messages: Iterable[Running]) -> Self:
        """Count the jobs among a worker's messages."""
        seconds = [message.seconds for message in messages if message.is_job]
        return cls(count=len(seconds), long=sum(spent > LONG for spent in seconds))


class JobsPlace(Enum):
    """Where the queue of jobs stands when a worker asks for its next message."""

    IN_TURN = "in turn"
    LAST = "last"
    LEFT_OUT = "left out"


def jobs_place(jobs: JobsInHand, *, slots: int, share: float, can_grow: bool = True) -> JobsPlace:
    """Decide whether a worker of ``slots`` slots may take another job, and in which order.

    Jobs beyond their ``share`` (``slots_of_jobs``) are asked last; one more is asked in its turn
    while long ones hold all of it. All slots may be theirs if the worker can grow by a spare slot
    for notifications (see ``worker_slots.SpareSlot``); one that cannot, and has more than one slot,
    leaves the last free slot to notifications.
    """
    reserved = 0 if can_grow or slots == 1 else 1
    if jobs.count and jobs.count >= slots - reserved:
        return JobsPlace.LEFT_OUT
    limit = slots_of_jobs(slots, share)
    if can_grow and jobs.long >= limit:
        limit += 1
    return JobsPlace.LAST if jobs.count >= limit else JobsPlace.IN_TURN


def slots_of_jobs(slots: int, share: float) -> int:
    """Return the jobs' share in slots: one at least."""
    return max(1, int(slots * share))


class FairOrder:
    """kombu's ``queue_order_strategy``: tells the next BRPOP which queues to ask, in order.

    ``weights`` gives a queue's share, ``spent`` the slot seconds by queue since it was asked
    last; ``running`` and ``slots`` tell what the worker has in hand, ``can_grow`` whether it may
    start a spare slot; ``jobs_share`` is the jobs' part of the slots. kombu calls
    ``worker_slots.fair_order`` to make one.
    """

    def __init__(
        self,
        *,
        weights: Callable[[], Mapping[str, float]],
        spent: Callable[[], Mapping[str, float]],
        running: Callable[[], Sequence[Running]],
        slots: Callable[[], int],
        jobs_share: float,
        can_grow: Callable[[], bool],
    ) -> None:
        self._weights = weights
        self._spent = spent
        self._running = running
        self._slots = slots
        self._jobs_share = jobs_share
        self._can_grow = can_grow
        self._passes: dict[str, float] = {}
        self._present = 0.0

    def update(self, queues: Iterable[str]) -> None:
        """Take over the queues that are consumed now."""
        self._passes = {queue: self._passes.get(queue, self._present) for queue in queues}

    def consume(self, count: int) -> list[str]:
        """Return the next order, without the jobs where they must wait."""
        jobs = jobs_place(
            JobsInHand.among(self._running()),
            slots=self._slots(),
            share=self._jobs_share,
            can_grow=self._can_grow(),
        )
        closed = {routing.JOBS_QUEUE} if jobs is JobsPlace.LEFT_OUT else set()
        for queue, seconds in self._spent().items():
            self._charge(queue, seconds)
        weights = self._weights()
        order = sorted(
            (queue for queue in self._passes if queue not in closed),
            key=lambda queue: (
                jobs is JobsPlace.LAST and queue == routing.JOBS_QUEUE,
                max(self._passes[queue], self._present),
                -weights.get(queue, 1),
            ),
        )
        return order[:count]

    def rotate(self, last_used: str) -> str:
        """Charge the queue that gave a message."""
        self._present = max(self._passes.get(last_used, 0.0), self._present)
        self._charge(last_used, QUANTUM)
        return last_used

    def _charge(self, queue: str, seconds: float) -> None:
        if queue in self._passes:
            paid = max(self._passes[queue], self._present)
            self._passes[queue] = paid + seconds / self._weights().get(queue, 1)
