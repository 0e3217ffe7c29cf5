"""Accounts, messages and peers for the tests of providers."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from py_vapid import Vapid
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from notifications.channels.base import Account, Message, Provider
from notifications.channels.kinds import provider_class
from notifications.delivery import background, claims, pipeline
from notifications.models import Notification, ProviderAccount
from notifications.providers import accounts, endpoints, health
from notifications.recipients import suppressions
from notifications.submission import send
from tests.integration.notifications.providers.browser import Browser
from tests.integration.notifications.providers.http_answers import answers
from tests.integration.notifications.providers.peers import Peer


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    """Each test starts with empty caches and an empty Redis."""
    accounts.forget()
    suppressions.forget()
    health.forget()
    endpoints.forget()
    with redis.Redis.from_url(settings.BROKER_URL) as client:
        client.flushdb()


@pytest.fixture
def message() -> Callable[..., Any]:
    """Make a message; keywords change it."""

    def make(
        channel: str = "email",
        recipient: str = "ada@example.org",
        timeout: float = 5.0,
        **changes: Any,
    ) -> Any:
        given = {
            "id": uuid4(),
            "content": {"subject": "Hello", "text": "Dear Ada"},
            "attempt": 1,
            **changes,
        }
        return Message(channel=channel, recipient=recipient, timeout=timeout, **given)

    return make


@pytest.fixture
def provider() -> Iterator[Callable[..., Any]]:
    """Make a provider of a kind from settings and secrets, and close it after the test."""
    made = []

    def make(kind: str, channel: str = "", settings: Any = None, secrets: Any = None) -> Provider:
        cls = provider_class(kind)
        account = Account(
            f"test-{kind}", channel or cls.channels[0], kind, settings or {}, secrets or {}
        )
        made.append(cls(account))
        return made[-1]

    yield make
    for provider_ in made:
        provider_.close()


@pytest.fixture
def peer() -> Iterator[Callable[..., Any]]:
    """Start servers that do with each connection what a function says."""
    started = []

    def make(handle: Any) -> Peer:
        started.append(Peer(handle).start())
        return started[-1]

    yield make
    for server in started:
        server.stop()
    assert background.finish(20)


@pytest.fixture
def account(transactional_db: None) -> Callable[..., Any]:
    """Keep a provider account as a row, seen at once."""

    def make(
        name: str, kind: str = "simulator", channel: str = "sms", **fields: Any
    ) -> ProviderAccount:
        row = ProviderAccount.objects.create(name=name, kind=kind, channel=channel, **fields)
        accounts.forget()
        return row

    return make


@pytest.fixture
def deliver() -> Callable[..., Any]:
    """Claim and deliver these notifications in this process, and give them as they are then."""

    def deliver(*notifications: Any) -> list[Any]:
        ids = [n.id for n in notifications]
        pipeline.deliver(claims.claim(ids), worker="test")
        rows = Notification.objects.in_bulk(ids)
        return [rows[id_] for id_ in ids]

    return deliver


@pytest.fixture
def text(transactional_db: None) -> Callable[..., Notification]:
    """Accept a text message; keywords change it."""
    return lambda **changes: send(
        **{"channel": "sms", "recipient": "+4366412345678", "body": "Hello", **changes}
    )


@pytest.fixture
def in_threads() -> Callable[..., Any]:
    """Call a function so many times at once, and give what came back."""

    def run(count: int, function: Any) -> list[Any]:
        results = []
        threads = [
            threading.Thread(target=lambda: results.append(function())) for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    return run


@pytest.fixture
def redis_calls() -> Callable[..., Any]:
    """Count how often Redis was given a command."""

    def count(command: Any) -> Any:
        with redis.Redis.from_url(settings.BROKER_URL) as client:
            return client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0)

    return count


@pytest.fixture(scope="session")
def service_key() -> str:
    """The private key of a service account: it takes a while to make."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture
def push_accounts(
    account: Callable[..., Any],
    httpserver: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    service_key: str,
) -> None:
    """FCM and Web Push side by side; everything they are asked works."""
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True
    service_account = {
        "type": "service_account",
        "project_id": "shop",
        "private_key": service_key,
        "client_email": "push@shop.example",
        "token_uri": httpserver.url_for("/token"),
    }
    vapid = Vapid()
    vapid.generate_keys()
    monkeypatch.setenv("SECRET_FCM", json.dumps(service_account))
    monkeypatch.setenv("SECRET_VAPID", vapid.private_pem().decode())
    url = {"url": httpserver.url_for("")}
    account("fcm-a", "fcm", "push", settings=url, secrets={"service_account": "env:SECRET_FCM"})
    account(
        "web-a",
        "webpush",
        "push",
        settings={"subject": "mailto:push@shop.example"},
        secrets={"vapid_private_key": "env:SECRET_VAPID"},
    )
    token = {"access_token": "ya29", "expires_in": 3600, "token_type": "Bearer"}
    httpserver.expect_request("/token").respond_with_json(token)
    httpserver.expect_request("/v1/projects/shop/messages:send").respond_with_json({"name": "m/1"})
    httpserver.expect_request("/browser").respond_with_data("", 201)


# Each kind alone, at the local HTTP server, with a message for it.


@pytest.fixture
def twilio(provider: Callable[..., Any], httpserver: HTTPServer) -> Any:
    return provider(
        "twilio",
        settings={"account_sid": "AC1", "from": "+15005550006", "url": httpserver.url_for("")},
        secrets={"auth_token": "12345"},
    )


@pytest.fixture
def sms(message: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **changes: message("sms", "+4366412345678", content={"text": "Grüße"}, **changes)


@pytest.fixture
def slack(provider: Callable[..., Any], httpserver: HTTPServer) -> Any:
    return provider("slack", settings={"url": httpserver.url_for("")}, secrets={"token": "xoxb-1"})


@pytest.fixture
def chat(message: Callable[..., Any]) -> Any:
    return message("chat", "#alerts", content={"text": "Disk full"})


@pytest.fixture
def fcm(provider: Callable[..., Any], httpserver: HTTPServer, service_key: str) -> Any:
    service_account = {
        "type": "service_account",
        "project_id": "shop",
        "private_key_id": "1",
        "private_key": service_key,
        "client_email": "push@shop.iam.gserviceaccount.com",
        "token_uri": httpserver.url_for("/token"),
    }
    return provider(
        "fcm",
        settings={"url": httpserver.url_for("")},
        secrets={"service_account": json.dumps(service_account)},
    )


@pytest.fixture
def push(message: Callable[..., Any]) -> Callable[..., Any]:
    content = {"title": "Hello", "body": "World", "data": {"order": "7"}}
    return lambda **changes: message("push", "device-token", content=content, **changes)


@pytest.fixture
def token(httpserver: HTTPServer) -> None:
    answers(
        httpserver, "/token", {"access_token": "ya29", "expires_in": 3600, "token_type": "Bearer"}
    )


@pytest.fixture
def webpush(provider: Callable[..., Any], settings: Settings) -> Any:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True
    vapid = Vapid()
    vapid.generate_keys()
    return provider(
        "webpush",
        settings={"subject": "mailto:push@example.org"},
        secrets={"vapid_private_key": vapid.private_pem().decode()},
    )


@pytest.fixture
def browser(httpserver: HTTPServer) -> Browser:
    return Browser(httpserver.url_for("/push/1"))
