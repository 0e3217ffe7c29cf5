"""A pytest plugin: ``pytest_plugins = ["notifications.testing.plugin"]`` in a ``conftest.py``."""

from collections.abc import Iterator

import pytest

from notifications.testing import SentNotifications
from notifications.testing import sent_notifications as kit


@pytest.fixture(name="sent_notifications")
def _sent_notifications() -> Iterator[SentNotifications]:
    """Have nothing reach a broker or a provider; give what is sent instead."""
    with kit() as sent:
        yield sent
