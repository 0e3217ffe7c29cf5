"""Has Celery's processes count and be scraped; beat begins to count in ``notifications.celery``."""

from typing import Any

from celery.signals import beat_init, celeryd_init, worker_ready

from notifications.metrics import process_folders
from notifications.monitoring import exposition


@celeryd_init.connect  # type: ignore[untyped-decorator]  # celery has no types
def start_in_worker(**_: Any) -> None:
    """Take a slot that the children, forked later, count into."""
    process_folders.start("worker")


@worker_ready.connect  # type: ignore[untyped-decorator]  # as above
def serve_in_worker(**_: Any) -> None:
    """Listen only now that the children are forked: a listening socket is not theirs."""
    exposition.serve()


@beat_init.connect  # type: ignore[untyped-decorator]  # as above
def serve_in_beat(**_: Any) -> None:
    """Listen at once: a scheduler has no children."""
    exposition.serve()
