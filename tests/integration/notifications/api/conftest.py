"""Callers of the API: ``call("POST", "/notifications", {...})`` in this process, with a key."""

import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from notifications.operations import api_keys
from notifications.providers import accounts, health
from notifications.recipients import suppressions
from notifications.submission import projects
from templates_engine import catalog
from tests.servers.processes import Processes

SIMULATED: dict[str, Any] = {"channel": "simulator", "recipient": "ada", "body": "Hello"}


class Caller:
    """One caller with a key of its own."""

    def __init__(self, token: str | None) -> None:
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.address = f"fd00::{secrets.token_hex(2)}:{secrets.token_hex(2)}"
        self._client = Client(raise_request_exception=False)

    def __call__(
        self, method: str, path: str, body: Any = None, *, query: Any = None, **headers: str
    ) -> Any:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body) if body is not None else ""
        return self._client.generic(
            method,
            "/api/v1" + path,
            content,
            content_type="application/json",
            headers={**self.headers, **sent},
            query_params=query,
            REMOTE_ADDR=self.address,
        )

    def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Call, and give the answer's JSON, which has to be no refusal."""
        response = self(method, path, body, **options)
        assert response.status_code < 300, response.content
        return response.json() if response.content else None


@pytest.fixture(autouse=True)
def _fresh_caches() -> None:
    """What a process keeps of the tables must not outlive the test that wrote them."""
    catalog.clear()
    accounts.forget()
    suppressions.forget()
    health.forget()
    api_keys.forget()
    projects.forget()


@pytest.fixture
def caller(db: None) -> Callable[..., Caller]:
    def make(**options: Any) -> Caller:
        return Caller(api_keys.create("tests", **options).token)

    return make


@pytest.fixture
def call(caller: Callable[..., Caller]) -> Caller:
    return caller()


@pytest.fixture
def key(transactional_db: None) -> str:
    """A key for programs that call ``web``."""
    return api_keys.create("contract", rate=100_000).token


@pytest.fixture
def web(processes: Processes) -> Any:
    """The address of a web server of its own."""
    # The fuzzer tries a wrong key with each operation.
    processes.env["NOTIFICATIONS_API_WRONG_KEYS_PER_MINUTE"] = "100000"
    _, address = processes.web()
    return address
