"""The app of ``jobs_app``, with a tick that never ends."""

import time
from typing import Any

from celery import signals

from tests.integration.scheduling.jobs_app import app

__all__ = ["app"]


@signals.beat_init.connect  # type: ignore[untyped-decorator]
def register(**_: Any) -> None:
    from scheduling import ticker  # noqa: PLC0415 -- the models are loaded only now

    ticker.register("tests.never_ends", lambda: time.sleep(600))
