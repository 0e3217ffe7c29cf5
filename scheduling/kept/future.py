"""What a clock that was ahead has planned, counted anew; ``scheduling.future`` is the same in SQL.

Each job goes on, in its phase, from the due time that was answered last before. What fired too
early stands in the ledger, and does not fire again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from scheduling import isolation, retries, waits
from scheduling.kept.documents import Fire, Job
from scheduling.kept.jobs import planned
from scheduling.kept.store import Move, Store
from scheduling.recurrence import Interval
from scheduling.terms import FireStatus
from scheduling.timetable import INSTANT

TOLERANCE = timedelta(seconds=5)
"""A clock that is corrected by less is not noticed: what it planned is due soon anyway."""
FIRES_READ = 500
"""Of each job."""
UNFINISHED_READ = 10_000


def is_known(store: Store, now: datetime) -> bool:
    """Return whether the ledger has a due time of that future. Costs one look."""
    return bool(store.recent(now + TOLERANCE, 1))


def recount(store: Store, now: datetime) -> int:
    """Count anew what was planned after ``now``; return how many jobs and fires were changed."""
    for process in store.processes():
        if process.seen_at > now + TOLERANCE:
            store.announce(replace(process, seen_at=now))
    jobs = store.jobs(store.names())
    planned_anew, _ = isolation.each(
        jobs,
        lambda job: _planned_anew(store, job, now),
        stage="counting anew",
        key=lambda job: job.name,
    )
    moves = [Move(job=job) for job in planned_anew if job is not None]
    moves += [Move(fires=[fire]) for fire in _looked_at_in_time(store, jobs, now)]
    return sum(moved is not None for moved in store.commit(moves))


def answered(fires: Iterable[Fire], now: datetime) -> datetime:
    """Return until when a job has been answered whose fires these are, but for those to come.

    That is before the first due time that is still to come and was answered, and not before the
    last one that has passed.
    """
    by_rule = [fire for fire in fires if not fire.by_hand]
    past = [fire.scheduled_for for fire in by_rule if fire.scheduled_for <= now]
    early = [
        (fire.missed_since or fire.scheduled_for) - INSTANT
        for fire in by_rule
        if fire.scheduled_for > now
    ]
    return max([min([*early, now]), *past])


def _planned_anew(store: Store, job: Job, now: datetime) -> Job | None:
    """Return a job that is ahead of ``now`` as it goes on; ``None`` if it is not ahead."""
    limit = now + TOLERANCE
    if job.quarantined_at is not None or job.answered_until is None or "at" in job.rule:
        return None
    expires = job.timetable.expires
    ended_early = (
        expires is not None
        and job.paused_at is not None
        and job.paused_at > limit
        and now < expires <= job.paused_at
    )
    if not (job.enabled or ended_early) or job.answered_until <= limit:
        return None
    since = answered(store.fires_of(job.name, FIRES_READ), now)
    rule = job.timetable.rule
    if isinstance(rule, Interval) and "start" not in job.definition:
        since = rule.last(since)
    return planned(replace(job, answered_until=since, enabled=True, paused_at=None), now)


def _looked_at_in_time(store: Store, jobs: Sequence[Job], now: datetime) -> list[Fire]:
    """Return the unfinished fires that were to be looked at in that future, to be seen in time."""
    by_name = {job.name: job for job in jobs}
    fires = []
    for fire in store.unfinished(UNFINISHED_READ):
        wait = _longest_wait(fire, by_name.get(fire.job), now)
        if wait is not None and fire.due_at is not None and fire.due_at > now + wait + TOLERANCE:
            fires.append(replace(fire, due_at=now + wait))
    return fires


def _longest_wait(fire: Fire, job: Job | None, now: datetime) -> timedelta | None:
    """Return for how long a fire of this status waits at most; ``None``: one cannot know."""
    if fire.status == FireStatus.RUNNING:
        return waits.SECOND_LOOK
    if fire.status == FireStatus.WAITING:
        return timedelta(0)
    if fire.status == FireStatus.DISPATCHED:
        # The message of a task's own retry may have any delay.
        began_ahead = fire.started_at is not None and fire.started_at > now + TOLERANCE
        longest = waits.unstarted_wait(fire.publishes - 1, fire.attempt)
        return longest if began_ahead or not fire.attempt else None
    if not fire.attempt or job is None:
        return waits.LONGEST_UNKNOWN_BACKOFF
    return retries.longest_wait(job.retry, job.retry_backoff, fire.attempt)
