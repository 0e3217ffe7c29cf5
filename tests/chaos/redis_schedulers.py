"""Three schedulers of an app without Django, and a worker, in a rough world.

    python -m tests.chaos.redis_schedulers --minutes 3 --seed 1

Harms: SIGKILL and SIGSTOP of a scheduler; SIGKILL of Redis, which is the broker, too, and starts
anew from its append-only file; Redis is out of memory; documents of jobs and fires become
unreadable; the clock that the processes share jumps, forward and back; the worker is replaced by
SIGTERM while jobs of 4 s run. A due time counts as missed if
the ledger has no run for it, as doubled if a run was written down twice.
"""

import argparse
import itertools
import os
import random
import signal
import sys
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from scheduling.backends.redis import RedisBackend
from scheduling.kept.documents import Job
from scheduling.terms import FireStatus
from tests.chaos.scheduler_harms import JUMPS, fill_redis
from tests.servers.process import wait_until
from tests.servers.processes import ROOT, Processes, RunningProcess
from tests.servers.reaper import temporary_folder
from tests.servers.redis import RedisServer

APP = "tests.chaos.redis_jobs_app"
BEAT = ("celery", "-A", APP, "beat", "-S", "scheduling.backends.redis:Scheduler")
LOG = ("-l", "info")
WORKER = ("celery", "-A", APP, "worker", "-c", "4")
SCHEDULERS, JOBS, SLOW_JOBS, BROKEN_JOBS = 3, 12, 2, 5
SLOW_SECONDS = 4
HARMS = ("kill", "worker", "rows", "clock", "oom", "redis", "stop")
PAUSE_SECONDS, STOP_SECONDS, OUTAGE_SECONDS = (0.5, 2.0), (2.0, 8.0), (1.0, 4.0)
BROKEN = ("7 {bad", "x", "7 null", '7 {"created_at": "infinity"}')
SETTLE_SECONDS = 120.0
LAST = timedelta(seconds=4)
"""What was due so late may rightly not have fired when the jobs were paused."""


class Chaos:
    """The processes, and what is done to them."""

    def __init__(self, redis: RedisServer, backend: RedisBackend, folder: Path, seed: int) -> None:
        self.runs = folder / "runs"
        self.runs.touch()
        env = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
        self._clock = folder / "clock"
        self._clock.touch()
        env |= {"REDIS_URL": redis.url, "CHAOS_RUNS": str(self.runs), "PYTHONPATH": str(ROOT)}
        env["CHAOS_CLOCK"] = str(self._clock)
        self.harms: Counter[str] = Counter()
        self._redis, self._backend = redis, backend
        self._random = random.Random(seed)
        self._processes = Processes(env, folder)
        self._numbers = itertools.count(1)
        self._worker = self._start_worker()
        self._schedulers = [self._start() for _ in range(SCHEDULERS)]
        for process in self._schedulers:
            process.wait_for_output("beat: Starting...")

    def play(self, seconds: float) -> None:
        """Do one harm after the other, each kind in turn, and at least once."""
        end = time.monotonic() + seconds
        for kind in itertools.cycle(HARMS):
            if time.monotonic() > end and self.harms.keys() >= {*HARMS}:
                return
            time.sleep(self._random.uniform(*PAUSE_SECONDS))
            self._do(kind, self._random.randrange(SCHEDULERS))

    def end(self) -> None:
        self._processes.end_all()

    def _do(self, kind: str, victim: int) -> None:
        if kind == "kill":
            self._schedulers[victim].kill()
            self._schedulers[victim] = self._start()
        elif kind == "stop":
            os.kill(self._schedulers[victim].pid, signal.SIGSTOP)
            time.sleep(self._random.uniform(*STOP_SECONDS))
            os.kill(self._schedulers[victim].pid, signal.SIGCONT)
        elif kind == "worker":
            old, self._worker = self._worker, self._start_worker()
            old.terminate()
        elif kind == "clock":
            self._jump(JUMPS[self.harms[kind] % len(JUMPS)])
        elif kind == "rows":
            self._break_documents()
        elif kind == "oom":
            fill_redis(self._redis.url, self._random.uniform(*OUTAGE_SECONDS))
        else:
            self._redis.kill()
            self._redis.start()
        self.harms[kind] += 1
        self.tend()

    def tend(self) -> None:
        """Start a worker anew that has ended, as a supervisor would."""
        if self._worker.returncode is not None:
            self.harms["workers that ended"] += 1
            self._worker = self._start_worker()

    def _jump(self, seconds: float) -> None:
        """Move the clock, for a while."""
        for by in (seconds, 0.0):
            # In one step: a process that reads it sees one or the other.
            moved = self._clock.with_suffix(".new")
            moved.write_text(str(by))
            moved.replace(self._clock)
            if by:
                time.sleep(self._random.uniform(*OUTAGE_SECONDS))

    def _break_documents(self) -> None:
        """Make a job's document, and those of the fires of another, unreadable."""
        number, text = self.harms["rows"], BROKEN[self.harms["rows"] % len(BROKEN)]
        store, client = self._backend.store, self._backend.store._client
        client.hset(store._jobs, f"broken {number % BROKEN_JOBS}", text)
        for fire in self._backend.fires(f"broken {(number + 1) % BROKEN_JOBS}", 10):
            client.hset(store._fires, str(fire.id), text)

    def _start_worker(self) -> RunningProcess:
        name = f"worker{next(self._numbers)}"
        worker = self._processes.start(name, *WORKER, "-n", f"{name}@%h", *LOG)
        worker.wait_for_output(" ready.")
        return worker

    def _start(self) -> RunningProcess:
        return self._processes.start("beat", *BEAT, *LOG)


