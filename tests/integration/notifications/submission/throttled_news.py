"""What the tests of throttles share: a throttle of a category, and what is sent in it."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections
from pytest_django import Settings

from notifications.models import (
    Notification,
    Throttle,
)
from notifications.recipients import categories, throttles
from templates_engine import catalog

NEWS: dict[str, Any] = {
    "channel": "simulator",
    "recipient": "ada",
    "subject": "News",
    "body": "N",
    "category": "product",
}
DAY = 86_400


@pytest.fixture(autouse=True)
def fresh(settings: Settings) -> None:
    settings.OUTBOX = True
    catalog.clear()
    categories.forget()
    throttles.forget()


def throttle(rest: str = "wait", limit: int = 3, **more: Any) -> None:
    given = {"category": "product", "channel": "simulator", "limit": limit, "rest": rest, **more}
    throttles.save(Throttle(**given))


def states() -> Counter[tuple[str, str]]:
    return Counter(Notification.objects.values_list("status", "reason"))


def closing(work: Callable[[], Any]) -> Any:
    try:
        return work()
    finally:
        connections.close_all()
