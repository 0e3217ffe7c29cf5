"""The Redis in which all workers share what is worth sharing: limits and the providers' health.

Nothing here is the truth. Redis away costs exactness, never a notification.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import redis
from django.conf import settings

from scheduling import outages, redis_address
from scheduling.watch import Watch

AWAY_FOR = 1.0  # seconds that Redis is left alone after a failure
_away_until = 0.0


class SharedStateAway(Exception):
    """Redis cannot be asked now, or there is none."""


@contextmanager
def shared_state() -> Iterator[redis.Redis]:
    """Lend the client of this process. Raises ``SharedStateAway`` for every fault of Redis."""
    global _away_until  # noqa: PLW0603 -- one Redis per process
    if not settings.REDIS_URL:
        raise SharedStateAway("There is no REDIS_URL.")
    if time.monotonic() < _away_until:
        raise SharedStateAway("Redis was away a moment ago.")
    try:
        yield _client(settings.REDIS_URL, os.getpid())
    except redis.RedisError as error:
        _away_until = time.monotonic() + AWAY_FOR
        if outage := outages.of(error):
            watch.saw(outage)
        raise SharedStateAway(type(error).__name__) from error


def key_of(name: str) -> str:
    """Return the whole name of a key of ours, with the operator's prefix."""
    return f"{settings.REDIS_KEY_PREFIX}notifications:{name}"


def write(url: str) -> None:
    """Ask a Redis for a small write. Raises ``redis.RedisError``, and OSError, for what it says."""
    with connect(url) as client:
        client.set(key_of("probe"), "1", px=1000)


def connect(url: str, **options: Any) -> redis.Redis:
    """Make a client that waits ``BROKER_TIMEOUT`` seconds for a Redis. Raises BadRedisAddress."""
    patience = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), settings.BROKER_TIMEOUT)
    return redis_address.read(url).client(**{**patience, **options})


watch = Watch(outages.REDIS, lambda: write(settings.REDIS_URL), "limits hold per process only")


@lru_cache(maxsize=4)
def _client(url: str, _pid: int) -> redis.Redis:
    return connect(url, health_check_interval=25)
