"""The floor's Celery app, whose worker loads nothing of ours."""

import os
import time

import redis
from celery import Celery

QUEUE = "floor"
LATENCIES = "floor-latencies"

# Not the current app: that is ours, in the process that publishes for both.
app = Celery("floor", broker=os.environ.get("BROKER_URL"), set_as_current=False)
app.conf.update(
    task_ignore_result=True,
    task_default_queue=QUEUE,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task  # type: ignore[untyped-decorator]  # celery has no types
def nothing() -> None:
    """Do nothing."""


@app.task  # type: ignore[untyped-decorator]  # celery has no types
def timed(called_at: float) -> None:
    """Note how many seconds it took to get here."""
    seconds = time.time() - called_at
    with redis.Redis.from_url(os.environ["BROKER_URL"]) as client:
        client.rpush(LATENCIES, seconds)
