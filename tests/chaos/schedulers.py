"""Three schedulers under random SIGKILL and SIGSTOP: is each due time run once?

    python -m tests.chaos.schedulers --minutes 10 --seed 1
    python -m tests.chaos.schedulers --stop 60     (one scheduler sleeps so long, and wakes up)

Real beats and a real worker on a real Postgres and Redis. A due time counts as missed if the
ledger has no run for it, as doubled if the worker ran it twice: the worker writes each run to a
file of its own, so the ledger is not asked to judge itself.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import django
from django.db import transaction

from tests.servers.postgres import migrated_server
from tests.servers.process import wait_until
from tests.servers.processes import Processes, RunningProcess
from tests.servers.reaper import temporary_folder
from tests.servers.redis import RedisServer

APP = "tests.integration.scheduling.jobs_app"
RUNS = "SCHEDULING_TEST_RUNS"
SCHEDULES = 20
SCHEDULERS = 3
PAUSE_SECONDS = (1.0, 5.0)
STOP_SECONDS = (2.0, 15.0)
SETTLE_SECONDS = 90.0


@dataclass
class Report:
    """What a run of chaos came to."""

    seed: int
    expected: int = 0
    missed: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    kills: int = 0
    stops: int = 0
    lateness_p50: float = 0.0
    lateness_p99: float = 0.0
    lateness_max: float = 0.0

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.expected} due times, {len(self.missed)} missed, "
            f"{len(self.doubled)} doubled; {self.kills} kills, {self.stops} stops; lateness "
            f"p50 {self.lateness_p50:.3f} s, p99 {self.lateness_p99:.3f} s, "
            f"max {self.lateness_max:.3f} s"
        )


class Chaos:
    """Schedulers that are killed and stopped at random, and replaced at once."""

    def __init__(self, processes: Processes, report: Report) -> None:
        self._processes = processes
        self._report = report
        self._random = random.Random(report.seed)
        self._schedulers = [self._start() for _ in range(SCHEDULERS)]
        self._await_all()

    def play(self, seconds: float) -> None:
        """Harm one scheduler after the other; at the end all of them run."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(self._random.uniform(*PAUSE_SECONDS))
            self._await_all()
            victim = self._random.randrange(SCHEDULERS)
            if self._random.random() < 0.6:
                self._schedulers[victim].kill()
                self._schedulers[victim] = self._start()
                self._report.kills += 1
            else:
                self._stop_for_a_while(self._schedulers[victim])
                self._report.stops += 1

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
        self._stop(self._schedulers[0], seconds)
        self._report.stops += 1
        time.sleep(PAUSE_SECONDS[1])

    def _stop_for_a_while(self, victim: RunningProcess) -> None:
        self._stop(victim, self._random.uniform(*STOP_SECONDS))

    def _stop(self, victim: RunningProcess, seconds: float) -> None:
        os.kill(victim.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(victim.pid, signal.SIGCONT)


def run(
    processes: Processes, runs: Path, *, harm: Callable[[Chaos], None], seed: int = 0
) -> Report:
    """Harm schedulers over a migrated, empty database; then count what ran."""
    from django_celery_beat.models import PeriodicTask

    report = Report(seed)
    processes.env[RUNS] = str(runs)
    runs.touch()
    worker = ("celery", "-A", APP, "worker", "-c", "2", "-Q", "jobs", "-l", "info")
    processes.start("worker", *worker).wait_for_output(" ready.")
    chaos = Chaos(processes, report)
    _make_schedules()
    harm(chaos)
    ended_at = _database_now()
    PeriodicTask.objects.filter(name__startswith="chaos").update(enabled=False)
    wait_until(_is_settled, SETTLE_SECONDS, hint="Some fires never ended")
    _judge(report, Counter(line.split()[0] for line in runs.read_text().splitlines()), ended_at)
    return report


def _make_schedules() -> None:
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    from scheduling.models import Schedule

    for number in range(SCHEDULES):
        interval, _ = IntervalSchedule.objects.get_or_create(every=1 + number % 3, period="seconds")
        with transaction.atomic():
            task = PeriodicTask.objects.create(
                name=f"chaos {number}", task="jobs.note", interval=interval
            )
            # Every due time shall run, however late: then none may be missing.
            Schedule.objects.create(periodic_task=task, misfire="all", misfire_cap=1000)


def _database_now() -> datetime:
    from scheduling.clock import database_now

    return database_now()


def _is_settled() -> bool:
    from scheduling.models import Fire

    return not Fire.objects.filter(finished_at=None).exists()


def _judge(report: Report, runs: Counter[str], ended_at: datetime) -> None:
    from scheduling.models import Fire, FireStatus, Schedule

    late: list[float] = []
    for schedule in Schedule.objects.filter(periodic_task__name__startswith="chaos"):
        name = schedule.periodic_task.name
        fires = {fire.scheduled_for: fire for fire in Fire.objects.filter(schedule=schedule)}
        for due in _due_times(schedule.periodic_task, ended_at):
            report.expected += 1
            fire = fires.get(due)
            if fire is None or fire.status != FireStatus.SUCCEEDED or not runs[str(fire.pk)]:
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
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    with _stage() as processes:
        folder = temporary_folder("chaos-runs")
        report = run(
            processes, folder / "runs", harm=partial(_harm, arguments), seed=arguments.seed
        )
    sys.stdout.write(f"{report}\n")
    for wrong in report.missed + report.doubled:
        sys.stdout.write(f"  {wrong}\n")
    return 1 if report.missed or report.doubled else 0


def _harm(arguments: argparse.Namespace, chaos: Chaos) -> None:
    if arguments.stop is None:
        chaos.play(arguments.minutes * 60)
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
