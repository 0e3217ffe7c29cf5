"""What this worker has in hand, and the shares that hold: seen from its main process."""

import threading
import time
from collections.abc import Mapping
from typing import Any

import structlog
from celery.signals import worker_ready
from celery.worker import state
from celery.worker.request import Request
from django.db import Error, connection

from notifications import conf
from notifications.fair_order import Running, default_weights
from notifications.models import QueueWeight

FRESH = 2.0  # seconds; an operator's change is seen after that

log = structlog.get_logger(__name__)

_slots = 1
_weights: dict[str, float] = {}
_spent: dict[str, float] = {}
_read_at = float("-inf")


@worker_ready.connect  # type: ignore[untyped-decorator]  # celery has no types
def remember(sender: Any, **_: Any) -> None:
    """Note how many slots this worker has."""
    global _slots  # noqa: PLW0603 -- one worker per process
    _slots = int(sender.pool.num_processes)


class TimedRequest(Request):  # type: ignore[misc]  # celery has no types
    """A message in a worker's hands that notes the slot time it took, however it ended."""

    def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> Any:
        """Receive every result of the pool, a failure too, with its run time in seconds."""
        queue = _queue_of(self)
        _spent[queue] = _spent.get(queue, 0.0) + failed__retval__runtime[2]
        return super().on_success(failed__retval__runtime, **kwargs)


def take_spent() -> dict[str, float]:
    """Give the slot seconds by queue since the last call."""
    taken = dict(_spent)
    _spent.clear()
    return taken


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
    """Give each queue's weight: the settings', with the operator's laid over them."""
    global _read_at  # noqa: PLW0603 -- as above
    if not _weights:
        _weights.update(default_weights(conf.get("WEIGHTS")))
    if time.monotonic() - _read_at > FRESH:
        _read_at = time.monotonic()
        # Not here: this is the worker's event loop, and a database may keep it waiting.
        threading.Thread(target=_read, name="queue-weights", daemon=True).start()
    return _weights


def _read() -> None:
    try:
        own = dict(QueueWeight.objects.values_list("queue", "weight"))
        _weights.update({**default_weights(conf.get("WEIGHTS")), **own})
    except Error as error:
        log.warning("queue_weights_not_read", error=type(error).__name__)
    finally:
        connection.close()
