"""Three schedulers and a worker in a rough world: is each due time run once?

    python -m tests.chaos.schedulers --minutes 10 --seed 1
    python -m tests.chaos.schedulers --minutes 2 --only kill,stop
    python -m tests.chaos.schedulers --minutes 5 --slow 60     (jobs of a minute, nothing scaled)
    python -m tests.chaos.schedulers --stop 60     (one scheduler sleeps so long, and wakes up)

Harms: SIGKILL and SIGSTOP of a scheduler; the database's clock jumps, forward and back; Postgres is
read-only; Redis is out of memory; rows of schedules become unreadable; the worker is replaced by
SIGTERM while jobs run that take longer than its grace. The figures of the system are scaled down
with the time: slow jobs take 4 s instead of a minute, the worker's grace is 1 s instead of 25, a
published fire that nobody starts is published again after 120 s instead of ten minutes.

Real beats and a real worker on a real Postgres and Redis. A due time counts as missed if the
ledger has no run for it, as doubled if the worker ran it twice: the worker writes each run to a
file of its own, so the ledger is not asked to judge itself. A due time of a schedule that may run
at most once may be lost by policy, and is counted so; it is missed if the ledger does not say that.
A row that became unreadable and is not in quarantine at the end is listed, too.
"""

import argparse
import contextlib
import itertools
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import django
from django.db import connection, transaction
from django.db.models import Q

from tests.chaos.scheduler_harms import JUMPS, Database, fill_redis
from tests.servers.postgres import migrated_server
from tests.servers.process import wait_until
from tests.servers.processes import Processes, RunningProcess
from tests.servers.reaper import temporary_folder
from tests.servers.redis import RedisServer

APP = "tests.integration.scheduling.jobs_app"
RUNS = "SCHEDULING_TEST_RUNS"
WORKER = ("celery", "-A", APP, "worker", "-c", "4", "-Q", "jobs", "-l", "info")
SCALED = {"SCHEDULING_TEST_UNSTARTED_WAIT": "120", "WORKER_SHUTDOWN_GRACE": "1"}
UNSCALED = {"SCHEDULING_TEST_UNSTARTED_WAIT": "120"}
SCHEDULES = 12
ONCE_SCHEDULES = 3
SLOW_SCHEDULES = 3
SLOW_SECONDS = 4
BROKEN_SCHEDULES = 5
HARMS = ("kill", "stop", "clock", "rows", "worker", "read-only", "redis")
SCHEDULERS = 3
PAUSE_SECONDS = (1.0, 5.0)
STOP_SECONDS = (2.0, 15.0)
OUTAGE_SECONDS = (2.0, 6.0)
MISFIRE_CAP, SLOW_MISFIRE_CAP = 70, 5
"""More due times than pass at once, but when the clock jumps by days."""
SETTLE_SECONDS = 600.0
"""At most; a slow machine has thousands of runs to catch up with after a jump by days."""


_JUDGED = Q(periodic_task__name__startswith="chaos") | Q(periodic_task__name__startswith="once")


@dataclass
class Report:
    """What a run of chaos came to."""

    seed: int
    slow: int = SLOW_SECONDS
    expected: int = 0
    lost: int = 0
    """Of schedules that may run at most once: the policy."""
    broken: set[str] = field(default_factory=set)
    unseen: list[str] = field(default_factory=list)
    """Schedules whose rows became unreadable, and that are not in quarantine."""
    missed: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    harms: Counter[str] = field(default_factory=Counter)
    lateness_p50: float = 0.0
    lateness_p99: float = 0.0
    lateness_max: float = 0.0

    def __str__(self) -> str:
        harms = ", ".join(f"{count} {kind}" for kind, count in sorted(self.harms.items()))
        return (
            f"seed {self.seed}: {self.expected} due times, {len(self.missed)} missed, "
            f"{len(self.doubled)} doubled, {self.lost} lost that may run at most once, "
            f"{len(self.broken)} rows broken, {len(self.unseen)} of them not in quarantine; "
            f"jobs of {self.slow} s; {harms}; lateness "
            f"p50 {self.lateness_p50:.3f} s, p99 {self.lateness_p99:.3f} s, "
            f"max {self.lateness_max:.3f} s"
        )


