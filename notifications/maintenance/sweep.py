"""The sweep: finds what is due by its due time, and has it worked on.

It ends the leases of dead workers, calls the followers that nobody called, and publishes messages
for due rows (``release``). It runs in every scheduler process at once: a second sweep adds nothing.
"""

from datetime import timedelta

from notifications import metrics
from notifications.canvas import followers
from notifications.core.attempt import Outcome, Report, Result
from notifications.core.conf import conf
from notifications.core.reasons import Reason
from notifications.db import clock
from notifications.delivery import claims, outcomes
from notifications.maintenance import set_back
from notifications.queueing import backlog, release
from scheduling import isolation, watch
from scheduling.lookout import Work

BUSY = 0.05  # seconds between sweeps while there is a backlog
IDLE = 30.0  # seconds at most, unless the lookout finds work
LEASES = 500  # leases that one sweep ends
AFTER_AN_OUTAGE = 10.0  # seconds that workers have to record what they sent meanwhile


def work() -> tuple[Work, ...]:
    """Say where it shows that there is something to sweep."""
    return backlog.FIRST_DUE, followers.work()


def sweep() -> float:
    """Do one round, and give the seconds until the next one is wanted.

    Each part of it goes on while another one raises.
    """
    _set_back()
    leases = _leases()
    with isolation.aside("count"):
        metrics.swept(leases=leases)
    ended = leases + _followers()
    waiting = release.look()
    release.publish(waiting)
    if ended or any(queue.due for queue in waiting):
        return BUSY
    upcoming = [queue.next_due_at for queue in waiting if queue.next_due_at]
    if not upcoming:
        return IDLE
    return min(max((min(upcoming) - clock.now()).total_seconds(), 0.005), IDLE)


def end_leases() -> int:
    """End the leases of workers that died: what became of their attempt is unknown.

    Not while the database is out, nor for ``AFTER_AN_OUTAGE``: workers that live keep their
    outcomes in memory and write them then, and a lease that ended first would have them sent again.
    """
    if watch.database.was_out_within(AFTER_AN_OUTAGE):
        return 0
    ended = claims.expired(LEASES)
    reports = [
        Report(
            claim,
            Outcome(
                Result.UNKNOWN,
                code="lease_expired",
                reason=Reason.WORKER_LOST,
                detail="The worker did not report before its lease ended.",
                lost=True,
            ),
            provider="",
            started_at=claim.lease_until - timedelta(seconds=conf.lease),
        )
        for claim in ended
    ]
    if reports:
        outcomes.record(reports, worker="")
    return len(reports)


_set_back = isolation.Part("set back", set_back.look, 0)
_leases = isolation.Part("leases", end_leases, 0)
_followers = isolation.Part("followers", lambda: followers.call_overdue(LEASES), 0)
