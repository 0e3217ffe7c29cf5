"""The Celery app. All of its settings live in ``config.settings`` under ``CELERY_``."""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_shutting_down

from config import shutdown

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("notifications", task_cls="config.task_class:Task")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
worker_shutting_down.connect(shutdown.limit)


@app.on_after_configure.connect  # type: ignore[untyped-decorator]  # celery has no types
def refuse_bad_settings(**_: Any) -> None:
    """End a worker, a scheduler or Flower whose settings have errors. Raises SystemExit."""
    from config.checks import refuse_errors  # noqa: PLC0415 (needs Django's settings)

    refuse_errors()
