"""Leases: "for a while, only one process does this". They save work; nothing rests on them.

A lease that two processes hold for a moment costs a repeated clean-up. Exactness comes from
constraints and conditional updates.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from threading import Lock
from typing import Protocol

import redis
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from scheduling.clock import database_now
from scheduling.models import Lease

RENEW_OR_TAKE = """
if redis.call('get', KEYS[1]) == ARGV[1] then
  return redis.call('pexpire', KEYS[1], ARGV[2])
end
if redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0
"""
RELEASE = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end
return 0
"""


class Leases(Protocol):
    """A provider of leases."""

    def take(self, name: str, owner: str, ttl: timedelta) -> bool:
        """Take a free lease, or renew one's own, for ``ttl``; tell whether ``owner`` has it."""
        ...

    def release(self, name: str, owner: str) -> None:
        """Give a lease back; nothing happens if it is somebody else's."""
        ...


class MemoryLeases:
    """Leases among the threads of one process: for tests, and where one process is all."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, float]] = {}
        self._lock = Lock()

    def take(self, name: str, owner: str, ttl: timedelta) -> bool:
        now = time.monotonic()
        with self._lock:
            holder, expires = self._held.get(name, (owner, 0.0))
            if holder != owner and expires > now:
                return False
            self._held[name] = (owner, now + ttl.total_seconds())
            return True

    def release(self, name: str, owner: str) -> None:
        with self._lock:
            if self._held.get(name, ("", 0.0))[0] == owner:
                del self._held[name]


class DatabaseLeases:
    """Leases in a table, by the database's clock."""

    def take(self, name: str, owner: str, ttl: timedelta) -> bool:
        now = database_now()
        mine_or_over = Lease.objects.filter(name=name, owner=owner) | Lease.objects.filter(
            name=name, expires_at__lte=now
        )
        if mine_or_over.update(owner=owner, expires_at=now + ttl):
            return True
        new = Lease(name=name, owner=owner, expires_at=now + ttl)
        Lease.objects.bulk_create([new], ignore_conflicts=True)
        return Lease.objects.filter(name=name, owner=owner).exists()

    def release(self, name: str, owner: str) -> None:
        Lease.objects.filter(name=name, owner=owner).delete()


class RedisLeases:
    """Leases in Redis: SET NX with a time to live; renewed and released by their owner only."""

    def __init__(self, url: str, prefix: str = "scheduling:lease:") -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=1)
        self._prefix = prefix
        self._take = self._client.register_script(RENEW_OR_TAKE)
        self._release = self._client.register_script(RELEASE)

    def take(self, name: str, owner: str, ttl: timedelta) -> bool:
        """Take or renew a lease. Raises ``redis.RedisError`` if Redis does not answer."""
        milliseconds = int(ttl.total_seconds() * 1000)
        return bool(self._take(keys=[self._prefix + name], args=[owner, milliseconds]))

    def release(self, name: str, owner: str) -> None:
        self._release(keys=[self._prefix + name], args=[owner])


PROVIDERS: dict[str, Callable[[], Leases]] = {
    "memory": MemoryLeases,
    "database": DatabaseLeases,
    "redis": lambda: RedisLeases(settings.REDIS_URL),
}


def configured() -> Leases:
    """Make the provider that the setting ``SCHEDULING_LEASES`` names; the default is the database.

    Raises ``ImproperlyConfigured`` for an unknown name.
    """
    name = getattr(settings, "SCHEDULING_LEASES", "database")
    if name not in PROVIDERS:
        known = ", ".join(sorted(PROVIDERS))
        raise ImproperlyConfigured(f"SCHEDULING_LEASES is {name!r}; it must be one of {known}.")
    return PROVIDERS[name]()
