"""The project's Celery app with a few jobs, for workers and schedulers in tests.

Celery has no types, hence the ignored decorators.
"""

import os
import time
from pathlib import Path

from celery import Task

from config.celery import app

RUNS = "SCHEDULING_TEST_RUNS"
"""The environment variable that names the file to which each run adds a line."""


__all__ = ["app"]


@app.task(name="jobs.note", bind=True)  # type: ignore[untyped-decorator]
def note(self: Task, text: str = "") -> None:
    """Add the fire's id to the file of runs: one write, so that processes do not mix lines."""
    with Path(os.environ[RUNS]).open("ab", buffering=0) as runs:
        runs.write(f"{self.request.id} {text}\n".encode())


@app.task(name="jobs.sleep", bind=True)  # type: ignore[untyped-decorator]
def sleep(self: Task, seconds: float) -> None:
    note.run(f"begin {self.request.id}")
    time.sleep(seconds)


@app.task(name="jobs.fail", bind=True)  # type: ignore[untyped-decorator]
def fail(self: Task) -> None:
    note.run(f"begin {self.request.id}")
    raise ValueError("this job always fails")


@app.task(name="jobs.door", accepted_is_done=True)  # type: ignore[untyped-decorator]
def door() -> None:
    """Stands for a task whose own ``apply_async`` is durable."""
