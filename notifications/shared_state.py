"""The Redis in which all workers share what is worth sharing: limits and the providers' health.

Nothing here is the truth. Redis away costs exactness, never a notification.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import redis
import structlog
from django.conf import settings

log = structlog.get_logger(__name__)

AWAY_FOR = 1.0  # seconds that Redis is left alone after a failure
WARN_EVERY = 10.0  # seconds between two warnings
_away_until = 0.0
_warned_at = float("-inf")


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
        _warn(error)
        raise SharedStateAway(str(error)) from error


def _warn(error: Exception) -> None:
    global _warned_at  # noqa: PLW0603 -- as above
    if time.monotonic() - _warned_at >= WARN_EVERY:
        _warned_at = time.monotonic()
        log.warning("redis_away", error=type(error).__name__, now="limits hold per worker only")


@lru_cache(maxsize=4)
def _client(url: str, _pid: int) -> redis.Redis:
    return redis.Redis.from_url(
        readable(url),
        socket_timeout=settings.BROKER_TIMEOUT,
        socket_connect_timeout=settings.BROKER_TIMEOUT,
        health_check_interval=25,
    )


def readable(url: str) -> str:
    """Turn kombu's forms of an address into redis-py's."""
    for ours, theirs in (
        ("redis+socket://", "unix://"),
        ("valkeys://", "rediss://"),
        ("valkey://", "redis://"),
    ):
        if url.startswith(ours):
            return theirs + url.removeprefix(ours)
    return url
