"""The families of counters and histograms, with their labels and buckets."""

from dataclasses import dataclass
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge

from notifications.metrics import process_folders
from notifications.metrics.batch_histogram import BatchHistogram

# Seconds: an OTP is judged at 5 s, a campaign by the hour.
WAITS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21_600, 86_400)
CALLS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)


@dataclass(frozen=True)
class Series:
    """One field per family; see ``series`` for their meaning."""

    accepted: Counter
    doubles: Counter
    refused: Counter
    api_problems: Counter
    cancelled: Counter
    attempts: Counter
    ended: Counter
    receipts: Counter
    retries: Counter
    waits: Counter
    stale: Counter
    sweeps: Counter
    swept_messages: Counter
    leases_expired: Counter
    broker_away: Counter
    dropped: Counter
    requeued: Counter
    due_to_sent: BatchHistogram
    due_to_delivered: BatchHistogram
    attempt_seconds: BatchHistogram
    in_hand: Gauge


@cache
def series() -> Series:
    """Make the families at the first count: by then a process that has a role has its slot."""
    process_folders.ensure()
    registry = CollectorRegistry()
    queue = ("channel", "priority")

    def counter(name: str, help_: str, *labels: str) -> Counter:
        return Counter(f"notifications_{name}", help_, labels, registry=registry)

    def histogram(
        name: str, help_: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> BatchHistogram:
        return BatchHistogram(
            f"notifications_{name}", help_, labels, buckets=buckets, registry=registry
        )

    return Series(
        accepted=counter("accepted", "Notifications that became a row", *queue),
        doubles=counter("doubles", "Submissions that were there already", *queue),
        refused=counter("refused", "Submissions refused", "error"),
        api_problems=counter("api_problems", "Refusals of the HTTP API", "problem"),
        cancelled=counter("cancelled", "Notifications called off in time"),
        attempts=counter("attempts", "Tries at a provider", *queue, "provider", "result"),
        ended=counter(
            "ended",
            "Notifications sent, failed, expired, …",
            *(*queue, "provider", "status", "reason"),
        ),
        receipts=counter(
            "receipts", "Receipts that moved a notification on", *queue, "provider", "status"
        ),
        retries=counter("retries", "Further attempts planned", *queue, "step"),
        waits=counter("waits", "Claims given back untried", "reason"),
        stale=counter("stale_reports", "Reports of workers that outlived their lease"),
        sweeps=counter("sweeps", "Rounds of the sweep"),
        swept_messages=counter("swept_messages", "Messages published by the sweep"),
        leases_expired=counter("leases_expired", "Claims taken from workers that died"),
        broker_away=counter("broker_away", "Times that the broker could not be reached"),
        dropped=counter("messages_dropped", "Messages that no worker could receive", "reason"),
        requeued=counter("messages_requeued", "Messages that a task gave back to the broker"),
        due_to_sent=histogram("due_to_sent_seconds", "From due to sent", queue, WAITS),
        due_to_delivered=histogram(
            "due_to_delivered_seconds", "From due to delivered", queue, WAITS
        ),
        attempt_seconds=histogram(
            "attempt_seconds", "From a try's begin to its record", ("channel", "provider"), CALLS
        ),
        in_hand=Gauge(
            "notifications_slots_busy",
            "Worker slots that are delivering",
            queue,
            registry=registry,
            multiprocess_mode="livesum",
        ),
    )
