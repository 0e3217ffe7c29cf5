"""The Redis in which all workers share what is worth sharing: limits and the providers' health.

Nothing here is the truth. Redis away costs exactness, never a notification.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from types import MappingProxyType
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


Types = Mapping[str, str]
"""For each key its type, as Redis names it."""


def write(url: str, types: Types = MappingProxyType({})) -> None:
    """Ask a Redis for a small write, and whether keys of ours, if they are there, have their types.

    Raises ``redis.RedisError``, and OSError, for what it says; of a key that another program has
    written, ``KeyTaken``.
    """
    with connect(url) as client, client.pipeline(transaction=False) as pipeline:
        pipeline.set(key_of("probe"), "1", px=1000)
        for key in types:
            pipeline.type(key)
        written, *kinds = pipeline.execute(raise_on_error=False)
    if isinstance(written, Exception):
        raise written
    for (key, wanted), kind in zip(types.items(), kinds, strict=True):
        # An error says nothing of the key: not each user may ask.
        if not isinstance(kind, Exception) and (name := _text(kind)) not in ("none", wanted):
            raise outages.KeyTaken(key, name, wanted)


def _text(reply: bytes | str) -> str:
    return reply.decode() if isinstance(reply, bytes) else reply


def connect(url: str, **options: Any) -> redis.Redis:
    """Make a client that waits ``BROKER_TIMEOUT`` seconds for a Redis. Raises BadRedisAddress."""
    patience = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), settings.BROKER_TIMEOUT)
    return redis_address.read(url).client(**{**patience, **options})


_needed: list[Callable[[], Types]] = []


def need(types: Callable[[], Types]) -> None:
    """Have Redis count as out while a key of these holds what another program has written."""
    if types not in _needed:
        _needed.append(types)


def _probe() -> None:
    write(settings.REDIS_URL, {key: kind for types in _needed for key, kind in types().items()})


watch = Watch(outages.REDIS, _probe, "limits hold per process only")


@lru_cache(maxsize=4)
def _client(url: str, _pid: int) -> redis.Redis:
    return connect(url, health_check_interval=25)
