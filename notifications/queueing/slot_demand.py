"""A worker's main process looks which queues have messages that none of its slots is free for.

It asks the broker only while every slot is taken, in a thread of its own that the broker may keep
waiting, and tells the children by ``making_way``. While the worker has no message it sleeps.
"""

import threading
import time
from collections.abc import Collection
from functools import partial
from typing import Any

import structlog
from celery import bootsteps

from notifications.core.routing import JOBS_QUEUE
from notifications.queueing import making_way, publisher, worker_slots
from notifications.queueing.fair_order import JobsPlace
from notifications.queueing.making_way import QUEUES
from scheduling import isolation, threads

LOOK_EVERY = 0.01  # seconds
PART = 9  # times the processor time of a look that it rests at least

log = structlog.get_logger(__name__)


class Looks(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """A worker step that looks from the start to the end of the worker."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._ends = threading.Event()

    def start(self, worker: Any) -> None:
        """Look at the queues that this worker consumes."""
        consumed = [queue for queue in worker.app.amqp.queues.consume_from if queue in QUEUES]
        threads.lasting("slots", partial(self._look, consumed)).start()

    def stop(self, worker: Any) -> None:
        """Look no more."""
        self._ends.set()
        worker_slots.took()

    def _look(self, consumed: Collection[str]) -> None:
        pause = 0.0
        while not self._ends.wait(max(LOOK_EVERY, pause)):
            began, used = time.monotonic(), time.thread_time()
            try:
                look(consumed)
            except publisher.BrokerAway:
                making_way.write((), began)  # said by whoever asks it
            except Exception as error:  # noqa: BLE001 -- the boundary of this thread
                fault = isolation.fault_of(error, "look")
                log.error("slots_not_looked_at", error=fault.error, at=fault.place)  # noqa: TRY400 -- a traceback has the exception's text
                self._ends.wait(1.0)
            # Of the processor, not of the clock: on a busy machine each look waits for its turn.
            pause = max(PART * (time.thread_time() - used), time.monotonic() - began)
            worker_slots.wait_while_idle(self._ends.is_set)


def look(consumed: Collection[str]) -> None:
    """Tell which of these queues wait for a slot. Raises ``BrokerAway``."""
    looked_at = time.monotonic()
    making_way.write(_waiting(consumed), looked_at)


def _waiting(consumed: Collection[str]) -> set[str]:
    in_hand = worker_slots.running()
    if len(in_hand) < worker_slots.count():
        return set()
    waiting = {message.queue for message in in_hand if not message.has_begun}
    waiting |= {queue for queue, depth in publisher.depths(consumed).items() if depth}
    if worker_slots.place_of_jobs() is JobsPlace.LEFT_OUT:
        waiting.discard(JOBS_QUEUE)
    return waiting.intersection(QUEUES)
