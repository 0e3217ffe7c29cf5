"""The floor: a raw Celery app in a bare Django project, whose task does nothing, on the same Redis.

Its results are off and its messages are acknowledged early, as Celery does by default.
"""

import time

from bench.floor_app import LATENCIES, QUEUE, app, nothing, timed
from bench.stage import Stage
from tests.servers.process import wait_until

__all__ = ["LATENCIES", "QUEUE", "app", "nothing", "seconds_for", "start_worker", "timed"]


def start_worker(stage: Stage, children: str) -> None:
    """Start its worker, in a Django project that has nothing of ours."""
    command = ("celery", "-A", "bench.floor_app", "worker", "--concurrency", children)
    worker = stage.processes.start("floor", *command, DJANGO_SETTINGS_MODULE="bench.floor_settings")
    app.conf.broker_url = stage.redis.url
    nothing.delay()
    with stage.redis.client() as broker:
        wait_until(lambda: worker.returncode is not None or not broker.llen(QUEUE), timeout=60)
    if worker.returncode is not None:
        raise RuntimeError(f"The floor's worker has ended:\n{worker.output()}")


def seconds_for(calls: int, stage: Stage) -> float:
    """Publish so many calls; return the seconds until no task waits or runs."""
    with stage.redis.client() as broker:
        started = time.perf_counter()
        for _ in range(calls):
            nothing.delay()
        wait_until(lambda: not broker.llen(QUEUE) and not broker.hlen("unacked"), timeout=120)
        return time.perf_counter() - started
