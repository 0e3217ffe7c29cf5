"""A Celery app without Django, whose job writes down each of its runs."""

import os
import time
from datetime import datetime, timedelta
from pathlib import Path

from celery import Celery, Task

from scheduling import waits
from scheduling.backends import redis

app = Celery("chaos", broker=os.environ["REDIS_URL"], task_cls="scheduling.execution:Task")
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    # What a worker had in hand as Redis died comes again after 10 s, in place of an hour.
    broker_transport_options={"visibility_timeout": 10},
)
_true_time = redis._at


def _moved(time: tuple[int, int]) -> datetime:
    """Return what the clock shows that all processes share: Redis's own cannot be moved."""
    jump = float(Path(os.environ["CHAOS_CLOCK"]).read_text() or 0)
    return _true_time(time) + timedelta(seconds=jump)


redis._at = _moved

# As in the other chaos, scaled down with the time.
waits.UNSTARTED_WAIT = timedelta(seconds=20)


@app.task(name="chaos.note", bind=True)  # type: ignore[untyped-decorator]  # celery is untyped
def note(self: Task) -> None:
    """Add the fire's id to the file of runs."""
    _note(self.request.id)


@app.task(name="chaos.slow", bind=True)  # type: ignore[untyped-decorator]  # celery is untyped
def slow(self: Task, seconds: float) -> None:
    """Note the run as ``chaos.note`` does, and take long."""
    _note(self.request.id)
    time.sleep(seconds)


def _note(fire: str) -> None:
    """Write once, so that processes do not mix lines."""
    with Path(os.environ["CHAOS_RUNS"]).open("ab", buffering=0) as runs:
        runs.write(f"{fire}\n".encode())
