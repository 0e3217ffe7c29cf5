"""How often a key may call: a token bucket (GCRA) in Redis, shared by all web processes.

Without a Redis, or while it is away, each process counts for itself: the API stays open, and
its limit becomes one per process.
"""

import time
from functools import lru_cache

import structlog
from django.conf import settings
from throttled import MemoryStore, RateLimiterType, RedisStore, Throttled, rate_limiter
from throttled.exceptions import StoreUnavailableError

from notifications import conf
from notifications.models import ApiKey

log = structlog.get_logger(__name__)

BURST_SECONDS = 2  # a bucket holds this many seconds of its rate
AWAY_FOR = 5.0  # seconds that a Redis which did not answer is left alone

# Celery's word for a scheme, and Redis' own client's.
_SCHEMES = {"redis+socket": "unix", "valkey": "redis", "valkeys": "rediss"}

_memory = MemoryStore()
_away_until = 0.0


def take(key: ApiKey) -> float:
    """Count one request of this key; gives 0, or the seconds to wait before the next."""
    global _away_until  # noqa: PLW0603 -- one Redis per process
    rate = key.rate or conf.get("API_RATE")
    if settings.REDIS_URL and time.monotonic() >= _away_until:
        try:
            return _ask(_shared(settings.REDIS_URL), rate, key)
        except (StoreUnavailableError, OSError) as error:
            _away_until = time.monotonic() + AWAY_FOR
            log.warning("limits_count_per_process", error=type(error).__name__)
    return _ask(_memory, rate, key)


def _ask(store: RedisStore | MemoryStore, rate: int, key: ApiKey) -> float:
    result = _throttle(store, rate).limit(f"api:{key.prefix}")
    return float(result.state.retry_after) if result.limited else 0.0


@lru_cache(maxsize=1000)
def _throttle(store: RedisStore | MemoryStore, rate: int) -> Throttled:
    quota = rate_limiter.per_sec(rate, burst=rate * BURST_SECONDS)
    return Throttled(using=RateLimiterType.GCRA.value, quota=quota, store=store)


@lru_cache(maxsize=1)
def _shared(url: str) -> RedisStore:
    patience = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), settings.BROKER_TIMEOUT)
    return RedisStore(server=address_of(url), options={"CONNECTION_POOL_KWARGS": patience})


def address_of(url: str) -> str:
    """Write a broker's URL as Redis' own client wants it."""
    scheme, _, place = url.partition("://")
    return f"{_SCHEMES.get(scheme, scheme)}://{place}"
