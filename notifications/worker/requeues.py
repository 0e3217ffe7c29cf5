"""A task that gives its message back again and again does so ever more slowly, and is seen.

``Reject(requeue=True)`` brings a message again at once, so that one which is always given back
takes all the time of a worker, and no line tells of it. Here each is counted, it is logged once,
and its slot waits before the message goes back: longer each time, up to ``LONGEST_BACKOFF``.
"""

import time
from collections import OrderedDict
from typing import Any

import structlog
from celery import signals, states

from notifications import metrics
from scheduling.outages import Requeued

log = structlog.get_logger(__name__)

FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 5.0  # seconds
REMEMBERED = 1000  # messages of this process that were given back
LOGGED_AT = 5  # times that this process gave a message back, when it is logged

_times: OrderedDict[str, int] = OrderedDict()


def connect() -> None:
    """Have this process notice what its tasks give back."""
    signals.task_postrun.connect(_on_postrun, weak=False)


def _on_postrun(sender: Any, task_id: str, state: str | None, retval: Any, **_: Any) -> None:
    if state != states.REJECTED or not retval.requeue:
        _times.pop(task_id, None)
        return
    metrics.requeued()
    if isinstance(retval, Requeued):
        return  # an outage, which is logged and waited out by itself
    times = _times.pop(task_id, 0) + 1
    _times[task_id] = times
    if len(_times) > REMEMBERED:
        _times.popitem(last=False)
    if times == LOGGED_AT:
        log.error("message_given_back_repeatedly", id=task_id[:64], task=sender.name, times=times)
    time.sleep(backoff(times))


def backoff(times: int) -> float:
    """Return the seconds that a slot waits when a message is given back for the nth time."""
    return 0.0 if times == 1 else float(min(FIRST_BACKOFF * 2.0 ** (times - 2), LONGEST_BACKOFF))
