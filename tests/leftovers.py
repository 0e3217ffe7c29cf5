"""What a test must not leave in its process: any other test may be the next one there.

Each test begins with the caches of a process that has just started. Whatever else it changed it
puts back itself; else it fails, and is the one to mend rather than those that come later.
"""

import os

from celery import current_app
from celery.app import default_app

from notifications.api import limits
from notifications.db import shared_state
from notifications.delivery import claims
from notifications.metrics import process_folders
from notifications.monitoring import servers, throughput
from notifications.operations import api_keys
from notifications.providers import accounts, endpoints, health
from notifications.queueing import publisher, release_window
from notifications.recipients import categories, suppressions, windows
from scheduling import passing_over, watch
from templates_engine import catalog

# What pytest sets for each test, and a process for its children once it counts.
CHANGING = ("PYTEST_CURRENT_TEST", process_folders.VARIABLE)


def forget() -> None:
    """Have the process be as one that has just started, knowing of no table and of no outage."""
    read = (accounts, suppressions, categories, windows, health, endpoints, api_keys)
    for module in (*read, throughput, servers):
        module.forget()
    catalog.clear()
    passing_over.forget()
    release_window._rooms.clear()
    claims._holds_until = claims._faults_until = 0.0
    publisher._away_until = shared_state._away_until = limits._away_until = 0.0
    for watch_ in (publisher.watch, shared_state.watch, watch.database):
        watch_._reset()


def state() -> dict[str, object]:
    """Return what has to be after a test as it was before."""
    return {
        **{f"the variable {k}": v for k, v in os.environ.items() if k not in CHANGING},
        "Celery's current app": current_app.main,
        "Celery's default app": default_app.main,
        "eager mode": default_app.conf.task_always_eager,
        "eager mode's errors": default_app.conf.task_eager_propagates,
    }


def between(before: dict[str, object], after: dict[str, object]) -> str:
    """Return a line for each difference of two states."""
    changed = (k for k in {**before, **after} if before.get(k) != after.get(k))
    return "\n".join(f"{k}: {before.get(k)!r} became {after.get(k)!r}" for k in changed)
