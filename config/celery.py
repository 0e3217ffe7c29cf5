"""The Celery app. All of its settings live in ``config.settings`` under ``CELERY_``."""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, worker_init

from config import flower_guard
from notifications.celery import setup

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

flower_guard.install()
app = Celery("notifications")
app.config_from_object("django.conf:settings", namespace="CELERY")
setup(app)
app.autodiscover_tasks()


@app.on_after_configure.connect  # type: ignore[untyped-decorator]  # celery has no types
@worker_init.connect  # type: ignore[untyped-decorator]  # as above
@beat_init.connect  # type: ignore[untyped-decorator]  # as above
def refuse_bad_settings(**_: Any) -> None:
    """End a worker, a scheduler or Flower whose settings have errors. Raises SystemExit."""
    from config.checks import refuse_errors  # noqa: PLC0415 -- needs Django's settings

    refuse_errors()
