"""The life of a fire on a backend without a database; ``scheduling.ledger`` is the same in SQL.

Each verb reads the fire, decides, and commits: what somebody else has moved on meanwhile is read
again, and what is not in the state that the verb expects is left alone.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from scheduling import policies, waits
from scheduling.kept.documents import Fire, Job
from scheduling.kept.store import Move, Store
from scheduling.run_errors import ERROR_LENGTH, cause_of, history_with, retry_wait, text_of
from scheduling.terms import FAILURES, SKIPS, SUCCESSES, FireStatus, Guarantee, Overlap

logger = logging.getLogger(__name__)

NOT_STARTED = (FireStatus.CLAIMED, FireStatus.DISPATCHED)
WORKER_LENGTH = 200
MOST_TRIES = 200

Decide = Callable[[Fire], Fire | None]
"""The new state of a fire; ``None`` leaves it alone."""


class Contended(RuntimeError):
    """A document changed each time before it could be written."""


class Runs:
    """The verbs of a fire's life over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def now(self) -> datetime:
        """Return the time by the clock that all schedulers and workers share."""
        return self._store.now()

    def mark_dispatched(self, fires: Sequence[Fire]) -> int:
        """Record that claimed fires are published; return how many were still claimed.

        One that a worker was quicker with keeps the worker's status.
        """
        now = self.now()
        marked = [
            replace(
                fire,
                status=FireStatus.DISPATCHED,
                dispatched_at=fire.dispatched_at or now,
                publishes=fire.publishes + 1,
                due_at=now + waits.unstarted_wait(fire.publishes, fire.attempt),
            )
            for fire in fires
        ]
        committed = self._store.commit([Move(fires=[fire]) for fire in marked])
        return sum(move is not None for move in committed)

    def postpone(self, fires: Iterable[Fire], error: BaseException) -> None:
        """Leave unpublished fires claimed, to be tried again soon.

        One that was marked before its publish, for "at most once", is lost: it may be on its way.
        """
        why, due_at = text_of(error), self.now() + waits.BROKER_BACKOFF

        def decide(fire: Fire) -> Fire | None:
            if fire.status == FireStatus.CLAIMED:
                return replace(fire, due_at=due_at, error=why)
            is_marked = fire.status == FireStatus.DISPATCHED and not fire.attempt
            return self._ended(fire, FireStatus.LOST, why) if is_marked and at_most_once else None

        for fire in fires:
            job = self._store.job(fire.job)
            at_most_once = job is not None and job.guarantee == Guarantee.AT_MOST_ONCE
            self._move(fire.id, decide)

    def finish(self, fire: Fire, status: FireStatus, *, dispatched: bool = False) -> None:
        """End a fire that is not followed any further."""

        def decide(fire: Fire) -> Fire | None:
            if fire.status not in NOT_STARTED:
                return None
            if dispatched:
                moment = fire.dispatched_at or self.now()
                fire = replace(fire, dispatched_at=moment, publishes=fire.publishes + 1)
            return self._ended(fire, status)

        self._move(fire.id, decide)

    def refuse(self, pk: UUID, error: str) -> None:
        """End a fire that cannot be published, or that no worker can receive."""
        self._move(
            pk,
            lambda fire: self._ended(fire, FireStatus.FAILED, error) if fire.is_open else None,
        )

    def begin(self, pk: UUID, worker: str, now: datetime | None = None) -> int | None:
        """Take a fire for a run on ``worker``; return the run's number, from 1.

        ``None`` means that this message must not run: the fire is running, done, or lost.
        """
        begun_at = now or self.now()

        def decide(fire: Fire) -> Fire | None:
            is_startable = fire.status in NOT_STARTED or self._is_late(fire)
            if not (is_startable or self._is_orphan(fire, begun_at)):
                return None
            return replace(
                fire,
                status=FireStatus.RUNNING,
                finished_at=None,
                cause="",
                attempt=fire.attempt + 1,
                dispatched_at=fire.dispatched_at or begun_at,
                started_at=begun_at,
                heartbeat_at=begun_at,
                due_at=begun_at + waits.HEARTBEAT_LIMIT,
                worker=worker[:WORKER_LENGTH],
                error="",
            )

        moved = self._move(pk, decide)
        return None if moved is None else moved.attempt

    def withdraw(self, pk: UUID, worker: str, begun_at: datetime) -> None:
        """Undo a ``begin`` at ``begun_at`` of which no answer came: nothing has run."""

        def decide(fire: Fire) -> Fire | None:
            is_it = self._runs_on(fire, worker) and fire.started_at == fire.heartbeat_at == begun_at
            if not is_it:
                return None
            return replace(
                fire,
                status=FireStatus.CLAIMED,
                attempt=fire.attempt - 1,
                started_at=None,
                heartbeat_at=None,
                due_at=self.now(),
            )

        self._move(pk, decide)

    def beat(self, runs: Iterable[tuple[UUID, int]]) -> None:
        """Tell that runs are alive, each by its fire and its number."""
        now = self.now()
        for pk, attempt in runs:
            self._move(
                pk,
                lambda fire, attempt=attempt: (  # type: ignore[misc]
                    replace(fire, heartbeat_at=now, due_at=now + waits.HEARTBEAT_LIMIT)
                    if fire.status == FireStatus.RUNNING and fire.attempt == attempt
                    else None
                ),
            )

    def succeed(self, pk: UUID, attempt: int) -> None:
        """Record a run that ended well."""
        self._end_run(pk, attempt, lambda fire: self._ended(fire, FireStatus.SUCCEEDED))

    def fail(self, pk: UUID, attempt: int, error: BaseException) -> None:
        """Record a run that failed: another attempt after its wait, or the end."""

        def decide(fire: Fire) -> Fire:
            job = self._store.job(fire.job)
            if job is None or job.guarantee == Guarantee.AT_MOST_ONCE:
                return self._attempt_ended(fire, text_of(error), FireStatus.FAILED)
            wait, why = retry_wait(
                fire,
                error,
                retries=job.retries,
                backoff=job.retry_backoff,
                policy=job.retry,
                now=self.now(),
            )
            return self._attempt_ended(fire, why, FireStatus.FAILED, again_after=wait)

        self._end_run(pk, attempt, decide)

    def orphan(self, pk: UUID, attempt: int, error: BaseException) -> None:
        """Record a run whose process died: run again at once, or the end, by its guarantee."""

        def decide(fire: Fire) -> Fire:
            again = policies.runs_again(self._guarantee(fire), fire.attempt)
            after = timedelta() if again else None
            return self._attempt_ended(fire, text_of(error), FireStatus.LOST, again_after=after)

        self._end_run(pk, attempt, decide)

    def attempt_on(self, pk: UUID, worker: str) -> int | None:
        """Return the number of the run that is on ``worker`` at present."""
        fire = self._store.fire(pk)
        return fire.attempt if fire is not None and self._runs_on(fire, worker) else None

    def leave(self, pk: UUID, attempt: int) -> None:
        """Record a run that ended by ``Ignore``, as one does that was replaced by other tasks."""
        why = "The task ended by Ignore, or was replaced: its outcome is not followed."
        self._end_run(pk, attempt, lambda fire: self._ended(fire, FireStatus.HANDED_OVER, why))

    def interrupt(self, pk: UUID, worker: str) -> None:
        """Record a run that the shutdown of ``worker`` has ended: due at once, or lost."""
        why = f"The worker {worker} was stopped before this run had ended"

        def decide(fire: Fire) -> Fire | None:
            if not self._runs_on(fire, worker):
                return None
            again = self._guarantee(fire) == Guarantee.AT_LEAST_ONCE
            outcome = "it runs again" if again else "it may run at most once"
            after = timedelta() if again else None
            return self._attempt_ended(
                fire, f"{why}; {outcome}.", FireStatus.LOST, again_after=after
            )

        self._move(pk, decide)

    def return_to_queue(self, pk: UUID, attempt: int, wait: timedelta = timedelta(0)) -> None:
        """Record that the task itself asked to run again: its message is on the way."""
        due_at = self.now() + wait + waits.UNSTARTED_WAIT
        self._end_run(
            pk, attempt, lambda fire: replace(fire, status=FireStatus.DISPATCHED, due_at=due_at)
        )

    def give_back(self, pk: UUID) -> None:
        """Record that a worker took a fire's first message and could not begin the run."""
        self._move(
            pk, lambda fire: None if fire.attempt else self._again(fire, waits.BROKER_BACKOFF, "")
        )

    def not_known(self, pk: UUID, error: str) -> None:
        """Record that a worker does not know the task: another one may, for a while."""

        def decide(fire: Fire) -> Fire | None:
            if fire.status not in NOT_STARTED:
                return None
            if fire.publishes < waits.UNKNOWN_TRIES:
                return self._again(fire, waits.UNKNOWN_BACKOFF * 2**fire.publishes, error)
            return self._ended(fire, FireStatus.FAILED, error)

        self._move(pk, decide)

    def cancel(self, pk: UUID, error: str) -> None:
        """End a fire that no worker has begun, and that shall not run."""
        self._move(
            pk,
            lambda fire: (
                self._ended(fire, FireStatus.CANCELLED, error)
                if fire.status in NOT_STARTED
                else None
            ),
        )

    def cancel_run(self, pk: UUID, worker: str, error: str) -> None:
        """End a fire whose run on ``worker`` was told to stop."""
        self._move(
            pk,
            lambda fire: (
                self._ended(fire, FireStatus.CANCELLED, error)
                if self._runs_on(fire, worker)
                else None
            ),
        )

    def expire(self, pk: UUID) -> None:
        """End a fire whose message nobody took in time, or that of its own retry."""

        def decide(fire: Fire) -> Fire | None:
            if fire.status not in NOT_STARTED:
                return None
            if not fire.attempt:
                return self._ended(fire, FireStatus.SKIPPED_EXPIRED)
            why = "Nobody took its retry before the message expired."
            return self._ended(fire, FireStatus.FAILED, why)

        self._move(pk, decide)

    def _is_orphan(self, fire: Fire, now: datetime) -> bool:
        """Return whether a run was looked at twice in vain, and may be repeated."""
        is_silent = (
            fire.due_at is not None
            and fire.due_at <= now
            and waits.is_suspected(fire.due_at, fire.heartbeat_at)
        )
        return (
            fire.status == FireStatus.RUNNING
            and is_silent
            and self._guarantee(fire) == Guarantee.AT_LEAST_ONCE
        )

    def _is_late(self, fire: Fire) -> bool:
        """Return whether a fire that was given up has never begun, and may run all the same.

        Where runs must not overlap, the next one may have begun in its place.
        """
        job = self._store.job(fire.job)
        is_unseen = fire.status == FireStatus.LOST and not fire.attempt and not fire.resolved_at
        return is_unseen and job is not None and job.overlap == Overlap.ALLOW

    def _guarantee(self, fire: Fire) -> str:
        job = self._store.job(fire.job)
        return Guarantee.AT_MOST_ONCE if job is None else job.guarantee

    @staticmethod
    def _runs_on(fire: Fire, worker: str) -> bool:
        return fire.status == FireStatus.RUNNING and fire.worker == worker[:WORKER_LENGTH]

    def _again(self, fire: Fire, delay: timedelta, error: str) -> Fire | None:
        """Claim a fire anew whose message is spent."""
        values: dict[str, Any] = {"due_at": self.now() + delay, "error": error[:ERROR_LENGTH]}
        if fire.status == FireStatus.DISPATCHED:
            return replace(fire, status=FireStatus.CLAIMED, **values)
        if fire.status == FireStatus.CLAIMED:
            # The worker was quicker than the scheduler, which finds its publish counted already.
            return replace(fire, publishes=fire.publishes + 1, **values)
        return None

    def _ended(self, fire: Fire, status: FireStatus, error: str = "") -> Fire:
        return ended(fire, status, self.now(), error)

    def _attempt_ended(
        self, fire: Fire, error: str, otherwise: FireStatus, *, again_after: timedelta | None = None
    ) -> Fire:
        now = self.now()
        fire = replace(fire, history=history_with(fire, error, now), error=error)
        if again_after is None:
            return ended(fire, otherwise, now, error)
        return replace(fire, status=FireStatus.CLAIMED, due_at=now + again_after)

    def _end_run(self, pk: UUID, attempt: int, decide: Decide) -> None:
        """Move a run. One that was given up as orphaned still counts, until another has begun."""
        self._move(
            pk,
            lambda fire: decide(fire) if fire.attempt == attempt and fire.is_open else None,
        )

    def _move(self, pk: UUID, decide: Decide) -> Fire | None:
        """Change a fire; return it as it stands then, ``None`` if it was left alone."""
        for _ in range(MOST_TRIES):
            fire = self._store.fire(pk)
            changed = None if fire is None else decide(fire)
            if changed is None:
                return None
            (committed,) = self._store.commit([self._with_consequences(changed)])
            if committed is not None:
                return next(moved for moved in committed.fires if moved.id == pk)
        raise Contended(f"The fire {pk} changes too often.")

    def _with_consequences(self, fire: Fire) -> Move:
        """Return the move of a fire; its end counts, and lets the fire go that waits for it."""
        if fire.is_open:
            return Move(fires=[fire])
        job = self._store.job(fire.job)
        others = self._store.open_fires(fire.job)
        if key := fire.concurrency_key:
            known = {other.id for other in others}
            others += [f for f in self._store.open_fires_of_key(key) if f.id not in known]
        waiting = [
            replace(other, due_at=fire.finished_at)
            for other in others
            if other.status == FireStatus.WAITING and other.id != fire.id
        ]
        counted = None if job is None else with_streak(job, fire.status, self.now())
        return Move(job=counted if counted != job else None, fires=[fire, *waiting])


def ended(fire: Fire, status: FireStatus, now: datetime, error: str = "") -> Fire:
    """Return a fire that has ended."""
    cause = cause_of(error) if status in FAILURES else ""
    return replace(
        fire, status=status, finished_at=now, due_at=None, error=error[:ERROR_LENGTH], cause=cause
    )


def with_streak(job: Job, status: FireStatus, now: datetime) -> Job:
    """Return a job that has counted the end of a fire; one that failed too often is paused."""
    if status in FAILURES:
        job = replace(job, failed_in_a_row=job.failed_in_a_row + 1, skipped_in_a_row=0)
        if job.enabled and job.pause_after and not job.failed_in_a_row % job.pause_after:
            logger.error("The job %r is paused: its last runs have failed", job.name)
            job = replace(job, enabled=False, paused_at=now, next_fire_at=None)
        return job
    if status in SKIPS:
        return replace(job, skipped_in_a_row=job.skipped_in_a_row + 1)
    if status in SUCCESSES:
        return replace(job, failed_in_a_row=0, skipped_in_a_row=0)
    return job
