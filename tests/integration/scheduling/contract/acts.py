"""What the tests of the contract do to a backend."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from celery import Celery
from django.db import connections

from scheduling import jobs
from scheduling.kept.protocol import Backend
from tests.integration.scheduling.backends import Stage

TASK = "jobs.note"
MINUTE = timedelta(minutes=1)


def tick(backend: Backend, app: Celery) -> None:
    while not backend.tick(app):
        pass


def due(stage: Stage, name: str = "job", seconds_ago: float = 0.1, **options: Any) -> None:
    jobs.register(name, TASK, options.pop("every", 60), **options)
    stage.make_due(name, seconds_ago)


def fired(stage: Stage, app: Celery, **options: Any) -> Any:
    """Have a job fire once; return its fire, which is published."""
    due(stage, **options)
    tick(stage.backend, app)
    (fire,) = jobs.fires("job")
    return fire


def at_once(work: Callable[[], Any], count: int = 4) -> list[Any]:
    """Do the same in several threads."""

    def alone() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(alone) for _ in range(count)]]


def tick_until(backend: Backend, app: Celery, predicate: Callable[[], Any]) -> None:
    deadline = backend.now() + timedelta(seconds=20)
    while not predicate():
        backend.tick(app)
        assert backend.now() < deadline
