"""The project's Celery app with a few jobs, for workers and schedulers in tests.

Celery has no types, hence the ignored decorators.
"""

import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from celery import Task, group, signals
from celery.exceptions import Ignore, Reject

from config.celery import app
from scheduling import waits

RUNS = "SCHEDULING_TEST_RUNS"
"""The environment variable that names the file to which each run adds a line."""
UNSTARTED_WAIT = "SCHEDULING_TEST_UNSTARTED_WAIT"
"""The environment variable that scales ``waits.UNSTARTED_WAIT`` down; seconds."""


__all__ = ["app"]


@signals.worker_init.connect  # type: ignore[untyped-decorator]
@signals.beat_init.connect  # type: ignore[untyped-decorator]
def scale_down(**_: Any) -> None:
    if seconds := os.environ.get(UNSTARTED_WAIT):
        waits.UNSTARTED_WAIT = timedelta(seconds=float(seconds))


@app.task(name="jobs.note", bind=True)  # type: ignore[untyped-decorator]
def note(self: Task, text: str = "") -> None:
    """Add the fire's id to the file of runs: one write, so that processes do not mix lines."""
    with Path(os.environ[RUNS]).open("ab", buffering=0) as runs:
        runs.write(f"{self.request.id} {text}\n".encode())


@app.task(name="jobs.slow", bind=True)  # type: ignore[untyped-decorator]
def slow(self: Task, seconds: float) -> None:
    """Note the run as ``jobs.note`` does, and take long."""
    with Path(os.environ[RUNS]).open("ab", buffering=0) as runs:
        runs.write(f"{self.request.id} slow\n".encode())
    time.sleep(seconds)


@app.task(name="jobs.sleep", bind=True)  # type: ignore[untyped-decorator]
def sleep(self: Task, seconds: float) -> None:
    note.run(f"begin {self.request.id}")
    time.sleep(seconds)


@app.task(name="jobs.span")  # type: ignore[untyped-decorator]
def span(seconds: float) -> None:
    """Note its begin and its end."""
    note.run("begin")
    time.sleep(seconds)
    note.run("end")


@app.task(name="jobs.fail", bind=True)  # type: ignore[untyped-decorator]
def fail(self: Task) -> None:
    note.run(f"begin {self.request.id}")
    raise ValueError("this job always fails")


@app.task(name="jobs.end", bind=True)  # type: ignore[untyped-decorator]
def end(self: Task, way: str) -> Any:
    """End in one of the ways in which a task can."""
    note.run(f"{way} {self.request.id}")
    return WAYS[way](self)


def reject_once(task: Task) -> None:
    if not task.request.delivery_info.get("redelivered"):
        raise Reject("another worker shall do it", requeue=True)


def reject(_: Task) -> None:
    raise Reject("nobody shall do it", requeue=False)


def ignore(_: Task) -> None:
    raise Ignore


def retry_once(task: Task, **when: Any) -> None:
    if not task.request.retries:
        raise task.retry(**when)


def sleep_on(_: Task) -> None:
    for _second in range(60):
        try:
            time.sleep(60)
        except Exception:  # noqa: BLE001 -- it shall be killed for it
            continue


def out_of_memory(_: Task) -> None:
    raise MemoryError


WAYS: dict[str, Any] = {
    "return": lambda _: None,
    "raise": lambda _: 1 / 0,
    "ignore": ignore,
    "reject": reject,
    "reject once": reject_once,
    "replace": lambda task: task.replace(note.si("replaced")),
    "replace by a group": lambda task: task.replace(group(note.si("one"), note.si("two"))),
    "retry": lambda task: retry_once(task, countdown=1),
    "retry at": lambda task: retry_once(task, eta=datetime.now(UTC) + timedelta(seconds=1)),
    "retry late": lambda task: retry_once(task, countdown=900),
    "be out of memory": out_of_memory,
    "exit": lambda _: sys.exit(3),
    "die": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "hang": sleep_on,
    "be revoked": lambda _: time.sleep(60),
    "return what cannot be stored": lambda _: object(),
}


@app.task(name="jobs.limited", time_limit=60)  # type: ignore[untyped-decorator]
def limited() -> None:
    """Stands for a task with a time limit of its own."""


@app.task(name="jobs.retry_later", bind=True)  # type: ignore[untyped-decorator]
def retry_later(self: Task, seconds: float) -> None:
    """Ask once to run again after so many seconds."""
    note.run(f"begin {self.request.id}")
    retry_once(self, countdown=seconds)


@app.task(name="jobs.door", accepted_is_done=True)  # type: ignore[untyped-decorator]
def door() -> None:
    """Stands for a task whose own ``apply_async`` is durable."""


@app.task(name="jobs.give_back")  # type: ignore[untyped-decorator]
def give_back(text: str) -> None:
    """Return the message back to the broker, always."""
    raise Reject(text, requeue=True)
