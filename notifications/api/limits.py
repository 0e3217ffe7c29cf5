"""How often a key may call: a token bucket (GCRA) in Redis, shared by all web processes.

Without a Redis, or while it is away, each process counts for itself: the API stays open, and
its limit becomes one per process.
"""

import threading
import time
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import redis
from django.conf import settings
from throttled import MemoryStore, RateLimiterType, RedisStore, Throttled, rate_limiter
from throttled.exceptions import StoreUnavailableError
from throttled.store import ConnectionFactory

from notifications.core.conf import conf
from notifications.db import shared_state
from notifications.models import ApiKey
from notifications.queueing import patience
from scheduling import outages

BURST_SECONDS = 2  # a bucket holds this many seconds of its rate
AWAY_FOR = 5.0  # seconds that a Redis which did not answer is left alone

AHEAD = 0.02
"""Seconds of a key's rate that a process counts at once, so that few requests ask Redis.

What it does not use within ``KEPT_FOR`` seconds is lost to the key: it may call a little less often
than its rate, never more often. A rate below 50 a second is counted one by one.
"""
KEPT_FOR = 0.2

_memory = MemoryStore()
_away_until = 0.0


class _Rate(NamedTuple):
    """So many in a period of so many seconds, of which ``burst`` may come at once."""

    most: int
    seconds: int
    burst: int


class _Ahead:
    """Requests of each key that are counted already and have not come yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: dict[str, tuple[int, float]] = {}

    def take(self, key: str, count: int) -> bool:
        """Use ``count`` of what was counted for a key; return whether there were so many."""
        with self._lock:
            left, until = self._left.get(key, (0, 0.0))
            if left < count or time.monotonic() >= until:
                return False
            self._left[key] = (left - count, until)
            return True

    def keep(self, key: str, count: int) -> None:
        """Keep what was counted beyond what has come."""
        with self._lock:
            self._left[key] = (count, time.monotonic() + KEPT_FOR)


_ahead = _Ahead()


def take(key: ApiKey, count: int = 1) -> float:
    """Count requests of this key; return 0, or the seconds to wait before they may come.

    Where they may not all come, none is counted.
    """
    rate = key.rate or conf.api_rate
    if _ahead.take(key.prefix, count):
        return 0.0
    name, limit = f"api:{key.prefix}", _Rate(rate, 1, rate * BURST_SECONDS)
    some = count + int(rate * AHEAD)
    if some > count and not _take(name, limit, some):
        _ahead.keep(key.prefix, some - count)
        return 0.0
    return _take(name, limit, count)


def prepare() -> None:
    """Connect, and have Redis know the script, before a call would wait for either."""
    _take("start", _Rate(1, 1, 1))


def take_refused(address: str) -> float:
    """Count one wrong key of an address; return 0, or the seconds to wait before the next."""
    most = conf.api_wrong_keys_per_minute
    return _take(f"refused:{address}", _Rate(most, 60, most))


def _take(name: str, rate: _Rate, count: int = 1) -> float:
    global _away_until  # noqa: PLW0603 -- one Redis per process
    if settings.REDIS_URL and time.monotonic() >= _away_until:
        try:
            with patience.counted():
                return _ask(_shared(settings.REDIS_URL), name, rate, count)
        except (StoreUnavailableError, redis.RedisError, OSError) as error:
            _away_until = time.monotonic() + AWAY_FOR
            if outage := outages.of(error.__cause__ or error):
                shared_state.watch.saw(outage)
    return _ask(_memory, name, rate, count)


def _ask(store: RedisStore | MemoryStore, name: str, rate: _Rate, count: int) -> float:
    result = _throttle(store, rate).limit(name, count)
    return float(result.state.retry_after) if result.limited else 0.0


@lru_cache(maxsize=1000)
def _throttle(store: RedisStore | MemoryStore, rate: _Rate) -> Throttled:
    period = timedelta(seconds=rate.seconds)
    return Throttled(
        using=RateLimiterType.GCRA.value,
        quota=rate_limiter.per_duration(period, rate.most, burst=rate.burst),
        store=store,
        key_prefix=f"{settings.REDIS_KEY_PREFIX}throttled",
    )


@lru_cache(maxsize=1)
def _shared(url: str) -> RedisStore:
    return RedisStore(
        server=url,
        options={"CONNECTION_FACTORY_CLASS": "notifications.api.limits.OurConnections"},
    )


class OurConnections(ConnectionFactory):
    """Has throttled-py use a client made as all others are, from any address that we read."""

    def connect(self, url: str | None = None) -> Any:
        return shared_state.connect(url or settings.REDIS_URL)
