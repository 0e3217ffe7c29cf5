"""What is read when somebody asks: backlog, broker, dead letters, scheduler.

Each figure costs index probes, and counts stop at a limit: a million waiting rows cost no more
than ten thousand.
"""

from collections.abc import Iterator

import structlog
from django.db import Error, connection
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from notifications import accounts, allocation, backlog, bulk_replays, doorbell, health, routing
from scheduling import status as scheduler_status

log = structlog.get_logger(__name__)

MOST = 10_000  # rows counted per queue: more is "very many" to whoever is woken by it
_QUEUE = ("channel", "priority")


class StateCollector(Collector):
    """Reads the state of the whole system; one process of it need be asked."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read each part; one that does not answer leaves its figures out and says so."""
        reachable = True
        for part in (_backlog, _allocation, _dead_letters, _scheduler, _providers):
            try:
                yield from part()
            except Error as error:
                reachable = False
                log.warning("metrics_without_database", error=type(error).__name__)
                connection.close()
                break
        yield _gauge("database_up", "Whether the database answers", float(reachable))
        yield from _broker()


def _backlog() -> Iterator[GaugeMetricFamily]:
    due = _family("due", f"Rows that wait for a worker now, at most {MOST}", *_QUEUE)
    age = _family("oldest_due_seconds", "Age of the oldest row that waits", *_QUEUE)
    waiting = backlog.look(MOST)
    ages = backlog.oldest([(queue.channel, queue.priority) for queue in waiting if queue.due])
    for queue in waiting:
        name = (queue.channel, queue.priority)
        due.add_metric(name, queue.due)
        age.add_metric(name, ages.get(name, 0.0))
    yield due
    yield age


def _allocation() -> Iterator[GaugeMetricFamily]:
    weight = _family("queue_weight", "Weight of a queue, by who set it", "queue", "source")
    share = _family("queue_slot_share", "Part of all slot time in the last minute", "queue")
    for queue, one in allocation.read().items():
        weight.add_metric([queue, one.source], one.weight)
        if one.share is not None:
            share.add_metric([queue], one.share)
    yield weight
    yield share


def _dead_letters() -> Iterator[GaugeMetricFamily]:
    many = bulk_replays.open_ones().order_by()[:MOST].count()
    yield _gauge("dead_letters_open", f"Failed deliveries nobody saw to, at most {MOST}", many)


def _scheduler() -> Iterator[GaugeMetricFamily]:
    status = scheduler_status.read()
    yield _gauge("schedulers_alive", "Schedulers seen lately", status.live_schedulers)
    yield _gauge("schedules_due", "Schedules due and not claimed", status.due_backlog)
    yield _gauge("schedules_quarantined", "Schedules set aside as broken", status.quarantined)
    yield _gauge("fires_unpublished", "Fires claimed and not published", status.unpublished)
    yield _gauge("fires_running", "Runs under way", status.running)
    fires = _family("recent_fires", "Fires due in the last five minutes", "status")
    for name, count in status.fires_by_status.items():
        fires.add_metric([name], count)
    yield fires
    lateness = _family(
        "fire_lateness_seconds", "How late the fires of the last five minutes went out", "quantile"
    )
    for quantile, late in (
        ("0.5", status.lateness_p50),
        ("0.99", status.lateness_p99),
        ("1", status.lateness_max),
    ):
        lateness.add_metric([quantile], late or 0.0)
    yield lateness


def _providers() -> Iterator[GaugeMetricFamily]:
    resting = _family(
        "provider_resting", "Whether an account rests after failures", "channel", "provider"
    )
    for channel in routing.CHANNELS:
        names = [candidate.name for candidate in accounts.candidates(channel)]
        for name, seen in health.healths(names).items():
            resting.add_metric([channel, name], float(seen.resting_until > 0))
    yield resting


def _broker() -> Iterator[GaugeMetricFamily]:
    depth = _family("broker_messages", "Messages that wait on the broker", "queue")
    up = 1.0
    try:
        for queue, messages in doorbell.depths([*routing.QUEUE_NAMES, routing.JOBS_QUEUE]).items():
            depth.add_metric([queue], messages)
    except doorbell.BrokerAway:
        up = 0.0
    yield depth
    yield _gauge("broker_up", "Whether the broker answers", up)


def _family(name: str, what: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"notifications_{name}", what, labels=labels)


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"notifications_{name}", what, value=value)
