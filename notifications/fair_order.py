"""In which order a worker asks the queues: weighted fair, and with bulkheads.

Stride scheduling (Waldspurger and Weihl, 1995): each queue has a pass, which grows by the
slot time that its messages took, divided by its weight; the queue with the smallest pass is
asked first. So the shares are of time, whether a message stands for one notification or for
hundreds. Redis gives the first message that there is, so no slot idles while any queue has
work, and a queue that was idle comes back at the present pass: it saves up nothing.

Channels whose providers are slow hold a quarter of a worker's slots at most, all together, so
that the others always find one.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from notifications import routing

REMEMBERED = 30.0  # seconds that a channel stays slow after it was seen to be
QUANTUM = 0.001  # seconds that a message is charged at once; the rest follows when it is done
SLOW_SHARE = 4  # slow channels hold at most a quarter of the slots, and one at least


@dataclass(frozen=True, slots=True)
class Running:
    """A message in a worker's hands: its queue, and for how many seconds it runs already."""

    queue: str
    seconds: float


@dataclass(slots=True)
class Bulkheads:
    """Which channels may take another slot of this worker.

    A message that runs for more than ``slow`` seconds makes its channel a slow one.
    """

    slow: float
    slow_until: dict[str, float] = field(default_factory=dict)

    def closed(self, running: Sequence[Running], slots: int, now: float) -> set[str]:
        """Give the channels that may take no further slot now; ``now`` counts in seconds."""
        for one in running:
            if one.seconds > self.slow:
                self.slow_until[_channel(one.queue)] = now + REMEMBERED
        slow = {channel for channel, until in self.slow_until.items() if until > now}
        held = sum(_channel(one.queue) in slow for one in running)
        return slow if held >= max(1, slots // SLOW_SHARE) else set()


class FairOrder:
    """kombu's ``queue_order_strategy``: tells the next BRPOP which queues to ask, in order.

    ``weights`` gives a queue's share, ``spent`` the slot seconds by queue since it was asked
    last; ``running`` and ``slots`` tell what the worker has in hand. kombu itself makes it
    without arguments.
    """

    def __init__(
        self,
        *,
        weights: Callable[[], Mapping[str, float]] | None = None,
        spent: Callable[[], Mapping[str, float]] | None = None,
        running: Callable[[], Sequence[Running]] | None = None,
        slots: Callable[[], int] | None = None,
        slow: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Imported late: a broker connection may be made before the worker's parts exist.
        from notifications import worker_slots  # noqa: PLC0415

        self._weights = weights or worker_slots.weights
        self._spent = spent or worker_slots.take_spent
        self._running = running or worker_slots.running
        self._slots = slots or worker_slots.count
        self._clock = clock
        self._bulkheads = Bulkheads(worker_slots.slow() if slow is None else slow)
        self._passes: dict[str, float] = {}
        self._present = 0.0

    def update(self, queues: Iterable[str]) -> None:
        """Take over the queues that are consumed now."""
        self._passes = {queue: self._passes.get(queue, self._present) for queue in queues}

    def consume(self, count: int) -> list[str]:
        """Give the next order, without the queues of channels that must wait."""
        closed = self._bulkheads.closed(self._running(), self._slots(), self._clock())
        for queue, seconds in self._spent().items():
            self._charge(queue, seconds)
        weights = self._weights()
        order = sorted(
            (queue for queue in self._passes if _channel(queue) not in closed),
            key=lambda queue: (max(self._passes[queue], self._present), -weights.get(queue, 1)),
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


def default_weights(by_priority: Mapping[str, float]) -> dict[str, float]:
    """Give every queue its priority's weight, and jobs that of medium."""
    weights = {
        routing.queue_for(channel, priority): by_priority[priority]
        for channel in routing.CHANNELS
        for priority in routing.PRIORITIES
    }
    return {**weights, routing.JOBS_QUEUE: by_priority[routing.DEFAULT_PRIORITY]}


def _channel(queue: str) -> str:
    return queue.partition(".")[0]
