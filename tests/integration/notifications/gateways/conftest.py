"""The account and the mail server of the tests of mails, and our SMTP server."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from notifications.gateways import smtp_server
from notifications.operations import api_keys
from tests.integration.notifications.mails.conftest import _nothing_remembered, account

__all__ = ["_nothing_remembered", "account"]


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "server.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(path)
    )
    return str(path)


@pytest.fixture
def start(account: Any) -> Iterator[Callable[..., Any]]:
    """Start the SMTP server in a thread, and return its port."""
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    threads: list[threading.Thread] = []

    def start(**options: Any) -> Any:
        ready, found = threading.Event(), []

        async def serve() -> None:
            stopped = asyncio.Event()
            ends.append((asyncio.get_running_loop(), stopped))

            def listening(port: int) -> None:
                found.append(port)
                ready.set()

            await smtp_server.serve(
                smtp_server.Options("127.0.0.1", 0, **options), stopped, listening
            )

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        threads.append(thread)
        assert ready.wait(10)
        return found[0]

    yield start
    for loop, stopped in ends:
        loop.call_soon_threadsafe(stopped.set)
    for thread in threads:
        thread.join()


@pytest.fixture
def token(account: Any) -> str:
    return api_keys.create("legacy", scopes=["send"]).token
