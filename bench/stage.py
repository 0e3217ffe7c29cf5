"""The servers and processes that a run of benchmarks stands on: its own, and gone afterwards."""

import contextlib
import os
from collections.abc import Iterator

import django
import psutil
from django.core.management import call_command
from django.db import connection

from tests.servers.postgres import PostgresServer
from tests.servers.processes import Processes
from tests.servers.reaper import temporary_folder
from tests.servers.redis import RedisServer


class Stage:
    """Postgres, Redis, and a way to start processes on them."""

    def __init__(self, postgres: PostgresServer, redis: RedisServer, processes: Processes) -> None:
        self.postgres = postgres
        self.redis = redis
        self.processes = processes

    def pids(self) -> dict[str, int]:
        """Return the process ids of the servers and of what was started on them, by name."""
        started = {one.name: one.pid for one in self.processes.started}
        return {"postgres": self.postgres.pid, "redis": self.redis.pid, **started}


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """Start the servers, point Django at them, migrate, and end everything afterwards."""
    with contextlib.ExitStack() as stack:
        postgres, redis = PostgresServer().start(), RedisServer().start()
        stack.callback(postgres.stop)
        stack.callback(redis.stop)
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": postgres.url,
            "BROKER_URL": redis.url,
            "VAR_DIR": str(temporary_folder("bench-var")),
            "SECRET_KEY": "only-for-benchmarks",
        }
        django.setup()
        call_command("migrate", verbosity=0, interactive=False)
        processes = Processes(os.environ, temporary_folder("bench-logs"), forks=False)
        stack.callback(processes.end_all)
        yield Stage(postgres, redis, processes)


def empty(stage: Stage) -> None:
    """Forget every notification, and every message that stood for one."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE notifications_notification, notifications_attempt CASCADE")
    stage.redis.flush()


def backend() -> psutil.Process:
    """Return the process of Postgres that serves this one's connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return psutil.Process(cursor.fetchone()[0])
