"""What these tests say often."""

import json
import logging
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db.models import F
from django.db.models.functions import Least
from pytest_django import Settings

from notifications.delivery import claims, pipeline
from notifications.delivery.outcomes import Recorded
from notifications.models import FailedDelivery, Notification
from notifications.queueing import release_window, slot_time
from notifications.queueing.slot_time import Spent
from notifications.submission import send

SIMULATED: Any = {"channel": "simulator", "recipient": "ada", "body": "Hello"}


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    """Each test starts with rooms that nobody has looked into yet."""
    release_window._rooms.clear()


@pytest.fixture
def accepted(transactional_db: None) -> Callable[..., Notification]:
    """Accept a simulated notification; keywords change it."""
    return lambda **changes: send(**{**SIMULATED, **changes})


@pytest.fixture
def deliver() -> Callable[..., Any]:
    """Claim and deliver these notifications in this process."""

    def deliver(*notifications: Notification) -> list[Recorded]:
        return pipeline.deliver(claims.claim([n.id for n in notifications]), worker="test")

    return deliver


@pytest.fixture
def age() -> Callable[..., None]:
    """Move a notification's due time into the past, as if that much time had gone by.

    Its first due time goes along where it would come to lie behind.
    """

    def age(notification: Notification, seconds: float = 3600) -> None:
        due_at = F("due_at") - timedelta(seconds=seconds)
        waiting = Notification.objects.filter(id=notification.id, due_at__isnull=False)
        waiting.update(due_at=due_at, scheduled_at=Least("scheduled_at", due_at))

    return age


@pytest.fixture
def set_(settings: Settings) -> Callable[..., None]:
    """Set one of the NOTIFICATIONS_ figures for this test."""
    return lambda name, value: setattr(settings, f"NOTIFICATIONS_{name}", value)


@pytest.fixture
def took(db: None) -> Callable[..., None]:
    """Tell what slot time each queue took, as workers do: ``took({"email.low": (3.0, 6)})``."""
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        broker.flushdb()
    return lambda spent: slot_time.report(
        {queue: Spent(*figures) for queue, figures in spent.items()}
    )


@pytest.fixture
def messages_on_the_broker(transactional_db: None) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Read what waits in a queue, with each body decoded; the broker is empty at first."""
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        broker.flushdb()

        def read(queue: str) -> list[dict[str, Any]]:
            found = [json.loads(raw) for raw in broker.lrange(queue, 0, -1)]
            return [{**m, "body": b64decode(m["body"]).decode()} for m in found]

        yield read


@pytest.fixture
def redis_client() -> Iterator[redis.Redis]:
    """A connection to the broker of this run."""
    with redis.Redis.from_url(settings.BROKER_URL) as client:
        yield client


@pytest.fixture
def no_content_in_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """See that no line that the test logged, with its traceback, holds what errors told."""
    yield
    told = "\n".join(map(logging.Formatter().format, caplog.get_records("call")))
    assert not [word for word in ("Dear Ada", "ada@example.org") if word in told]


@pytest.fixture
def dead(accepted: Callable[..., Notification], deliver: Callable[..., Any]) -> Callable[..., Any]:
    """A dead letter: a notification that its provider refused for good."""

    def dead(code: str = "550", **changes: Any) -> FailedDelivery:
        row = accepted(**{"recipient": f"ada?result=permanent&code={code}", **changes})
        deliver(row)
        return FailedDelivery.objects.get(notification_id=row.id)

    return dead