def run(redis: RedisServer, folder: Path, *, seconds: float, seed: int = 0) -> str:
    """Harm schedulers, then count what ran. Return the report; raises ``AssertionError``."""
    backend = RedisBackend(redis.url)
    chaos = Chaos(redis, backend, folder, seed)
    try:
        begun = _make_jobs(backend)
        chaos.play(seconds)
        ended_at = backend.now()
        wait_until(
            lambda: _is_answered(backend, begun, ended_at), SETTLE_SECONDS, "Some jobs stand still"
        )
        for name in backend.names():
            backend.pause(name)
        _settle(backend, chaos)
    finally:
        chaos.end()
    return _judge(backend, begun, ended_at, chaos)


def _settle(backend: RedisBackend, chaos: Chaos) -> None:
    """Wait until all fires have ended. Raises ``AssertionError`` that names those that have not."""
    unfinished = backend.store.unfinished
    deadline = time.monotonic() + SETTLE_SECONDS
    while unfinished(1) and time.monotonic() < deadline:
        chaos.tend()
        time.sleep(0.5)
    assert not unfinished(1), f"At {backend.now()} these have not ended: {unfinished(20)}"


def _make_jobs(backend: RedisBackend) -> dict[str, datetime]:
    def make(name: str, every: int, **options: Any) -> Job:
        definition = {"name": name, "handler": "chaos.note", "schedule": {"every": every}}
        return backend.save(definition | {"misfire": "all", "misfire_cap": 70} | options)

    made = [make(f"chaos {number}", 1 + number % 3) for number in range(JOBS)]
    slow = {"handler": "chaos.slow", "args": [SLOW_SECONDS], "misfire_cap": 5}
    made += [make(f"slow {number}", 5 * SLOW_SECONDS, **slow) for number in range(SLOW_JOBS)]
    for number in range(BROKEN_JOBS):
        make(f"broken {number}", 1)
    return {job.name: job.answered_until for job in made if job.answered_until}


def _is_answered(backend: RedisBackend, names: dict[str, datetime], until: datetime) -> bool:
    return all((backend.job(name).answered_until or until) >= until - LAST for name in names)


def _judge(
    backend: RedisBackend, begun: dict[str, datetime], ended_at: datetime, chaos: Chaos
) -> str:
    runs = Counter(chaos.runs.read_text().split())
    expected, missed, doubled, late = 0, [], [], []
    for name, start in begun.items():
        fires = {fire.scheduled_for: fire for fire in backend.fires(name, 100_000)}
        period = timedelta(seconds=backend.job(name).rule["every"])
        due = start + period
        while due < ended_at - LAST:
            expected += 1
            fire = fires.get(due)
            if fire is None or fire.status != FireStatus.SUCCEEDED or not runs[str(fire.id)]:
                missed.append(f"{name} at {due}: {fire}")
            due += period
        doubled += [f"{name}: {f}" for f in fires.values() if runs[str(f.id)] > 1]
        late += [fire.lateness or 0.0 for fire in fires.values()]
    late.sort()
    harms = ", ".join(f"{count} {kind}" for kind, count in sorted(chaos.harms.items()))
    report = (
        f"{expected} due times, {len(missed)} missed, {len(doubled)} doubled; {harms}; lateness "
        f"p50 {late[len(late) // 2]:.3f} s, p99 {late[int(len(late) * 0.99)]:.3f} s"
    )
    assert not missed + doubled, "\n  ".join([report, *missed, *doubled])
    assert expected > 0
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    redis = RedisServer(durable=True).start()
    try:
        folder = temporary_folder("redis-chaos")
        report = run(redis, folder, seconds=arguments.minutes * 60, seed=arguments.seed)
    finally:
        redis.stop()
    sys.stdout.write(f"seed {arguments.seed}: {report}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
