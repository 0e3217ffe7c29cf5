"""A whole system for chaos: servers of its own, and processes that may be killed at any time."""

import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg

from tests.chaos import outages
from tests.servers.postgres import migrated_server
from tests.servers.processes import Processes, RunningProcess
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer
from tests.servers.smtp import SmtpServer

LEASE = 6  # seconds
RAISE = 0.02  # the share of messages that raise at a stage of their first attempt

IN_FLIGHT = "SELECT count(*) FROM notifications_notification WHERE status = 'sending'"
UNFINISHED = """SELECT count(*) FROM notifications_notification
                WHERE status IN ('scheduled', 'queued', 'sending')"""


class World:
    """Two workers, two schedulers and a submitter, beside Postgres, Redis and an SMTP server.

    With RabbitMQ as the ``broker`` Redis keeps no more than the limits.
    ``doubles_allowed`` adds up what was in flight at each kill: no more may arrive twice.
    """

    def __init__(self, folder: Path, *, chance: float = 0.0, broker: str = "redis") -> None:
        self.kills: Counter[str] = Counter()
        self.doubles_allowed = 0
        self.postgres = migrated_server().start()
        self.redis = RedisServer(durable=True).start()
        self.broker = RabbitMQServer().start() if broker == "rabbitmq" else self.redis
        self.smtp = SmtpServer().start()
        self.simulated = folder / "simulated.log"
        self.traps = folder / "traps.log"
        self.raised_log = folder / "raised.log"
        self.processes = Processes(self._environment(folder), folder)
        self._chance = str(chance)
        self.workers = [self._worker(f"w{n}") for n in (1, 2)]
        self.schedulers = [self._scheduler() for _ in (1, 2)]

    def submit(self, count: int, per_second: float, accepted: Path) -> None:
        """Start a submitter; like the others it is started anew when it dies."""
        self._submission = (str(count), str(per_second), str(accepted), self._chance)
        self.submitter = self._submitter()

    def has_submitted(self) -> bool:
        return self.submitter.returncode == 0

    def close(self) -> None:
        self.processes.end_all()
        self.smtp.stop()
        self.broker.stop()
        self.redis.stop()
        self.postgres.stop()

    def query(self, sql: str) -> int:
        with psycopg.connect(self.postgres.url, connect_timeout=5) as connection:
            row = connection.execute(sql).fetchone()
        return int(row[0]) if row else 0

    def ids(self, sql: str) -> set[str]:
        with psycopg.connect(self.postgres.url, connect_timeout=5) as connection:
            return {str(row[0]) for row in connection.execute(sql)}

    def tend(self) -> None:
        """Start anew what has died, as a supervisor would."""
        for index, worker in enumerate(self.workers):
            if worker.returncode is not None:
                self.workers[index] = self._worker(f"w{index + 1}")
        for index, scheduler in enumerate(self.schedulers):
            if scheduler.returncode is not None:
                self.schedulers[index] = self._scheduler()
        if self.submitter.returncode:
            self.submitter = self._submitter()

    def disturb(self, kind: str) -> None:
        """Do one piece of harm."""
        self._count_in_flight()
        harm: dict[str, Callable[[], None]] = {
            "worker": self._kill_a_worker,
            "child": self._kill_a_child,
            "pause": self._pause_a_worker,
            "scheduler": lambda: random.choice(self.schedulers).kill(),
            "flush": self.broker.flush,
            "broker": self.broker.restart,
            "postgres": self.postgres.restart,
            "oom": lambda: outages.out_of_memory(self.redis),
            "redis read-only": lambda: outages.replica(self.redis),
            "postgres read-only": lambda: outages.read_only(self.postgres),
            "disk full": lambda: outages.disk_full(self.postgres),
        }
        harm[kind]()
        self.kills[kind] += 1

    def trapped(self) -> Counter[str]:
        """Count the deaths at each boundary."""
        return Counter(self.traps.read_text().splitlines()) if self.traps.exists() else Counter()

    def raised(self) -> Counter[str]:
        """Count the exceptions that messages raised, by stage."""
        log = self.raised_log
        return Counter(log.read_text().splitlines()) if log.exists() else Counter()

    def is_settled(self) -> bool:
        return self.query(UNFINISHED) == 0

    def _count_in_flight(self) -> None:
        self.doubles_allowed += self.query(IN_FLIGHT)

    def _kill_a_worker(self) -> None:
        random.choice(self.workers).kill()

    def _kill_a_child(self) -> None:
        try:
            children = psutil.Process(random.choice(self.workers).pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return
        if children:
            _signal(random.choice(children).pid, signal.SIGKILL)

    def _pause_a_worker(self) -> None:
        """Part a worker from the others for longer than its leases, and let it go on."""
        try:
            worker = psutil.Process(random.choice(self.workers).pid)
            parted = [worker, *worker.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in parted:
            _signal(process.pid, signal.SIGSTOP)
        time.sleep(LEASE + 2)
        for process in parted:
            _signal(process.pid, signal.SIGCONT)

    def _submitter(self) -> RunningProcess:
        return self.processes.start(
            "submitter", "python", "-m", "tests.chaos.submitter", *self._submission
        )

    def _worker(self, name: str) -> RunningProcess:
        return self.processes.start(
            name,
            "python",
            *("-m", "tests.chaos.faults", self._chance),
            *("worker", "-c", "2", "-n", f"{name}@%h"),
        )

    def _scheduler(self) -> RunningProcess:
        return self.processes.start("scheduler", "celery", "-A", "config", "beat")

    def _environment(self, folder: Path) -> dict[str, str]:
        return os.environ | {
            "DATABASE_URL": self.postgres.url,
            "BROKER_URL": self.broker.url,
            "REDIS_URL": self.redis.url,
            "BROKER_TIMEOUT": "0.8",
            "EMAIL_URL": self.smtp.url,
            "VAR_DIR": str(folder / "var"),
            "SECRET_KEY": "chaos" * 12,
            "SIMULATOR": f"record={self.simulated}&latency=0.002",
            "CHAOS_LOG": str(self.traps),
            "CHAOS_RAISED": str(self.raised_log),
            "CHAOS_RAISE": str(RAISE),
            # Short leases: what a death leaves behind is picked up soon.
            "NOTIFICATIONS_LEASE": str(LEASE),
            "NOTIFICATIONS_PROVIDER_TIMEOUT": "2",
            "NOTIFICATIONS_HOLD": "1",
            "NOTIFICATIONS_GRACE": "1",
            "PYTHONUNBUFFERED": "1",
        }


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_for(predicate: Callable[[], bool], seconds: float, each: Callable[[], None]) -> bool:
    """Ask every half second until it is true, doing ``each`` in between; False when time is up."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        each()
        try:
            if predicate():
                return True
        except psycopg.OperationalError as error:
            print(f"asked again: {error}", file=sys.stderr)
        time.sleep(0.5)
    return False
