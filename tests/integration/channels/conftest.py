"""Accounts, messages and peers for the tests of providers."""

import threading
from uuid import uuid4

import pytest
import redis
from django.conf import settings

from notifications import accounts, claims, delivery, health, receivers, suppressions
from notifications.channels.base import Account, Message
from notifications.kinds import provider_class
from notifications.models import Notification, ProviderAccount
from notifications.submission import send
from tests.integration.channels.peers import Peer


@pytest.fixture(autouse=True)
def _nothing_remembered():
    """Each test starts with empty caches and an empty Redis."""
    accounts.forget()
    suppressions.forget()
    health.forget()
    receivers.forget()
    with redis.Redis.from_url(settings.BROKER_URL) as client:
        client.flushdb()


@pytest.fixture
def message():
    """Make a message; keywords change it."""

    def make(channel="email", recipient="ada@example.org", timeout=5.0, **changes):
        given = {
            "id": uuid4(),
            "content": {"subject": "Hello", "text": "Dear Ada"},
            "attempt": 1,
            **changes,
        }
        return Message(channel=channel, recipient=recipient, timeout=timeout, **given)

    return make


@pytest.fixture
def provider():
    """Make a provider of a kind from settings and secrets, and close it after the test."""
    made = []

    def make(kind, channel="", settings=None, secrets=None):
        cls = provider_class(kind)
        account = Account(
            f"test-{kind}", channel or cls.channels[0], kind, settings or {}, secrets or {}
        )
        made.append(cls(account))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def peer():
    """Start servers that do with each connection what a function says."""
    started = []

    def make(handle):
        started.append(Peer(handle).start())
        return started[-1]

    yield make
    for one in started:
        one.stop()


@pytest.fixture
def account(transactional_db):
    """Keep a provider account as a row, seen at once."""

    def make(name, kind="simulator", channel="sms", **fields):
        row = ProviderAccount.objects.create(name=name, kind=kind, channel=channel, **fields)
        accounts.forget()
        return row

    return make


@pytest.fixture
def deliver():
    """Claim and deliver these notifications in this process, and give them as they are then."""

    def deliver(*notifications):
        ids = [n.id for n in notifications]
        delivery.deliver(claims.claim(ids), worker="test")
        rows = Notification.objects.in_bulk(ids)
        return [rows[id_] for id_ in ids]

    return deliver


@pytest.fixture
def text(transactional_db):
    """Accept a text message; keywords change it."""
    return lambda **changes: send(
        **{"channel": "sms", "recipient": "+4366412345678", "body": "Hello", **changes}
    )


@pytest.fixture
def in_threads():
    """Call a function so many times at once, and give what came back."""

    def run(count, function):
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
