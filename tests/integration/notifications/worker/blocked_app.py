"""Our app, in a worker whose main process stops doing anything once it is ready."""

import time
from typing import Any

import structlog
from celery.signals import worker_ready

from config import celery_app as app

__all__ = ["app"]


@worker_ready.connect  # type: ignore[untyped-decorator]  # celery has no types
def _block(**_: Any) -> None:
    structlog.get_logger(__name__).warning("blocked")
    while True:
        time.sleep(1)
