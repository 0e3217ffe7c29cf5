"""What is read when somebody asks: backlog, broker, dead letters, scheduler.

Each figure costs index probes, and counts stop at a limit: a million waiting rows cost no more
than ten thousand.
"""

import time
from collections.abc import Iterator
from math import nan

import structlog
from django.db import Error
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from notifications.core import routing
from notifications.db import clock
from notifications.models import QuarantinedRow
from notifications.monitoring import servers, waiting
from notifications.operations import bulk_replays, holds
from notifications.providers import accounts, health
from notifications.queueing import allocation, backlog, publisher
from scheduling import isolation, liveness, watch, workers
from scheduling import status as scheduler_status
from scheduling.models import WorkerProcess
from scheduling.postgresql.patience import answered_within

log = structlog.get_logger(__name__)

MOST = 10_000  # rows counted per queue: more is "very many" to whoever is woken by it
READ_WITHIN = 8.0  # seconds: a scrape is given up after ten
_QUEUE = ("channel", "priority")


class StateCollector(Collector):
    """Reads the state of the whole system; one process of it need be asked."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read each part; one that does not answer leaves its figures out and says so.

        So does one that meets a row which cannot be read; the other parts are given all the same.
        """
        known = watch.database.outage
        reachable = known is None or not known.makes_wait
        faulty = 0
        ends = time.monotonic() + READ_WITHIN
        for part in PARTS if reachable else ():
            try:
                with answered_within(max(ends - time.monotonic(), 0.0)):
                    families = list(part())
                yield from families
            except Exception as error:
                if isinstance(error, Error) and watch.database_outage(error) is not None:
                    reachable = False  # said by its watch
                    break
                if isolation.concerns_everybody(error):
                    raise
                faulty += 1
                fault = isolation.fault_of(error, part.__name__)
                log.error("metrics_left_out", part=fault.stage, error=fault.error, at=fault.place)  # noqa: TRY400 -- a traceback has the exception's text
        yield _gauge("state_parts_faulty", "Parts of the state that cannot be read", faulty)
        up = reachable and servers.database() is None
        yield _gauge("database_up", "Whether the database takes writes", float(up))
        yield from _broker()


def _backlog() -> Iterator[GaugeMetricFamily]:
    due = _family("due", f"Rows that wait for a worker now, at most {MOST}", *_QUEUE)
    for queue in backlog.look(MOST):
        due.add_metric((queue.channel, queue.priority), queue.due)
    yield due
    retrying = _family("retrying", f"Rows that wait for the next attempt, at most {MOST}", *_QUEUE)
    blocked = _family(
        "blocked", f"Rows that wait for an account, an endpoint or a limit, at most {MOST}", *_QUEUE
    )
    deferred = _family(
        "deferred",
        "Deprecated, gone with 0.3: use notifications_retrying and notifications_blocked",
        *(*_QUEUE, "state"),
    )
    age = _family(
        "oldest_waiting_seconds", "Since when the row that waits longest was to be sent", *_QUEUE
    )
    now = clock.now()
    for row in waiting.look(MOST):
        name = (row.channel, row.priority)
        retrying.add_metric(name, row.retrying)
        blocked.add_metric(name, row.blocked)
        deferred.add_metric((*name, "retrying"), row.retrying)
        deferred.add_metric((*name, "resting"), row.blocked)
        age.add_metric(name, row.age(now))
    yield from (retrying, blocked, deferred)
    yield age


def _allocation() -> Iterator[GaugeMetricFamily]:
    weight = _family("queue_weight", "Weight of a queue, by who set it", "queue", "source")
    share = _family("queue_slot_share", "Part of all slot time in the last minute", "queue")
    for queue, allocated in allocation.read().items():
        weight.add_metric([queue, allocated.source], allocated.weight)
        if allocated.share is not None:
            share.add_metric([queue], allocated.share)
    yield weight
    yield share


def _dead_letters() -> Iterator[GaugeMetricFamily]:
    many = bulk_replays.open_ones().order_by()[:MOST].count()
    yield _gauge(
        "dead_letters_open",
        f"Failed deliveries that nobody replayed or discarded, at most {MOST}",
        many,
    )


def _quarantine() -> Iterator[GaugeMetricFamily]:
    many = sum(loop.rows for loop in QuarantinedRow.objects.by_loop())
    yield _gauge("rows_quarantined", "Rows that faulted a loop again and again", many)


def _holds() -> Iterator[GaugeMetricFamily]:
    yield _gauge("holds", "What operators hold back now", holds.in_force().count())


def _workers() -> Iterator[GaugeMetricFamily]:
    alive = workers.alive()
    is_unknown = not alive and liveness.is_unknown(WorkerProcess)
    yield _gauge("workers_alive", "Workers seen lately", nan if is_unknown else len(alive))
    serving = _family("queue_workers", "Living workers that consume a queue", "queue")
    for queue in (*routing.QUEUE_NAMES, routing.JOBS_QUEUE):
        serving.add_metric([queue], sum(queue in worker.queues for worker in alive))
    yield serving


def _scheduler() -> Iterator[GaugeMetricFamily]:
    status = scheduler_status.read()
    live = nan if status.are_schedulers_unknown else status.live_schedulers
    yield _gauge("schedulers_alive", "Schedulers seen lately", live)
    yield _gauge("schedules_due", "Schedules due and not claimed", status.due_backlog)
    yield _gauge("schedulers_hung", "Schedulers of which a loop hangs", status.hung_schedulers)
    yield _gauge("schedules_quarantined", "Schedules in quarantine", status.quarantined)
    yield _gauge("schedules_overdue", "Schedules no scheduler moves on", status.overdue)
    yield _gauge("schedules_failing", "Schedules whose last runs failed", status.failing)
    yield _gauge("schedules_skipping", "Schedules whose last fires were skipped", status.skipping)
    yield _gauge("tasks_unknown", "Due tasks that no worker knows", status.unknown_tasks)
    yield _gauge("runs_failed", "Failed runs that nobody replayed or discarded", status.failed_runs)
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
    is_open = _family(
        *("provider_circuit_open", "Whether an account's circuit is open after failures"),
        *("channel", "provider"),
    )
    resting = _family(
        *("provider_resting", "Deprecated, gone with 0.3: use notifications_provider_circuit_open"),
        *("channel", "provider"),
    )
    for channel in routing.CHANNELS:
        names = [candidate.name for candidate in accounts.candidates(channel)]
        for name, seen in health.healths(names).items():
            is_open.add_metric([channel, name], float(seen.open_until > 0))
            resting.add_metric([channel, name], float(seen.open_until > 0))
    yield from (is_open, resting)


def _broker() -> Iterator[GaugeMetricFamily]:
    depth = _family("broker_messages", "Messages that wait on the broker", "queue")
    outage = servers.broker()
    try:
        for queue, messages in publisher.depths([*routing.QUEUE_NAMES, routing.JOBS_QUEUE]).items():
            depth.add_metric([queue], messages)
    except publisher.BrokerAway:
        up = False
    else:
        up = outage is None
    yield depth
    yield _gauge("broker_up", "Whether the broker takes messages", float(up))


PARTS = (
    *(_backlog, _allocation, _dead_letters, _quarantine, _holds),
    *(_workers, _scheduler, _providers),
)


def _family(name: str, help_: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"notifications_{name}", help_, labels=labels)


def _gauge(name: str, help_: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"notifications_{name}", help_, value=value)
