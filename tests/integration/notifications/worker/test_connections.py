"""At a start each client is connected once, and what does not do its work is named in the log."""

import pytest
from pytest_django import Settings

from notifications.db import shared_state
from notifications.worker import connections
from tests.servers.process import free_port


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_state, "_away_until", 0.0, raising=False)


def test_a_redis_that_is_away_is_named_at_a_start_and_the_process_goes_on(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    connections.meet_servers()
    assert any("_away" in line and "redis" in line.lower() for line in caplog.text.splitlines())
