"""What this worker has in hand, and the shares that hold: seen from its main process."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from celery import bootsteps
from celery.signals import worker_ready, worker_shutdown
from celery.worker import state
from django.db import Error, connection

from notifications.core import routing
from notifications.core.conf import conf
from notifications.db.shared_state import SharedStateAway
from notifications.queueing import allocation, making_way, slot_time
from notifications.queueing.fair_order import (
    FairOrder,
    JobsInHand,
    JobsPlace,
    Running,
    jobs_place,
    slots_of_jobs,
)
from notifications.queueing.slot_time import Meter
from scheduling import isolation, threads, watch
from scheduling.interruption import Request

EXCHANGED_EVERY = 2.0  # seconds while there is work; an operator's change is seen after that
LONGEST_GOODBYE = 2.0  # seconds
LOOKED_EVERY = 0.5  # seconds between two looks whether a spare slot is needed

log = structlog.get_logger(__name__)

_slots = 1
_can_grow = False
_weights: dict[str, float] = {}
# Slot time that is not charged to the local order yet, and that is not reported to Redis yet.
_uncharged, _unreported = Meter(), Meter()
_ends = threading.Event()
_took = threading.Condition()  # tells that this worker has taken a message, or ends
_exchanging: threading.Thread | None = None


@worker_ready.connect  # type: ignore[untyped-decorator]  # celery has no types
def start(sender: Any, **_: Any) -> None:
    """Note how many slots this worker has, and exchange with the others from now on."""
    global _slots, _can_grow, _exchanging  # noqa: PLW0603 -- one worker per process
    _slots = int(sender.pool.num_processes)
    _can_grow = sender.hub is not None and hasattr(sender.pool, "maintain_pool")
    _ends.clear()
    # Not in the worker's event loop, which a database or Redis may keep waiting.
    _exchanging = threads.lasting("allocation", _exchange_until_the_end)
    _exchanging.start()


@worker_shutdown.connect  # type: ignore[untyped-decorator]  # as above
def stop(**_: Any) -> None:
    """Report the remaining slot time, if Redis answers."""
    _ends.set()
    took()
    if _exchanging is not None:
        _exchanging.join(LONGEST_GOODBYE)


class TimedRequest(Request):
    """A message in a worker's hands that notes the slot time it took, however it ended.

    Messages are acknowledged late, so each is done when it is acknowledged or rejected. (Of
    ``on_success`` Celery makes a version of its own, which calls nobody's.)
    """

    def acknowledge(self) -> None:
        """Take it as done."""
        self._note()
        super().acknowledge()

    def reject(self, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 -- celery's signature
        """Give it back, or up."""
        self._note()
        super().reject(requeue=requeue)

    def _note(self) -> None:
        if self.acknowledged or not self.time_start:
            return  # noted already, or never begun
        queue, seconds = _queue_of(self), max(time.time() - self.time_start, 0.0)
        _uncharged.add(queue, seconds)
        _unreported.add(queue, seconds)
        took()  # who waits while this worker is idle has this to report


def fair_order() -> FairOrder:
    """Return this worker's order of queues; kombu asks for one per channel."""
    return FairOrder(
        weights=weights,
        spent=take_spent,
        running=running,
        slots=count,
        jobs_share=jobs_share(),
        can_grow=can_grow,
    )


def take_spent() -> dict[str, float]:
    """Return the slot seconds by queue since the last call."""
    return {queue: spent.seconds for queue, spent in _uncharged.take().items()}


def count() -> int:
    """Return the number of slots of this worker."""
    return _slots


def can_grow() -> bool:
    """Return whether this worker's pool can start a spare slot: only prefork does."""
    return _can_grow


def jobs_share() -> float:
    """Return the part of the slots that jobs take in their turn."""
    return conf.jobs_share


class SpareSlot(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """A worker step that adds one slot, once, when long jobs hold more slots than their share.

    Jobs may take every slot that waits for nobody, and a job can't be interrupted. So that
    notifications needn't wait for one to end, the pool grows by one child.
    It stays until the worker ends: a pool that shrinks and grows gains nothing.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._is_grown = False

    def register_with_event_loop(self, worker: Any, hub: Any) -> None:
        """Look again and again; Celery calls this after each connection to the broker."""
        hub.call_repeatedly(LOOKED_EVERY, self._look, worker)

    def _look(self, worker: Any) -> None:
        if self._is_grown or not _can_grow:
            return
        most = min(slots_of_jobs(_slots, jobs_share()), _slots - 1)
        if JobsInHand.among(running()).long <= most:
            return
        self._is_grown = True
        log.info("spare_slot_started", slots=_slots)
        worker.pool.grow(1)
        worker.pool.maintain_pool()
        worker.consumer._update_prefetch_count(1)  # noqa: SLF001 -- as Celery's own pool_grow does


def took() -> None:
    """Tell the children what is in hand, and who waits in ``wait_while_idle`` that it may be.

    The processor goes to messages that name one notification. Of a backlog, whose messages stand
    for many, the weights say what each queue gets.
    """
    making_way.hold(
        {_queue_of(request) for request in _reserved() if request.name == routing.SEND_TASK}
    )
    with _took:
        _took.notify_all()


def wait_while_idle(is_over: Callable[[], object]) -> None:
    """Wait until this worker has a message in hand, or ``is_over``, of which ``took`` tells."""
    with _took:
        _took.wait_for(lambda: state.reserved_requests or is_over())


def running() -> list[Running]:
    """Return the messages that this worker has taken and not finished."""
    now = time.time()
    return [
        Running(
            queue=_queue_of(request),
            seconds=now - request.time_start if request.time_start else 0.0,
            has_begun=bool(request.time_start),
        )
        for request in _reserved()
    ]


def place_of_jobs() -> JobsPlace:
    """Return where the queue of jobs stands now."""
    return jobs_place(
        JobsInHand.among(running()),
        slots=_slots,
        share=jobs_share(),
        can_grow=_can_grow,
    )


def _reserved() -> list[Any]:
    """Copy what Celery has in hand; its event loop may change it meanwhile."""
    while True:
        try:
            return list(state.reserved_requests)
        except RuntimeError:  # "Set changed size during iteration"
            continue


def jobs_left() -> list[float | None]:
    """Return the seconds that each running job has left; ``None`` for one without a time limit."""
    jobs = [
        request
        for request in _reserved()
        if _queue_of(request) == routing.JOBS_QUEUE and request.time_start
    ]
    return [_time_left(job) for job in jobs]


def _time_left(request: Any) -> float | None:
    limit = _time_limit(request)
    return None if limit is None else limit - (time.time() - request.time_start)


def _time_limit(request: Any) -> float | None:
    """Return a message's hard limit, or else its soft one, or else the task's own, in seconds."""
    hard, soft = request.time_limits
    limit = hard or soft or request.task.time_limit or request.task.soft_time_limit
    return float(limit) if limit else None


def _queue_of(request: Any) -> str:
    return str((request.delivery_info or {}).get("routing_key", ""))


def weights() -> Mapping[str, float]:
    """Return each queue's weight, as it was a moment ago."""
    return _weights or routing.default_weights(conf.weights)


def _exchange_until_the_end() -> None:
    while not _ends.is_set():
        with isolation.aside("allocation"):
            _exchange()
        _ends.wait(EXCHANGED_EVERY)
        wait_while_idle(lambda: _ends.is_set() or not _unreported.is_empty)
    with isolation.aside("allocation"):
        _exchange()


def _exchange() -> None:
    """Read the weights, and report the slot time."""
    try:
        _weights.update(allocation.weights())
        slot_time.report(_unreported.take())
    except SharedStateAway:
        return  # said by whoever lends it; the shares of these seconds are not known
    except Error as error:
        if watch.database_outage(error) is None:
            log.warning("queue_weights_not_read", error=type(error).__name__)
    finally:
        connection.close()
