"""The broker: whether it answers, keeps what it holds, and has workers on every queue."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import redis
from celery.app import default_app
from django.conf import settings
from django.db import Error

from notifications.core import routing
from notifications.db import shared_state
from notifications.monitoring.diagnosis.finding import Finding
from notifications.providers import accounts, health
from notifications.queueing import publisher
from scheduling import outages
from scheduling import workers as announced

ANSWER_SECONDS = 2.0


_KEY_TAKEN = (
    "Find who writes it, and delete or rename it there. Systems that share a database of a Redis "
    "each need a REDIS_KEY_PREFIX of their own."
)


def reachable() -> Iterator[Finding]:
    """Somebody answers at BROKER_URL, to kombu as to redis-py, and takes a message."""
    try:
        publisher.probe()
        publisher.depths([routing.JOBS_QUEUE])
    except Exception as error:  # noqa: BLE001 -- the probe of a doctor: what it raises is the finding
        taken = isinstance(error, outages.KeyTaken)
        yield Finding(
            "broker.key" if taken else "broker.away",
            f"The broker takes no message, for {_reason(error)}: what is accepted waits in the "
            "database.",
            _KEY_TAKEN
            if taken
            else "Check that it runs and that BROKER_URL names it. Without BROKER_URL it is the "
            "embedded one, which only make up starts. Its memory "
            "must not be full, it must not be a replica, and our user needs its permissions. Of a "
            "RabbitMQ that blocks publishers, rabbitmq-diagnostics alarms names the node: give it "
            "memory or disk.",
        )


def shared_state_works() -> Iterator[Finding]:
    """Somebody answers at REDIS_URL, takes a write, and has no other program's values for ours."""
    if not settings.REDIS_URL:
        return
    names = {account.name for channel in routing.CHANNELS for account in _accounts(channel)}
    try:
        shared_state.write(settings.REDIS_URL, health.types(sorted(names)))
    except outages.KeyTaken as error:
        yield Finding(
            "redis.key",
            f"Of the Redis of the limits, {error}: each process keeps that account's health alone.",
            _KEY_TAKEN,
        )
    except (redis.RedisError, OSError) as error:
        if settings.REDIS_URL == settings.BROKER_URL:
            return  # told of the broker
        yield Finding(
            "redis.away",
            f"The Redis of the limits takes no write, for {_reason(error)}: each process keeps "
            "rate limits and the providers' health alone.",
            "Check that it runs and that REDIS_URL names it, with its password and certificate.",
        )


def _accounts(channel: str) -> Sequence[accounts.Candidate]:
    with suppress(Error):
        return accounts.candidates(channel)
    return ()  # another probe tells of the database


def _reason(error: Exception) -> str:
    cause = (
        error.__cause__ if isinstance(error, publisher.BrokerAway) and error.__cause__ else error
    )
    outage = outages.of(cause)
    return f"{outage.reason} ({outage.code})" if outage else type(cause).__name__


def durability() -> Iterator[Finding]:
    """A Redis of its own, that forgets nothing when it is full or restarted."""
    if not settings.BROKER_IS_REDIS:
        return
    with shared_state.connect(
        settings.BROKER_URL, socket_timeout=ANSWER_SECONDS, decode_responses=True
    ) as client:
        try:
            memory, persistence = client.info("memory"), client.info("persistence")
        except redis.RedisError:
            return  # it may answer to publishing and not to INFO; then nothing is known
    yield from _eviction(memory)
    if not persistence.get("aof_enabled"):
        yield Finding(
            "broker.persistence",
            "Redis keeps no append-only file: a restart loses what waits there, until the sweep "
            "publishes it again.",
            "Start it with --appendonly yes --appendfsync everysec.",
            is_error=False,
        )


def _announced() -> list[str]:
    """Return the names, as Celery has them, of the workers that are alive by the database."""
    with suppress(Error):
        return sorted({worker.name.rpartition(":")[0] for worker in announced.alive()})
    return []  # another probe tells of the database


def _eviction(memory: dict[str, Any]) -> Iterator[Finding]:
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield Finding(
            "broker.eviction",
            f"Redis throws messages away when it is full (maxmemory-policy {policy}).",
            "Set maxmemory-policy noeviction, and give a cache a Redis of its own.",
        )


def workers() -> Iterator[Finding]:
    """Each queue has a worker, and each worker that is alive answers."""
    inspect = default_app.control.inspect(timeout=ANSWER_SECONDS)
    active: dict[str, list[dict[str, Any]]] = inspect.active_queues() or {}
    if hung := [name for name in _announced() if name not in active]:
        yield Finding(
            "workers.hang",
            "Workers that are alive but do not answer: "
            f"{', '.join(hung[:5])}{', …' if len(hung) > 5 else ''}.",
            "A worker's main process hangs, or has another broker. Compare its BROKER_URL with "
            "this one, look at its log, and restart it. What it has in hand is sent after its "
            "leases end.",
        )
    if not active:
        yield Finding(
            "workers.none",
            "No worker answers.",
            "Start one: celery -A config worker. If one runs, compare its BROKER_URL with this.",
        )
        return
    served = {queue["name"] for queues in active.values() for queue in queues}
    if missing := [q for q in (*routing.QUEUE_NAMES, routing.JOBS_QUEUE) if q not in served]:
        yield Finding(
            "workers.queues",
            f"No worker serves {', '.join(missing[:5])}{', …' if len(missing) > 5 else ''}.",
            "Start one without -Q, which takes every queue, or one with -Q for these.",
        )
