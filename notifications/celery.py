"""The setup of a Celery app that sends notifications: the system's own, or one of your project's.

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
notifications.celery.setup(app)
app.autodiscover_tasks()
"""

import contextlib
import gc
import os
from typing import Any

import billiard.util
from celery import Celery
from celery.signals import (
    beat_init,
    worker_before_create_process,
    worker_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from notifications.worker import shutdown, transports
from scheduling import redis_address

TASK = "notifications.worker.task:Task"
STEPS = (
    "notifications.queueing.worker_slots:SpareSlot",
    "notifications.queueing.slot_demand:Looks",
    "notifications.worker.message_faults:BeginBoundary",
)


def setup(app: Celery) -> None:
    """Have an app's workers keep the promises of notifications and schedules.

    Call it right after the app was made, before a task is defined: the class of its tasks is
    set here, too. Raises RuntimeError if a task is defined already.
    """
    if "Task" in vars(app):
        raise RuntimeError("Call notifications.celery.setup(app) before the first task is defined.")
    # Celery's command takes BROKER_URL for its own --broker, and hands it on by this name.
    if broker := os.environ.get("CELERY_BROKER_URL"):
        os.environ["CELERY_BROKER_URL"] = redis_address.for_kombu(broker)
    # Celery runs Django's checks, which load every page, and reads nothing of what they say.
    os.environ.setdefault("CELERY_SKIP_CHECKS", "true")
    transports.register()
    app.task_cls = TASK
    app.control_cls = "notifications.canvas.control:Control"
    app.steps["worker"].update(STEPS)
    app.on_after_configure.connect(_refuse_bad_settings, weak=False)
    worker_init.connect(_refuse_bad_settings, weak=False)
    worker_init.connect(shutdown.refuse_green_pools)  # before it waits for anything
    beat_init.connect(_refuse_bad_settings, weak=False)
    beat_init.connect(_count_as_beat, weak=False)  # before what may be counted
    worker_init.connect(_meet_servers, weak=False)
    beat_init.connect(_meet_servers, weak=False)
    worker_init.connect(_wait_for_migrations, weak=False)
    beat_init.connect(_wait_for_migrations, weak=False)
    worker_shutting_down.connect(shutdown.limit)
    worker_before_create_process.connect(_share_memory, weak=False)
    worker_process_shutdown.connect(_send_traces, weak=False)


def is_set_up(app: Celery) -> bool:
    """Return whether ``setup`` was called for this app."""
    return bool(app.task_cls == TASK)


def _share_memory(**_: Any) -> None:
    """Have a child share what it gets by the fork, and get what it would load by itself.

    billiard has a child end with its parent by a call that it parses from C where cffi is there;
    the question for the same loads the same. A garbage collector writes to what it looks at, so
    what is left of the start goes, and the rest is left alone.
    """
    with contextlib.suppress(OSError):  # not Linux
        billiard.util.get_pdeathsig()
    gc.collect()
    gc.freeze()


def _refuse_bad_settings(**_: Any) -> None:
    """End a process whose settings have errors. Raises SystemExit."""
    from notifications.worker import checks  # noqa: PLC0415 -- needs Django's settings

    checks.refuse_errors()


def _count_as_beat(**_: Any) -> None:
    """Count under a scheduler's own name; a worker takes its slot as it is configured."""
    from notifications import metrics  # noqa: PLC0415 -- needs Django's settings

    metrics.start("beat")


def _meet_servers(**_: Any) -> None:
    """Say at the start which server does not do its work."""
    from notifications.worker import connections  # noqa: PLC0415 -- as above

    connections.meet_servers()


def _send_traces(**_: Any) -> None:
    """Send what was traced, for a child of a pool ends without Python's own exit."""
    from notifications import tracing  # noqa: PLC0415 -- as above

    tracing.flush()


def _wait_for_migrations(**_: Any) -> None:
    """Take no work while the database has older tables than this code."""
    from notifications.db import schema  # noqa: PLC0415 -- as above

    schema.wait_for_migrations()
