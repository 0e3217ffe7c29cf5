"""What this worker has in hand, and the shares that hold: seen from its main process."""

import threading
import time
from collections.abc import Mapping
from typing import Any

import structlog
from celery.signals import worker_ready, worker_shutdown
from celery.worker import state
from celery.worker.request import Request
from django.db import Error, connection

from notifications import allocation, conf, slot_time
from notifications.fair_order import Running, default_weights
from notifications.shared_state import SharedStateAway
from notifications.slot_time import Meter

EXCHANGED_EVERY = 2.0  # seconds; an operator's change is seen after that
LONGEST_GOODBYE = 2.0  # seconds

log = structlog.get_logger(__name__)

_slots = 1
_weights: dict[str, float] = {}
_unpaid, _untold = Meter(), Meter()  # slot time that the order, and all others, shall know of
_ends = threading.Event()
_exchanging: threading.Thread | None = None


@worker_ready.connect  # type: ignore[untyped-decorator]  # celery has no types
def start(sender: Any, **_: Any) -> None:
    """Note how many slots this worker has, and exchange with the others from now on."""
    global _slots, _exchanging  # noqa: PLW0603 -- one worker per process
    _slots = int(sender.pool.num_processes)
    _ends.clear()
    # Not in the worker's event loop, which a database or Redis may keep waiting.
    _exchanging = threading.Thread(target=_exchange_until_the_end, name="allocation", daemon=True)
    _exchanging.start()


@worker_shutdown.connect  # type: ignore[untyped-decorator]  # as above
def stop(**_: Any) -> None:
    """Tell the last that is to be told, if whoever keeps it answers."""
    _ends.set()
    if _exchanging is not None:
        _exchanging.join(LONGEST_GOODBYE)


class TimedRequest(Request):  # type: ignore[misc]  # celery has no types
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
        _unpaid.add(queue, seconds)
        _untold.add(queue, seconds)


def take_spent() -> dict[str, float]:
    """Give the slot seconds by queue since the last call."""
    return {queue: spent.seconds for queue, spent in _unpaid.take().items()}


def count() -> int:
    """Give the number of slots of this worker."""
    return _slots


def slow() -> float:
    """Give the seconds after which a message has overrun its slot: its provider must hang."""
    return float(conf.get("HOLD")) + 1.0


def running() -> list[Running]:
    """Give the messages that this worker has taken and not finished."""
    now = time.time()
    return [
        Running(
            queue=_queue_of(request),
            seconds=now - request.time_start if request.time_start else 0.0,
        )
        for request in list(state.reserved_requests)
    ]


def _queue_of(request: Any) -> str:
    return str((request.delivery_info or {}).get("routing_key", ""))


def weights() -> Mapping[str, float]:
    """Give each queue's weight, as it was a moment ago."""
    return _weights or default_weights(conf.get("WEIGHTS"))


def _exchange_until_the_end() -> None:
    while not _ends.is_set():
        _exchange()
        _ends.wait(EXCHANGED_EVERY)
    _exchange()


def _exchange() -> None:
    """Read the weights, and tell the slot time."""
    try:
        _weights.update(allocation.weights())
        slot_time.tell(_untold.take())
    except SharedStateAway:
        return  # said by whoever lends it; the shares of these seconds are not known
    except Error as error:
        log.warning("queue_weights_not_read", error=type(error).__name__)
    finally:
        connection.close()
