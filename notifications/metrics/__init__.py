"""Prometheus counters, incremented once per batch, in files that survive a killed process.

``start`` tells a process where to count; one that was never told (a program that embeds us, a
one-off command) finds a place at its first count. Every label comes from a fixed list, so that no
recipient, no provider's text and no template can grow the series without end.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from notifications.core import reasons
from notifications.core.attempt import Claim, Report
from notifications.core.errors import InvalidNotification
from notifications.core.retry import Decision, Step
from notifications.metrics import process_folders
from notifications.metrics.series import series

start = process_folders.start

_END = {Step.DONE: "sent", Step.DEAD_LETTER: "failed", Step.EXPIRE: "expired"}


def accepted(channel: str, priority: str, *, created: bool, count: int = 1) -> None:
    """Count submissions; repeated ones are counted as duplicates."""
    family = series().accepted if created else series().doubles
    family.labels(channel, priority).inc(count)


@contextmanager
def refusals() -> Iterator[None]:
    """Count what is refused in this block, by the class of its error."""
    try:
        yield
    except InvalidNotification as error:
        refused([error])
        raise


def refused(errors: Iterable[InvalidNotification]) -> None:
    """Count what is refused, by the class of its error."""
    for name, count in Counter(type(error).__name__ for error in errors).items():
        series().refused.labels(name).inc(count)


def problem(kind: str) -> None:
    """Count an answer of the HTTP API that is a refusal, by its type."""
    series().api_problems.labels(kind).inc()


def cancelled() -> None:
    """Count a notification that was called off."""
    series().cancelled.inc()


def recorded(kept: Iterable[tuple[Report, Decision]], now: datetime, *, stale: int) -> None:
    """Count what one batch of outcomes came to; ``stale`` came too late to count."""
    attempts: Counter[tuple[str, ...]] = Counter()
    ends: Counter[tuple[str, ...]] = Counter()
    retries: Counter[tuple[str, ...]] = Counter()
    waited: dict[tuple[str, str], list[float]] = defaultdict(list)
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    for report, decision in kept:
        claim, outcome = report.claim, report.outcome
        queue = (claim.channel, claim.priority)
        attempts[*queue, report.provider, outcome.result.value] += 1
        end = _END.get(decision.step)
        if end is None:
            retries[*queue, decision.step.value] += 1
            continue
        ends[*queue, report.provider, end, reason(decision.reason)] += 1
        if decision.step is Step.DONE:
            waited[queue].append(_seconds(claim.scheduled_at, now))
            took[claim.channel, report.provider].append(_seconds(report.started_at, now))
    for labels, count in attempts.items():
        series().attempts.labels(*labels).inc(count)
    for labels, count in ends.items():
        series().ended.labels(*labels).inc(count)
    for labels, count in retries.items():
        series().retries.labels(*labels).inc(count)
    for queue, seconds in waited.items():
        series().due_to_sent.labels(*queue).observe_all(seconds)
    for account, seconds in took.items():
        series().attempt_seconds.labels(*account).observe_all(seconds)
    if stale:
        series().stale.inc(stale)


def finished(claims: Iterable[Claim], ids: set[UUID], status: str, why: str) -> None:
    """Count claims that ended without a provider call: those of ``ids``."""
    queues = Counter((claim.channel, claim.priority) for claim in claims if claim.id in ids)
    for queue, count in queues.items():
        series().ended.labels(*queue, "", status, reason(why)).inc(count)


def received(
    channel: str, priority: str, provider: str, *, delivered: bool, due: datetime, now: datetime
) -> None:
    """Count a receipt that moved a notification on: it was ``due`` then and told of ``now``."""
    status = "delivered" if delivered else "failed"
    series().receipts.labels(channel, priority, provider, status).inc()
    if delivered:
        waited = max((now - due).total_seconds(), 0.0)
        series().due_to_delivered.labels(channel, priority).observe(waited)


def deferred(why: str, count: int) -> None:
    """Count claims that were deferred, by reason."""
    if count:
        series().waits.labels(reason(why)).inc(count)


def swept(leases: int) -> None:
    """Count one round of the sweep, and the claims that it took from dead workers."""
    series().sweeps.inc()
    if leases:
        series().leases_expired.inc(leases)


def released(messages: int) -> None:
    """Count what the sweep published for rows that were due."""
    if messages:
        series().swept_messages.inc(messages)


@contextmanager
def busy(claims: list[Claim]) -> Iterator[None]:
    """Count a worker's slot as busy with the queue of these claims while the block runs."""
    if not claims:
        yield
        return
    with series().in_hand.labels(claims[0].channel, claims[0].priority).track_inprogress():
        yield


def dropped(why: str) -> None:
    """Count a message that could not be received, and was dropped."""
    series().dropped.labels(why).inc()


def requeued() -> None:
    """Count a message that a task gave back to the broker."""
    series().requeued.inc()


def broker_away() -> None:
    """Count a time that the broker could not be reached."""
    series().broker_away.inc()


def reason(word: str) -> str:
    """Keep a reason that is a word of ours; a provider's own is ``other``."""
    return reasons.known(word)


def _seconds(since: datetime, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0)


__all__ = [
    "accepted",
    "broker_away",
    "busy",
    "cancelled",
    "deferred",
    "dropped",
    "finished",
    "problem",
    "reason",
    "received",
    "recorded",
    "refusals",
    "refused",
    "released",
    "requeued",
    "start",
    "swept",
]
