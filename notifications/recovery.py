"""The sweep: whatever is due and waits for nobody is found by its due time, and rung.

It runs in every scheduler process at once. Nothing is marked: a queue needs as many messages
as it has due rows to fill them, and what already waits on the broker counts. So a backlog is
not rung again, a flushed broker is refilled at once, and a second sweep adds nothing.
"""

from notifications import (
    backlog,
    claims,
    clock,
    conf,
    continuations,
    doorbell,
    metrics,
    outcomes,
    routing,
)
from notifications.reports import Report
from notifications.retry import Outcome, Result

BUSY = 0.05  # seconds between sweeps while there is a backlog
IDLE = 0.5  # seconds at most
LEASES = 500  # leases that one sweep ends


def sweep() -> float:
    """Do one round, and give the seconds until the next one is wanted."""
    leases = end_leases()
    metrics.swept(leases=leases)
    ended = leases + continuations.call_overdue(LEASES)
    waiting = backlog.look(_most())
    ring(waiting)
    if ended or any(queue.due for queue in waiting):
        return BUSY
    upcoming = [queue.next_due_at for queue in waiting if queue.next_due_at]
    if not upcoming:
        return IDLE
    return min(max((min(upcoming) - clock.now()).total_seconds(), 0.005), IDLE)


def ring_all() -> None:
    """Publish what the broker lacks, now rather than at the next sweep."""
    ring(backlog.look(_most()))


def ring(waiting: list[backlog.Waiting]) -> None:
    """Publish what the broker lacks for these backlogs, in one round trip."""
    due = {routing.queue_for(q.channel, q.priority): q for q in waiting if q.due}
    if not due:
        return
    try:
        depths = doorbell.depths(due)
        messages = doorbell.ring_due(
            (name, _rows(queue.priority), missing)
            for name, queue in due.items()
            if (missing := _messages(queue) - depths[name]) > 0
        )
        metrics.released(messages)
    except doorbell.BrokerAway:
        return  # said by the doorbell; the rows stay due, and the next sweep asks again


def end_leases() -> int:
    """End the leases of workers that died: what became of their attempt is unknown."""
    ended = claims.expired(LEASES)
    reports = [
        Report(
            claim,
            Outcome(
                Result.UNKNOWN,
                code="lease_expired",
                reason="worker_lost",
                detail="The worker did not report before its lease ended.",
                lost=True,
            ),
            provider="",
            started_at=claim.lease_until,
        )
        for claim in ended
    ]
    if reports:
        outcomes.record(reports, worker="")
    return len(reports)


def _rows(priority: str) -> int:
    return int(conf.get("BATCH")[priority])


def _messages(queue: backlog.Waiting) -> int:
    return min(-(-queue.due // _rows(queue.priority)), int(conf.get("RELEASE")))


def _most() -> int:
    """Rows worth counting in a queue: more would not change what is released."""
    return max(map(_rows, routing.PRIORITIES)) * int(conf.get("RELEASE"))
