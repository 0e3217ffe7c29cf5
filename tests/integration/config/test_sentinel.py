"""``sentinel://``: broker, limits and health follow the primary through a real failover."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_django import Settings

from notifications.api import limits
from notifications.db import shared_state
from notifications.models import ApiKey, Notification, Status
from notifications.submission import send
from tests.servers.processes import Processes
from tests.servers.redis import RedisServer, Sentinel


@pytest.fixture
def replica(redis_server: RedisServer) -> Iterator[RedisServer]:
    server = RedisServer(replica_of=redis_server).start()
    yield server
    server.stop()


@pytest.fixture
def sentinel(redis_server: RedisServer, replica: RedisServer) -> Iterator[Sentinel]:
    server = Sentinel(redis_server).start()
    yield server
    server.stop()


def test_everything_follows_the_new_primary(
    processes: Processes,
    redis_server: RedisServer,
    replica: RedisServer,
    sentinel: Sentinel,
    wait_until: Callable[..., Any],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.REDIS_URL = sentinel.url
    settings.REDIS_KEY_PREFIX = "house:"
    monkeypatch.setattr(shared_state, "_away_until", 0.0)
    monkeypatch.setattr(limits, "_away_until", 0.0)
    processes.env |= {
        "BROKER_URL": sentinel.url,
        "REDIS_KEY_PREFIX": "house:",
        "NOTIFICATIONS_PICKUP_GRACE": "1",
    }
    wait_until(sentinel.knows_a_replica)
    running = [processes.beat(), processes.worker("-c", "1")]

    def is_delivered() -> None:
        row = send(channel="simulator", recipient="ada", body="Hello")
        wait_until(lambda: Notification.objects.get(id=row.id).status == Status.SENT)

    def is_shared() -> bool:
        try:
            with shared_state.shared_state() as client:
                return bool(client.set(shared_state.key_of("mark"), "1"))
        except shared_state.SharedStateAway:
            return False

    is_delivered()
    assert is_shared()
    redis_server.kill()
    is_delivered()
    wait_until(is_shared)
    assert limits.take(ApiKey(prefix="mark", rate=1)) == 0.0
    for process in running:
        assert process.returncode is None
        assert process.first_traceback() == ""
    with replica.client() as client:
        keys = {key.decode() for key in client.scan_iter()}
    assert "house:notifications:mark" in keys
    assert any("api:mark" in key for key in keys)
    assert all(key.startswith("house:") for key in keys), keys
