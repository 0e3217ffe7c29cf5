"""Eager mode (Celery's ``task_always_eager``): what would be published runs in this process.

It runs on commit, as a message is published on commit, and nothing runs after a rollback. What
comes of a delivery is in its row; its error is raised if ``task_eager_propagates`` says so. A
later time or attempt waits in the row: nobody in this process looks after it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from celery.app import default_app

from notifications.core.errors import DeliveryError


def is_on() -> bool:
    """Return whether there are no workers, and no broker is needed."""
    return bool(default_app.conf.task_always_eager)


@contextmanager
def turned_on() -> Iterator[None]:
    """Turn it on for a while, for every task of the project: for tests."""
    conf = default_app.conf
    before, conf.task_always_eager = conf.task_always_eager, True
    try:
        yield
    finally:
        conf.task_always_eager = before


def raises() -> bool:
    """Return whether a delivery's error is raised into the caller."""
    return is_on() and bool(default_app.conf.task_eager_propagates)


def run(name: str, kwargs: Mapping[str, Any]) -> Any:
    """Run a task that delivers. Raises its ``DeliveryError`` where eager mode propagates errors."""
    try:
        return default_app.tasks[name](**kwargs)
    except DeliveryError:
        if raises():
            raise
        return None
