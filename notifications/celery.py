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
from celery.worker import WorkController
from django.apps import apps
from django.conf import ENVIRONMENT_VARIABLE, settings
from django.core.checks import Error

from notifications.core import descriptors, needed
from notifications.core.routing import SEND_TASK
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
    set here, too. Raises RuntimeError if a task is defined already, or nothing says where Django's
    settings are.
    """
    if "Task" in vars(app):
        raise RuntimeError("Call notifications.celery.setup(app) before the first task is defined.")
    if not (settings.configured or os.environ.get(ENVIRONMENT_VARIABLE)):
        raise RuntimeError(
            "Nothing says where Django's settings are. Call, before the app is made, "
            f'os.environ.setdefault("{ENVIRONMENT_VARIABLE}", "yourproject.settings").'
        )
    # Celery's command takes BROKER_URL for its own --broker, and hands it on by this name.
    if broker := os.environ.get("CELERY_BROKER_URL"):
        os.environ["CELERY_BROKER_URL"] = redis_address.for_kombu(broker)
    # Celery runs Django's checks, which load every page, and reads nothing of what they say.
    os.environ.setdefault("CELERY_SKIP_CHECKS", "true")
    transports.register()
    app.task_cls = TASK
    app.control_cls = "notifications.canvas.control:Control"
    app.steps["worker"].update(STEPS)
    refuse_unfit_apps()
    app.on_after_finalize.connect(
        _refuse_without_apps, weak=False
    )  # before beat's scheduler is made
    app.on_after_configure.connect(_refuse_bad_settings, weak=False)
    worker_init.connect(_raise_limit, weak=False)
    beat_init.connect(_raise_limit, weak=False)
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


def problem_of(app: Celery) -> Error | None:
    """Return what an app lacks in which workers or schedulers of notifications could run."""
    if app.task_cls != TASK:
        return Error(
            f"The Celery app {app.main!r} is not set up for notifications.",
            hint="Call notifications.celery.setup(app) where it is made, and import the app in "
            "your project's __init__.py.",
            id="notifications.E006",
        )
    if app._config_source is None:  # noqa: SLF001 -- to read `app.conf` would load it
        return Error(
            f"The Celery app {app.main!r} does not read Django's settings.",
            hint='Call app.config_from_object("django.conf:settings", namespace="CELERY") where '
            "it is made.",
            id="notifications.E007",
        )
    return None


def refuse_unfit_apps() -> None:
    """Have no worker or scheduler begin whose app lacks something, also if it is not set up."""
    worker_init.connect(_refuse_unfit, weak=False)
    beat_init.connect(_refuse_unfit, weak=False)


def _refuse_unfit(sender: Any, **_: Any) -> None:
    """End a process of such an app, or of a project without our apps. Raises SystemExit."""
    if problem := problem_of(sender.app):
        raise SystemExit(f"{problem.id}: {problem.msg} {problem.hint}")
    _refuse_without_apps()
    if isinstance(sender, WorkController) and SEND_TASK not in sender.app.tasks:
        raise SystemExit(
            f"notifications.E008: The Celery app {sender.app.main!r} has not the tasks of "
            "notifications. Call app.autodiscover_tasks() where it is made."
        )


def _refuse_without_apps(**_: Any) -> None:
    """End a process whose apps are loaded, and ours are not among them. Raises SystemExit."""
    if apps.ready and not apps.is_installed("notifications"):
        raise SystemExit(f"INSTALLED_APPS lacks notifications: {needed.REMEDY}")


def _share_memory(**_: Any) -> None:
    """Have a child share what it gets by the fork, and get what it would load by itself.

    billiard has a child end with its parent by a call that it parses from C where cffi is there;
    the question for the same loads the same. A garbage collector writes to what it looks at, so
    what there is now is left alone. Before a later child it looks at what came since the first; to
    look at all that the start has loaded takes 0.1 s of processor time, and frees nothing.
    """
    with contextlib.suppress(OSError):  # not Linux
        billiard.util.get_pdeathsig()
    if gc.get_freeze_count():
        gc.collect()
    gc.freeze()


def _raise_limit(**_: Any) -> None:
    descriptors.raise_limit()


def _refuse_bad_settings(**_: Any) -> None:
    """End a process whose settings have errors. Raises SystemExit."""
    if missing := needed.missing_settings():
        raise SystemExit(missing)
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
