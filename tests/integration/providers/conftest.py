"""The fixtures of the channels serve here, too."""

import pytest
import redis
from django.conf import settings

from tests.integration.channels.conftest import (
    _nothing_remembered,
    account,
    deliver,
    in_threads,
    message,
    peer,
    provider,
    text,
)

__all__ = [
    "_nothing_remembered",
    "account",
    "deliver",
    "in_threads",
    "message",
    "peer",
    "provider",
    "text",
]


@pytest.fixture
def redis_calls():
    """Count how often Redis was given a command."""

    def count(command):
        with redis.Redis.from_url(settings.BROKER_URL) as client:
            return client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0)

    return count
