"""A batch to everyone in an audience, beside a running worker and scheduler.

Fewer or more recipients: AUDIENCE_ROWS=1000000 make bench ONLY=audience.
"""

import os
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import psutil

from bench import bulk
from bench.benchmark import Benchmark, Sample
from bench.stage import Stage, empty
from tests.many_recipients import fill
from tests.servers.process import wait_until

ROWS = int(os.environ.get("AUDIENCE_ROWS") or 300_000)
FIRST = 5.0  # seconds
LOOK = 0.05  # seconds


def _prepare(stage: Stage) -> None:
    from notifications.audiences import save_audience

    bulk.publish_template()
    fill(ROWS)
    save_audience("gold", {"field": "attributes.plan", "op": "eq", "value": "gold"})
    stage.processes.worker("--concurrency", bulk.WORKER_CHILDREN)


def prepare_pace(stage: Stage) -> Callable[[], Sample]:
    _prepare(stage)
    stage.processes.beat()

    def play() -> Sample:
        ours = ROWS / _seconds_until_written()
        empty(stage)
        started = time.perf_counter()
        _submit_all()
        floor = ROWS / (time.perf_counter() - started)
        empty(stage)
        return Sample(ours=ours, floor=floor)

    return play


def prepare_first(stage: Stage) -> Callable[[], Sample]:
    _prepare(stage)
    stage.processes.beat()

    def play() -> Sample:
        from notifications.models import Notification
        from notifications.operations import batches

        started = time.perf_counter()
        batch = _begin()
        wait_until(Notification.objects.filter(status="sent").exists, timeout=60)
        seconds = time.perf_counter() - started
        batches.cancel(batch)
        wait_until(lambda: _is_written(batch), timeout=60)
        empty(stage)
        return Sample(ours=seconds, floor=FIRST)

    return play


def prepare_memory(stage: Stage) -> Callable[[], Sample]:
    _prepare(stage)

    def play() -> Sample:
        scheduler = stage.processes.beat()
        batch, peak, over = _begin(), [0.0], Event()
        watcher = Thread(target=_watch, args=(scheduler.pid, peak, over))
        _wait_for(batch, 0.1)
        early = _megabytes(scheduler.pid)
        watcher.start()
        _wait_for(batch, 1.0)
        over.set()
        watcher.join()
        scheduler.end()
        empty(stage)
        return Sample(ours=peak[0], floor=early)

    return play


def _begin() -> Any:  # Django is not set up when this module is read
    from notifications.audiences import send_to_audience

    return send_to_audience(
        "gold",
        channel="simulator",
        template="bench",
        priority="low",
        context={"code": 7},
        variables={"name": "attributes.first_name"},
    )


def _seconds_until_written() -> float:
    started = time.perf_counter()
    batch = _begin()
    wait_until(lambda: _is_written(batch), timeout=4800)
    seconds = time.perf_counter() - started
    batch.refresh_from_db()
    if batch.accepted != ROWS:
        raise RuntimeError(f"Of {ROWS} recipients, {batch.accepted} got a row.")
    return seconds


def _submit_all() -> None:
    """Accept the same rows by ``send_many``, in this process."""
    from notifications.submission import send_many

    rows = (
        {"to": {"recipient": f"c-{n}"}, "context": {"name": f"N{n}", "code": 7}}
        for n in range(1, ROWS + 1)
    )
    send_many(rows, channel="simulator", template="bench", priority="low")


def _is_written(batch: Any) -> bool:
    batch.refresh_from_db()
    return bool(batch.closed_at is not None)


def _wait_for(batch: Any, part: float) -> None:
    """Wait until so much of the batch is written."""

    def reached() -> bool:
        batch.refresh_from_db()
        return bool(batch.accepted >= ROWS * part)

    wait_until(reached, timeout=4800)


def _watch(pid: int, peak: list[float], over: Event) -> None:
    while not over.wait(LOOK):
        peak[0] = max(peak[0], _megabytes(pid))


def _megabytes(pid: int) -> float:
    return float(psutil.Process(pid).memory_full_info().pss) / 2**20


PACE = Benchmark(
    title=f"rows written for an audience of {ROWS:,}, beside the worker that sends them",
    floor_title="the same rows by send_many",
    unit="/s",
    prepare=prepare_pace,
    target=">= 0.5 x",
    warm_ups=0,
)
FIRST_SENT = Benchmark(
    title=f"from the request to the first of {ROWS:,} sent",
    floor_title="what it may take",
    unit=" s",
    prepare=prepare_first,
    target="<= 1 x",
)
MEMORY = Benchmark(
    title=f"most memory (PSS) of the scheduler that writes {ROWS:,}",
    floor_title="after a tenth of them",
    unit=" MB",
    prepare=prepare_memory,
    target="<= 1.2 x",
    warm_ups=0,
)
