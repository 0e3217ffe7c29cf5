"""A ``celery beat`` whose scheduler is not ours does nothing for jobs: it says so as it starts."""

import logging
from typing import Any

from celery.signals import beat_init

logger = logging.getLogger(__name__)


def connect() -> None:
    """Look at the scheduler of each ``celery beat`` that starts."""
    beat_init.connect(_say, weak=False)


def _say(sender: Any, **_: Any) -> None:
    """Log an error unless the scheduler is ours, or made from it; somebody may want another one."""
    from scheduling.backends.beat import BackendScheduler  # noqa: PLC0415 -- no other process
    from scheduling.scheduler import Scheduler  # noqa: PLC0415 -- as above

    kind = type(sender.scheduler)
    if not issubclass(kind, Scheduler | BackendScheduler):
        logger.error(
            "This beat runs by %s.%s: it runs no jobs, and applies no policies to schedules. Set "
            'CELERY_BEAT_SCHEDULER = "scheduling.scheduler:Scheduler", and start it without -S.',
            kind.__module__,
            kind.__qualname__,
        )
