"""Postgres and Redis over TLS, as docs/operating.md says: verified, and refused if unknown."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_django import Settings

from notifications.models import Notification, Status
from notifications.submission import send
from tests.servers.postgres import PostgresServer
from tests.servers.processes import Processes
from tests.servers.redis import RedisServer
from tests.servers.tls import Authority, TlsDoor, trusted

ASK = (
    "from django.db import connection as c; c.cursor().execute('SELECT 1');"
    " print('over tls:', c.connection.pgconn.ssl_in_use)"
)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def stranger() -> Authority:
    return Authority()


@pytest.fixture
def postgres_address(postgres_server: PostgresServer, authority: Authority) -> Iterator[str]:
    door = TlsDoor(postgres_server.port, authority, asked=True).start()
    yield f"postgres://postgres@localhost:{door.port}/notifications"
    door.stop()


@pytest.fixture
def redis_address(redis_server: RedisServer, authority: Authority) -> Iterator[str]:
    door = TlsDoor(redis_server.port, authority).start()
    yield f"rediss://localhost:{door.port}/0"
    door.stop()


def test_the_database_is_reached_by_a_verified_connection(
    processes: Processes, postgres_address: str, authority: Authority
) -> None:
    url = trusted(postgres_address, sslmode="verify-full", sslrootcert=authority.file)
    asked = processes.run("ask", "python", "manage.py", "shell", "-v0", "-c", ASK, DATABASE_URL=url)
    assert "over tls: True" in asked


def test_a_database_of_an_unknown_authority_is_refused(
    processes: Processes, postgres_address: str, stranger: Authority
) -> None:
    url = trusted(postgres_address, sslmode="verify-full", sslrootcert=stranger.file)
    with pytest.raises(RuntimeError, match="certificate verify failed"):
        processes.run("ask", "python", "manage.py", "shell", "-v0", "-c", ASK, DATABASE_URL=url)


def test_a_notification_is_delivered_by_a_broker_over_tls(
    processes: Processes,
    redis_address: str,
    authority: Authority,
    wait_until: Callable[..., Any],
    settings: Settings,
) -> None:
    url = trusted(redis_address, ssl_cert_reqs="required", ssl_ca_certs=authority.file)
    worker = processes.worker(BROKER_URL=url)
    processes.beat(BROKER_URL=url)
    row = send(channel="simulator", recipient="ada", body="Hello")
    wait_until(lambda: Notification.objects.get(id=row.id).status == Status.SENT)
    assert "redis_away" not in worker.output()  # the limits are shared over TLS, too


@pytest.mark.parametrize("options", [{}, {"ssl_cert_reqs": "required"}])
def test_a_broker_of_an_unknown_authority_is_refused(
    processes: Processes, redis_address: str, stranger: Authority, options: dict[str, Any]
) -> None:
    url = trusted(redis_address, ssl_ca_certs=stranger.file, **options)
    doctor = processes.start("doctor", "python", "manage.py", "doctor", "--json", BROKER_URL=url)
    doctor.wait()
    output = doctor.output()
    findings = json.loads(output[output.index("[\n") :])
    assert "broker.away" in {finding["id"] for finding in findings}
