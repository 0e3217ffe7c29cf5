"""A Celery app without Django, whose job writes down each of its runs."""

import os
from datetime import timedelta
from pathlib import Path

from celery import Celery, Task

from scheduling import waits

app = Celery("chaos", broker=os.environ["REDIS_URL"], task_cls="scheduling.execution:Task")
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    # What a worker had in hand as Redis died comes again after 10 s, in place of an hour.
    broker_transport_options={"visibility_timeout": 10},
)
# As in the other chaos, scaled down with the time.
waits.UNSTARTED_WAIT = timedelta(seconds=20)


@app.task(name="chaos.note", bind=True)  # type: ignore[untyped-decorator]  # celery is untyped
def note(self: Task) -> None:
    """Add the fire's id to the file of runs: one write, so that processes do not mix lines."""
    with Path(os.environ["CHAOS_RUNS"]).open("ab", buffering=0) as runs:
        runs.write(f"{self.request.id}\n".encode())
