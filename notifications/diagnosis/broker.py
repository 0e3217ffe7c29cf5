"""The broker: whether it answers, keeps what it holds, and has workers on every queue."""

from collections.abc import Iterator
from typing import Any

import redis
from celery import current_app
from django.conf import settings

from notifications import doorbell, routing
from notifications.diagnosis.finding import Finding
from notifications.shared_state import readable

ANSWER_SECONDS = 2.0


def reachable() -> Iterator[Finding]:
    """Somebody answers at BROKER_URL."""
    try:
        doorbell.depths([routing.JOBS_QUEUE])
    except doorbell.BrokerAway:
        yield Finding(
            "broker.away",
            "The broker does not answer: what is accepted waits in the database.",
            "Check that it runs and that BROKER_URL names it. Without BROKER_URL it is the "
            "embedded one, which only make up starts.",
        )


def durability() -> Iterator[Finding]:
    """A Redis of its own, that forgets nothing when it is full or restarted."""
    if not settings.BROKER_IS_REDIS:
        return
    with redis.Redis.from_url(
        readable(settings.BROKER_URL), socket_timeout=ANSWER_SECONDS, decode_responses=True
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


def _eviction(memory: dict[str, Any]) -> Iterator[Finding]:
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield Finding(
            "broker.eviction",
            f"Redis throws messages away when it is full (maxmemory-policy {policy}).",
            "Set maxmemory-policy noeviction, and give a cache a Redis of its own.",
        )


def workers() -> Iterator[Finding]:
    """Each queue has a worker."""
    inspect = current_app.control.inspect(timeout=ANSWER_SECONDS)
    active: dict[str, list[dict[str, Any]]] = inspect.active_queues() or {}
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
