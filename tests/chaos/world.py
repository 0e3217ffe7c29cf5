"""A whole system for chaos: servers of its own, and processes that may be killed at any time."""

import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg

from tests.chaos import outages
from tests.servers.postgres import migrated_server
from tests.servers.process import suspended
from tests.servers.processes import Processes, RunningProcess
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer
from tests.servers.smtp import SmtpServer

LEASE = 6  # seconds
OF_PROCESSES = ("worker", "child", "pause", "partition", "scheduler")
ADDRESSES = ("DATABASE_URL", "BROKER_URL", "REDIS_URL")
RAISE = 0.02  # the share of messages that raise at a stage of their first attempt

IN_FLIGHT = "SELECT id::text FROM notifications_notification WHERE status = 'sending'"
UNFINISHED = """SELECT count(*) FROM notifications_notification
                WHERE status IN ('scheduled', 'queued', 'sending')"""


class World:
    """Two workers, two schedulers and a submitter, beside Postgres, Redis and an SMTP server.

    With RabbitMQ as the ``broker`` Redis keeps no more than the limits.
    The first worker reaches its database, broker and Redis by proxies, so that it can be parted
    from them, and not from the providers. ``in_flight`` collects the ids that were being sent when
    a process was harmed or parted, ``in_outages`` when a server was: no other may arrive twice.
    """

    def __init__(self, folder: Path, *, chance: float = 0.0, broker: str = "redis") -> None:
        self.kills: Counter[str] = Counter()
        self.in_flight: set[str] = set()
        self.in_outages: set[str] = set()
        self.postgres = migrated_server().start()
        self.redis = RedisServer(durable=True).start()
        self.broker = RabbitMQServer().start() if broker == "rabbitmq" else self.redis
        self.smtp = SmtpServer().start()
        self._network = contextlib.ExitStack()
        self._proxies = {
            port: self._network.enter_context(Proxy(port))
            for port in {self.postgres.port, self.redis.port, self.broker.port}
        }
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
        self._network.close()
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
        note = self._note_in_flight if kind in OF_PROCESSES else self._note_in_outage
        note()
        harm: dict[str, Callable[[], None]] = {
            "worker": self._kill_a_worker,
            "child": self._kill_a_child,
            "pause": self._pause_a_worker,
            "partition": self._part_a_worker,
            "scheduler": lambda: random.choice(self.schedulers).kill(),
            "flush": self.broker.flush,
            "broker": self.broker.restart,
            "postgres": self.postgres.restart,
            "redis silent": lambda: outages.silent(self.redis),
            "oom": lambda: outages.out_of_memory(self.redis),
            "redis read-only": lambda: outages.replica(self.redis),
            "postgres silent": lambda: outages.silent(self.postgres),
            "table locked": lambda: outages.locked(self.postgres),
            "postgres read-only": lambda: outages.read_only(self.postgres),
            "disk full": lambda: outages.disk_full(self.postgres),
        }
        harm[kind]()
        note()  # what a dead worker had stays so until its lease ends
        self.kills[kind] += 1

    def trapped(self) -> Counter[str]:
        """Count the deaths at each boundary."""
        return Counter(boundary for boundary, *_ in self._deaths())

    def lost_with_a_process(self) -> set[str]:
        """Return the ids in flight when a process was harmed, or in the hands of one that died."""
        return self.in_flight.union(*(ids for _, *ids in self._deaths()))

    def _deaths(self) -> Iterator[list[str]]:
        if self.traps.exists():
            for line in self.traps.read_text().splitlines():
                yield line.split("\t")

    def raised(self) -> Counter[str]:
        """Count the exceptions that messages raised, by stage."""
        log = self.raised_log
        return Counter(log.read_text().splitlines()) if log.exists() else Counter()

    def is_settled(self) -> bool:
        return self.query(UNFINISHED) == 0

    def _note_in_flight(self) -> None:
        self.in_flight |= self.ids(IN_FLIGHT)

    def _note_in_outage(self) -> None:
        self.in_outages |= self.ids(IN_FLIGHT)

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
        """Stop a worker for longer than its leases, and let it go on."""
        with suspended(random.choice(self.workers).pid):
            self._note_in_flight()
            time.sleep(LEASE + 2)

    def _part_a_worker(self) -> None:
        """Cut a worker's network, but for its providers, for longer than its leases."""
        with contextlib.ExitStack() as stack:
            for proxy in self._proxies.values():
                stack.enter_context(proxy.cut())
            self._note_in_flight()
            time.sleep(LEASE + 2)

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
            **(self._by_proxies() if name == "w1" else {}),
        )

    def _by_proxies(self) -> dict[str, str]:
        environment = {}
        for name in ADDRESSES:
            url = urlsplit(self.processes.env[name])
            port = self._proxies[url.port or 0].port
            environment[name] = url._replace(
                netloc=url.netloc.replace(f":{url.port}", f":{port}")
            ).geturl()
        return environment

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
            "NOTIFICATIONS_BATCH_TIME_LIMIT": "1",
            "NOTIFICATIONS_PICKUP_GRACE": "1",
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
