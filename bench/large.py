"""A million by ``send_many`` beside a running worker: pace, steadiness, size, and memory.

Fewer or more rows: LARGE_ROWS=100000 make bench ONLY=large_pace.
"""

import os
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import psutil

from bench import bulk, urgency
from bench.benchmark import Benchmark, Sample
from bench.growth import fill
from bench.slow_stage import SlowStage
from bench.stage import Stage, empty

ROWS = int(os.environ.get("LARGE_ROWS") or 1_000_000)
PACE = 10_000.0  # a second
SIZE = 600.0  # bytes
LATEST = 60.0  # milliseconds
OLD = timedelta(days=100)


def prepare_pace(stage: Stage) -> Callable[[], Sample]:
    bulk.prepare_ours(stage)
    return lambda: Sample(ours=ROWS / bulk.seconds_for(ROWS, stage), floor=PACE)


def prepare_steadiness(stage: Stage) -> Callable[[], Sample]:
    bulk.prepare_ours(stage)

    def play() -> Sample:
        bulk.send(ROWS)
        # Neither the first moment nor the last, when not all slots have work.
        early, late = _pace_between(0.1, 0.2), _pace_between(0.8, 0.9)
        empty(stage)
        return Sample(ours=late, floor=early)

    return play


def prepare_size(stage: Stage) -> Callable[[], Sample]:
    bulk.prepare_ours(stage)

    def play() -> Sample:
        empty(stage)
        before = _bytes()
        bulk.send(ROWS)
        each = (_bytes() - before) / ROWS
        empty(stage)
        return Sample(ours=each, floor=SIZE)

    return play


def prepare_memory(stage: Stage) -> Callable[[], Sample]:
    bulk.publish_template()

    def play() -> Sample:
        worker = stage.processes.worker("--concurrency", bulk.WORKER_CHILDREN)
        scheduler = stage.processes.beat()
        bulk.send(bulk.ROWS)  # loads what the first batch loads
        before = _megabytes((worker.pid, scheduler.pid))
        bulk.send(ROWS)
        after = _megabytes((worker.pid, scheduler.pid))
        for process in (worker, scheduler):
            process.end()
        empty(stage)
        return Sample(ours=after, floor=before)

    return play


def prepare_pruning(stage: Stage) -> Callable[[], Sample]:
    bulk.publish_template()
    slow = SlowStage(stage, 0)

    def play() -> Sample:
        fill(ROWS, OLD)
        command = ("python", "manage.py", "prune", "--days", "1", "--no-input")
        pruning = stage.processes.start("prune", *command)
        latest = urgency.p99(slow, "simulator", "high")
        if pruning.returncode is not None:
            raise RuntimeError("The pruning had ended before the last probe.")
        pruning.wait(timeout=600)
        empty(stage)
        return Sample(ours=latest * 1000, floor=LATEST)

    return play


def _pace_between(start: float, end: float) -> float:
    """Return how many were sent a second between two parts of all, by the database's clock."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT percentile_disc(%s) WITHIN GROUP (ORDER BY sent_at), "
            "percentile_disc(%s) WITHIN GROUP (ORDER BY sent_at) FROM notifications_notification",
            [start, end],
        )
        found: tuple[datetime, datetime] = cursor.fetchone()
    return ROWS * (end - start) / (found[1] - found[0]).total_seconds()


def _bytes() -> int:
    """Return what the tables of notifications and attempts take, with their indexes."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_total_relation_size('notifications_notification')"
            " + pg_total_relation_size('notifications_attempt')"
        )
        size: int = cursor.fetchone()[0]
    return size


def _megabytes(pids: Iterable[int]) -> float:
    """Return the memory (PSS) of processes and their children."""
    parents = [psutil.Process(pid) for pid in pids]
    all_ = [one for parent in parents for one in (parent, *parent.children(recursive=True))]
    return float(sum(one.memory_full_info().pss for one in all_)) / 2**20


LARGE_PACE = Benchmark(
    title=f"{ROWS:,} by send_many beside a running worker, to all sent",
    floor_title="what it must be",
    unit="/s",
    prepare=prepare_pace,
    target=">= 1 x",
    warm_ups=0,
)
LARGE_STEADINESS = Benchmark(
    title=f"the pace near the end of {ROWS:,}",
    floor_title="the pace near the start",
    unit="/s",
    prepare=prepare_steadiness,
    target=">= 1 x",
    warm_ups=0,
)
LARGE_SIZE = Benchmark(
    title=f"what one of {ROWS:,} takes in the tables and their indexes, once sent",
    floor_title="what it may take",
    unit=" B",
    prepare=prepare_size,
    target="<= 1 x",
    warm_ups=0,
)
LARGE_MEMORY = Benchmark(
    title=f"memory (PSS) of worker and scheduler after {ROWS:,} deliveries",
    floor_title=f"after {bulk.ROWS:,}",
    unit=" MB",
    prepare=prepare_memory,
    target="<= 1.2 x",
    warm_ups=0,
)
LARGE_PRUNING = Benchmark(
    title=f"high p99 while {ROWS:,} rows are pruned",
    floor_title="what it may be",
    unit=" ms",
    prepare=prepare_pruning,
    target="<= 1 x",
    warm_ups=0,
)
