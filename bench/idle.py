"""What the system's processes cost while nothing is to be done: memory, a start, and ticks.

Memory is the proportional set size (PSS), so that what a worker shares with its children counts
once. Processor time is that of a process and its children, whatever else the machine does.
"""

import time
from collections.abc import Callable, Iterable

import psutil

from bench.benchmark import Benchmark, Sample
from bench.stage import Stage
from tests.servers.process import wait_until

SETTLE = 5.0  # seconds after a start, in which the first ticks load the rest
WATCHED = 20.0  # seconds
WORKER, SCHEDULER, WEB = 120.0, 60.0, 120.0  # MB
START = 1.0  # seconds of processor time
TICKS = 2.0  # percent of a core


def prepare_worker(stage: Stage) -> Callable[[], Sample]:
    return _memory(stage.processes.worker("--concurrency", "2").pid, WORKER)


def prepare_scheduler(stage: Stage) -> Callable[[], Sample]:
    return _memory(stage.processes.beat().pid, SCHEDULER)


def prepare_web(stage: Stage) -> Callable[[], Sample]:
    return _memory(stage.processes.web()[0].pid, WEB)


def prepare_start(stage: Stage) -> Callable[[], Sample]:
    stage.processes.beat()

    def play() -> Sample:
        worker = stage.processes.worker("--concurrency", "2")
        _deliver_one()
        seconds = _seconds([psutil.Process(worker.pid)])
        worker.end()
        return Sample(ours=seconds, floor=START)

    return play


def prepare_ticks(stage: Stage) -> Callable[[], Sample]:
    stage.processes.worker("--concurrency", "2")
    stage.processes.beat()
    stage.processes.web()
    time.sleep(SETTLE)

    def play() -> Sample:
        processes = [psutil.Process(pid) for pid in stage.pids().values()]
        before, started = _seconds(processes), time.monotonic()
        time.sleep(WATCHED)
        spent = _seconds(processes) - before
        return Sample(ours=spent / (time.monotonic() - started) * 100, floor=TICKS)

    return play


def _memory(pid: int, most: float) -> Callable[[], Sample]:
    time.sleep(SETTLE)
    process = psutil.Process(pid)

    def play() -> Sample:
        pss = sum(one.memory_full_info().pss for one in _with_children(process))
        return Sample(ours=pss / 2**20, floor=most)

    return play


def _with_children(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _seconds(processes: Iterable[psutil.Process]) -> float:
    times = [one.cpu_times() for process in processes for one in _with_children(process)]
    return float(sum(one.user + one.system for one in times))


def _deliver_one() -> None:
    from notifications.models import Notification
    from notifications.submission import send

    row = send(channel="simulator", recipient="bench", subject="S", body="B")
    wait_until(Notification.objects.filter(id=row.id, status="sent").exists, timeout=60)


IDLE_WORKER = Benchmark(
    title="memory (PSS) of an idle worker with two children",
    floor_title="what it may be",
    unit=" MB",
    prepare=prepare_worker,
    target=f"<= {WORKER:.0f} MB",
)

IDLE_SCHEDULER = Benchmark(
    title="memory (PSS) of an idle scheduler",
    floor_title="what it may be",
    unit=" MB",
    prepare=prepare_scheduler,
    target=f"<= {SCHEDULER:.0f} MB",
)

IDLE_WEB = Benchmark(
    title="memory (PSS) of an idle web process",
    floor_title="what it may be",
    unit=" MB",
    prepare=prepare_web,
    target=f"<= {WEB:.0f} MB",
)

WORKER_START = Benchmark(
    title="processor time of a worker, start to first delivery",
    floor_title="what it may be",
    unit=" s",
    prepare=prepare_start,
    target=f"<= {START:.0f} s",
)

IDLE_PROCESSOR = Benchmark(
    title="processor time of all processes while idle, percent of a core",
    floor_title="what it may be",
    unit=" %",
    prepare=prepare_ticks,
    target=f"<= {TICKS:.0f} %",
)
