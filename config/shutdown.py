"""How a worker ends: SIGTERM finishes what is being sent, a second one hurries.

Celery waits for running tasks without a limit and ignores a second SIGTERM. Here the wait ends
after ``WORKER_SHUTDOWN_GRACE`` seconds, or at the second signal: then the running tasks are
cancelled and their messages go back to the broker.
"""

import os
import signal
import threading
from typing import Any

from django.conf import settings


def limit(how: str, **_: Any) -> None:
    """Put a limit to a warm shutdown that has just begun; receives ``worker_shutting_down``."""
    if how != "Warm":
        return
    signal.signal(signal.SIGTERM, lambda *_: _hurry())
    timer = threading.Timer(settings.WORKER_SHUTDOWN_GRACE, _hurry)
    timer.daemon = True
    timer.start()


def _hurry() -> None:
    """Begin Celery's cold shutdown in this process."""
    os.kill(os.getpid(), signal.SIGQUIT)