class Chaos:
    """Schedulers that are harmed at random, and replaced at once."""

    def __init__(self, processes: Processes, report: Report) -> None:
        self._processes = processes
        self._report = report
        self._random = random.Random(report.seed)
        self._numbers = itertools.count(1)
        self._database = Database(processes.env["DATABASE_URL"])
        self._worker = self._start_worker()
        self._schedulers = [self._start() for _ in range(SCHEDULERS)]
        self._await_all()

    def play(self, seconds: float, kinds: Sequence[str] = HARMS) -> None:
        """Do one harm after the other, each kind in turn; at the end all of them run."""
        end = time.monotonic() + seconds
        for kind in itertools.cycle(kinds):
            if time.monotonic() > end:
                return
            time.sleep(self._random.uniform(*PAUSE_SECONDS))
            self._await_all()
            self._do(kind, self._random.randrange(SCHEDULERS))

    def do_each(self, kinds: Sequence[str], stopped: float) -> None:
        """Do these harms, without much pause, while one scheduler sleeps for so many seconds."""
        wakes_at = time.monotonic() + stopped
        with self._stopped(self._schedulers[0]):
            for kind in kinds:
                time.sleep(PAUSE_SECONDS[0])
                self._do(kind, self._random.randrange(1, SCHEDULERS))
            time.sleep(max(wakes_at - time.monotonic(), 0.0))
        self._report.harms["stop"] += 1

    def _do(self, kind: str, victim: int) -> None:
        lasting = self._random.uniform(*OUTAGE_SECONDS)
        if kind == "kill":
            self._schedulers[victim].kill()
            self._schedulers[victim] = self._start()
        elif kind == "stop":
            with self._stopped(self._schedulers[victim]):
                time.sleep(self._random.uniform(*STOP_SECONDS))
        elif kind == "clock":
            self._database.jump(JUMPS[self._report.harms[kind] % len(JUMPS)], lasting)
        elif kind == "rows":
            self._report.broken.add(self._database.break_row(self._report.harms[kind]))
        elif kind == "worker":
            self._replace_worker()
        elif kind == "read-only":
            connection.close()
            self._database.be_read_only(lasting)
        elif kind == "redis":
            fill_redis(self._processes.env["BROKER_URL"], lasting)
        self._report.harms[kind] += 1
        self._tend_worker()

    def _replace_worker(self) -> None:
        """Deploy: the new worker is ready before the old one is told to stop."""
        old, self._worker = self._worker, self._start_worker()
        old.terminate()

    def _tend_worker(self) -> None:
        """Start a worker anew that has ended, as a supervisor would."""
        if self._worker.returncode is not None:
            self._worker = self._start_worker()

    def _start_worker(self) -> RunningProcess:
        name = f"worker{next(self._numbers)}"
        worker = self._processes.start(name, *WORKER, "-n", f"{name}@%h")
        worker.wait_for_output(" ready.")
        return worker

    def _start(self) -> RunningProcess:
        return self._processes.start("beat", "celery", "-A", APP, "beat", "-l", "info")

    def _await_all(self) -> None:
        """Have all of them at work, so that two are left whichever is harmed next."""
        for scheduler in self._schedulers:
            scheduler.wait_for_output("beat: Starting...")

    def stop_one(self, seconds: float) -> None:
        """Stop one scheduler, once for so long, among the others that are at work."""
        self._await_all()
        time.sleep(PAUSE_SECONDS[1])
        with self._stopped(self._schedulers[0]):
            time.sleep(seconds)
        self._report.harms["stop"] += 1
        time.sleep(PAUSE_SECONDS[1])

    @contextlib.contextmanager
    def _stopped(self, victim: RunningProcess) -> Iterator[None]:
        os.kill(victim.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(victim.pid, signal.SIGCONT)


def run(
    processes: Processes,
    runs: Path,
    *,
    harm: Callable[[Chaos], None],
    seed: int = 0,
    slow: int = SLOW_SECONDS,
    schedules: int = SCHEDULES,
    slower: int = 1,
) -> Report:
    """Harm schedulers over a migrated, empty database; then count what ran.

    ``schedules`` fire every one to three seconds, times ``slower``, each a run for each due time.
    """
    from django_celery_beat.models import PeriodicTask

    report = Report(seed, slow)
    processes.env |= {RUNS: str(runs), **(SCALED if slow == SLOW_SECONDS else UNSCALED)}
    runs.touch()
    with Database(processes.env["DATABASE_URL"]).movable_clock():
        chaos = Chaos(processes, report)
        _make_schedules(slow, schedules, slower)
        harm(chaos)
        ended_at = _database_now()
        _await_answers(ended_at)
        report.unseen = _not_in_quarantine(report.broken)
        PeriodicTask.objects.update(enabled=False)
        _settle(report)
        processes.end_all()
    _judge(report, Counter(line.split()[0] for line in runs.read_text().splitlines()), ended_at)
    return report


def _make_schedules(slow: int, schedules: int, slower: int) -> None:
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    from scheduling.models import Schedule

    def make(
        name: str,
        task: str,
        every: int,
        args: str = "[]",
        cap: int = MISFIRE_CAP,
        guarantee: str = "at_least_once",
    ) -> None:
        interval, _ = IntervalSchedule.objects.get_or_create(every=every, period="seconds")
        with transaction.atomic():
            made = PeriodicTask.objects.create(name=name, task=task, interval=interval, args=args)
            # Every due time shall run, however late: then none may be missing. Only days that a
            # clock jumps over have more due times than the cap.
            Schedule.objects.create(
                periodic_task=made,
                misfire="all",
                misfire_cap=cap,
                timeout_seconds=slow + 56,
                guarantee=guarantee,
            )

    for number in range(schedules):
        make(f"chaos {number}", "jobs.note", (1 + number % 3) * slower)
    for number in range(SLOW_SCHEDULES):
        every = max(5 * SLOW_SECONDS, slow * 3 // 2)
        make(f"chaos slow {number}", "jobs.slow", every, f"[{slow}]", SLOW_MISFIRE_CAP)
    for number in range(ONCE_SCHEDULES):
        make(f"once {number}", "jobs.note", (3 + number) * slower, guarantee="at_most_once")
    for number in range(BROKEN_SCHEDULES):
        make(f"broken {number}", "jobs.note", 2 * slower**2)  # nobody counts their runs


def _database_now() -> datetime:
    from scheduling.clock import database_now

    return database_now()


def _await_answers(until: datetime) -> None:
    """Wait until all that was due has been claimed: what is late after a harm is not missed."""
    from scheduling.models import Schedule

    behind = Schedule.objects.filter(_JUDGED, next_fire_at__lt=until)
    wait_until(lambda: not behind.exists(), SETTLE_SECONDS, hint="Some schedules stand still")


def _not_in_quarantine(names: set[str]) -> list[str]:
    from scheduling.models import Schedule

    seen = Schedule.objects.filter(quarantined_at__isnull=False).exclude(quarantine_reason="")
    return sorted(names - set(seen.values_list("periodic_task__name", flat=True)))


def _settle(report: Report) -> None:
    """Wait until all fires have ended; those that have not are missed, and listed as such."""
    from scheduling.models import Fire

    unfinished = Fire.objects.filter(finished_at=None)
    deadline = time.monotonic() + SETTLE_SECONDS
    while unfinished.exists() and time.monotonic() < deadline:
        time.sleep(0.5)
    report.missed += [
        f"never ended: {fire}, due {fire.due_at}, worker {fire.worker}, {fire.error}"
        for fire in unfinished
    ]


def _judge(report: Report, runs: Counter[str], ended_at: datetime) -> None:
    from scheduling.models import Fire, FireStatus, Schedule

    late: list[float] = []
    for schedule in Schedule.objects.filter(_JUDGED):
        name = schedule.periodic_task.name
        fires = {fire.scheduled_for: fire for fire in Fire.objects.filter(schedule=schedule)}
        for due in _due_times(schedule.periodic_task, ended_at):
            report.expected += 1
            fire = fires.get(due)
            if fire is not None and fire.status == FireStatus.LOST and name.startswith("once"):
                report.lost += 1
            elif fire is None or fire.status != FireStatus.SUCCEEDED or not runs[str(fire.pk)]:
                report.missed.append(f"{name} at {due}: {fire}")
        for fire in fires.values():
            if runs[str(fire.pk)] > 1:
                report.doubled.append(f"{name}: {fire} ran {runs[str(fire.pk)]} times")
            late.append(fire.lateness or 0.0)
    late.sort()
    report.lateness_p50 = late[len(late) // 2]
    report.lateness_p99 = late[int(len(late) * 0.99)]
    report.lateness_max = late[-1]


def _due_times(task: Any, ended_at: datetime) -> Iterator[datetime]:
    """Compute, without the scheduler, when an interval was due: counted from its creation."""
    period = timedelta(seconds=task.interval.every)
    # Leave out the last seconds: what was due then may rightly not have fired when it was paused.
    last = ended_at - timedelta(seconds=4)
    due = task.date_changed + period
    while due < last:
        yield due
        due += period


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--stop", type=float, help="stop one of them for so many seconds instead")
    parser.add_argument("--only", default=",".join(HARMS), help=f"some of {', '.join(HARMS)}")
    parser.add_argument("--slow", type=int, default=SLOW_SECONDS, help="seconds of a slow job")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    with _stage() as processes:
        folder = temporary_folder("chaos-runs")
        report = run(
            processes,
            folder / "runs",
            harm=partial(_harm, arguments),
            seed=arguments.seed,
            slow=arguments.slow,
        )
    sys.stdout.write(f"{report}\n")
    faults = report.missed + report.doubled + report.unseen
    for fault in faults:
        sys.stdout.write(f"  {fault}\n")
    return 1 if faults else 0


def _harm(arguments: argparse.Namespace, chaos: Chaos) -> None:
    if arguments.stop is None:
        chaos.play(arguments.minutes * 60, arguments.only.split(","))
    else:
        chaos.stop_one(arguments.stop)


@contextlib.contextmanager
def _stage() -> Iterator[Processes]:
    """Start servers, point Django at them; end everything afterwards."""
    with contextlib.ExitStack() as stack:
        postgres, redis = migrated_server().start(), RedisServer(durable=True).start()
        stack.callback(postgres.stop)
        stack.callback(redis.stop)
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": postgres.url,
            "BROKER_URL": redis.url,
            "VAR_DIR": str(temporary_folder("chaos-var")),
            "SECRET_KEY": "only-for-chaos",
        }
        django.setup()
        processes = Processes(os.environ, temporary_folder("chaos-logs"))
        stack.callback(processes.end_all)
        yield processes


if __name__ == "__main__":
    sys.exit(main())
