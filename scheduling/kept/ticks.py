"""A tick on a backend without a database: claims what is due, publishes it, finds what was lost."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from celery import Celery

from scheduling import conditions, isolation, messages, policies, publishing, waits
from scheduling.kept import future, overlaps
from scheduling.kept.documents import Figures, Fire, Job, Lease, new_fire_id, percentile
from scheduling.kept.jobs import Jobs, planned
from scheduling.kept.runs import ended, with_streak
from scheduling.kept.store import Key, Move, Outlook, Process, Store
from scheduling.messages import MalformedMessage, Message
from scheduling.pace import Pace
from scheduling.policies import PlannedFire
from scheduling.run_errors import history_with, reason_of
from scheduling.terms import NOTE_LENGTH, FireStatus, Guarantee

logger = logging.getLogger(__name__)

BATCH = 250
CLEANING_INTERVAL = timedelta(minutes=1)
DROP_BATCH = 1000
MOST_COUNTED = 10_000
"""Fires that figures are counted of; a busier window is known by its newest ones."""
LIVE = timedelta(seconds=15)
"""A scheduler that was not seen for that long is not alive."""


class Ticks(Jobs):
    """The work of a scheduler over a store."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.pace = Pace()

    _latest: datetime | None = None
    """The latest time that this process has seen."""

    def look(self) -> Outlook:
        """Return when something is due next, by the shared clock."""
        return self._store.look()

    def tick(self, app: Celery) -> float:
        """Do a round of what is due; return the seconds until something else is: 0 if at once."""
        outlook = self.look()
        if self._was_set_back(outlook.now):
            logger.warning("The clock was set back: plans are counted anew")
            future.recount(self._store, outlook.now)
            return 0.0
        if outlook.is_due:
            with self.pace.measured() as limit:
                fires = self.claim_due(outlook.now, limit) + self.recover(outlook.now, limit)
                if fires:
                    publishing.publish(app, Book(self, fires), fires)
            return 0.0
        if outlook.next_due_at is None:
            return float("inf")
        return (outlook.next_due_at - outlook.now).total_seconds()

    def _was_set_back(self, now: datetime) -> bool:
        before, self._latest = self._latest, now
        return before is not None and now < before - future.TOLERANCE

    def claim_due(self, now: datetime, limit: int = BATCH) -> list[Fire]:
        """Claim the fires of up to ``limit`` due jobs; return those that are to be published.

        A job that another scheduler has claimed meanwhile is left to it.
        """
        moves, _ = isolation.each(
            self._store.due_jobs(now, limit),
            partial(self._claim, now=now),
            stage="claim",
            key=lambda job: job.name,
        )
        return _to_publish(self._store.commit(moves))

    def recover(self, now: datetime, limit: int = BATCH) -> list[Fire]:
        """Take up to ``limit`` forgotten fires; return those that are to be published (again)."""
        # What another process has ended or moved on between two reads is not due any more.
        fires = self._store.due_fires(now, limit)
        jobs = {job.name: job for job in self._store.jobs(sorted({fire.job for fire in fires}))}
        due = [fire for fire in fires if _is_due(fire.due_at, now) or not fire.job]
        self._store.commit([Move(fires=[fire]) for fire in fires if fire not in due])
        # Read before the fires that a decision is made beside.
        keys = {
            fire.concurrency_key: self._store.key(f"concurrency:{fire.concurrency_key}")
            for fire in due
            if fire.status == FireStatus.WAITING and fire.concurrency_key
        }
        decided: list[Fire] = []
        decided_by: dict[UUID, Key] = {}
        started: Counter[str] = Counter()
        for fire in due:
            group = _group_of(fire)
            decided.append(self._decided_or_ended(fire, jobs.get(fire.job), now, started[group]))
            if fire.status == FireStatus.WAITING and decided[-1].status == FireStatus.CLAIMED:
                started[group] += 1
                if fire.concurrency_key:
                    decided_by[fire.id] = overlaps.used(keys[fire.concurrency_key], now)
        moves = []
        for fire in _without_outdated(decided, jobs, now):
            key = decided_by.get(fire.id)
            move = self._with_consequences(fire)
            moves.append(move if key is None else replace(move, keys=[key]))
        return _to_publish(self._store.commit(moves))

    def quarantine(self, name: str, error: BaseException) -> None:
        """Let a job that is at fault rest with its reason, until it is changed."""
        self._change(name, lambda job: job and _quarantined(job, error, self.now()))

    def clean(self, now: datetime, kept_days: float) -> int:
        """Delete a batch of ended fires that are older than that; return how many.

        Zero days keep them for ever.
        """
        if future.is_known(self._store, now):
            future.recount(self._store, now)
        self._store.forget_processes(now - LIVE * 4)
        self._store.forget_keys(now)
        if not kept_days:
            return 0
        return self._store.drop_ended(now - timedelta(days=kept_days), DROP_BATCH)

    def figures(self, window: timedelta) -> Figures:
        """Return how the schedules are doing. Costs what happened in ``window``, and the jobs."""
        now = self.now()
        recent = self._store.recent(now - window, MOST_COUNTED)
        late = sorted(fire.lateness for fire in recent if fire.lateness is not None)
        jobs = self._store.jobs(self._store.names())
        unfinished = Counter(fire.status.value for fire in self._store.unfinished(MOST_COUNTED))
        counts = dict.fromkeys(FireStatus.values, 0)
        return Figures(
            window=window,
            live_schedulers=len(self.alive()),
            due_backlog=sum(
                job.next_fire_at is not None and job.next_fire_at <= now for job in jobs
            ),
            unfinished=dict(unfinished),
            quarantined=sum(job.quarantined_at is not None for job in jobs),
            failed_runs=len(self._store.failed(MOST_COUNTED)),
            fires_by_status=counts | Counter(fire.status.value for fire in recent),
            lateness_p50=percentile(late, 0.50),
            lateness_p99=percentile(late, 0.99),
        )

    def acquire(self, name: str, owner: str, ttl: timedelta) -> Lease | None:
        """Take a free lease for ``ttl``; ``None`` while somebody holds it."""
        token = self._store.acquire(name, owner, ttl)
        return None if token is None else Lease(name, owner, token, ttl)

    def renew(self, lease: Lease) -> bool:
        """Prolong a lease by its whole time; return whether it was still held."""
        return self._store.renew(lease)

    def release(self, lease: Lease) -> None:
        """Release a lease; one that somebody else holds meanwhile is left alone."""
        self._store.release(lease)

    def announce(self, name: str) -> None:
        """Tell that a scheduler is alive."""
        self._store.announce(Process(name, self.now()))

    def alive(self) -> list[Process]:
        """Return the schedulers that were seen lately."""
        since = self.now() - LIVE
        return [process for process in self._store.processes() if process.seen_at > since]

    def _claim(self, job: Job, now: datetime) -> Move:
        """Plan the fires of one due job and advance it; a broken one is quarantined."""
        if not job.handler:
            logger.error("The job %r is quarantined: %s", job.name, job.quarantine_reason)
        if not _is_due(job.next_fire_at, now):
            return Move(job=job)
        try:
            return self._planned(job, now)
        except Exception as error:
            if isolation.concerns_everybody(error):
                raise
            return Move(job=_quarantined(job, error, now))

    def _planned(self, job: Job, now: datetime) -> Move:
        fires, job = _planned_fires(job, now)
        fires, keys = overlaps.admitted(job, fires, overlaps.beside(self._store, job), now)
        for fire in fires:
            job = with_streak(job, fire.status, now)
        runs = sum(fire.is_open for fire in fires)
        if runs:
            count = job.total_run_count + runs
            job = replace(job, last_run_at=now, total_run_count=count)
        return Move(job=job, fires=fires, keys=keys)

    def _decided_or_ended(self, fire: Fire, job: Job | None, now: datetime, started: int) -> Fire:
        """Return what becomes of one forgotten fire; one at fault ends, and stops no other."""
        if job is None:
            why = "Its job was removed." if fire.job else fire.error
            logger.warning("The fire %s is cancelled: %s", fire.id, why)
            return ended(fire, FireStatus.CANCELLED, now, why)
        try:
            return self._decided(fire, job, now, started)
        except Exception as error:
            if isolation.concerns_everybody(error):
                raise
            self.quarantine(job.name, error)
            return ended(fire, FireStatus.FAILED, now, reason_of(error))

    def _decided(self, fire: Fire, job: Job, now: datetime, started: int) -> Fire:
        """Return what becomes of a forgotten fire; ``started`` of its job were let go before."""
        decision = policies.forgotten(
            fire.status,
            guarantee=job.guarantee,
            attempt=fire.attempt,
            is_suspected=waits.is_suspected(fire.due_at, fire.heartbeat_at),
            is_blocked=partial(self._is_blocked, fire, job, started),
            is_known_nowhere=lambda: False,
            has_expired=partial(_has_expired, fire, job, now),
        )
        if decision == "look again":
            return replace(fire, due_at=now + waits.SECOND_LOOK)
        fire = replace(fire, due_at=now + waits.PUBLISH_LEASE)
        if fire.status == FireStatus.RUNNING:
            why = f"The worker {fire.worker or '(unknown)'} stopped answering."
            fire = replace(fire, error=why, history=history_with(fire, why, now))
        if decision == "wait":
            return replace(fire, due_at=now + waits.WAITING_LOOK)
        if decision == "expire":
            return ended(fire, FireStatus.SKIPPED_EXPIRED, now)
        if decision == "publish":
            return replace(fire, status=FireStatus.CLAIMED)
        return ended(fire, FireStatus.LOST, now, fire.error)

    def _is_blocked(self, fire: Fire, job: Job, started: int) -> bool:
        key = fire.concurrency_key
        others = self._store.open_fires_of_key(key) if key else self._store.open_fires(fire.job)
        running = sum(other.status != FireStatus.WAITING for other in others) + started
        return running >= job.concurrency


class Book:
    """What publishing wants of such a backend."""

    def __init__(self, ticks: Ticks, fires: Iterable[Fire]) -> None:
        self._ticks = ticks
        names = sorted({fire.job for fire in fires})
        self._jobs = {job.name: job for job in ticks.jobs(names)}

    def is_wanted(self, fire: Fire) -> bool:
        job = self._job(fire)
        return conditions.holds(job.definition.get("condition", ""), job, fire.scheduled_for)

    def message_of(self, app: Celery, fire: Fire) -> Message:
        job = self._job(fire)
        args, kwargs = messages.as_received(
            job.definition.get("args", []), job.definition.get("kwargs", {})
        )
        return Message(
            fire=fire,
            name=job.handler,
            task=app.tasks.get(job.handler),
            args=args,
            kwargs=kwargs,
            options=_options(fire, job),
        )

    def is_at_most_once(self, fire: Fire) -> bool:
        return self._job(fire).guarantee == Guarantee.AT_MOST_ONCE

    def mark(self, fire: Fire) -> bool:
        return bool(self._ticks.mark_dispatched([fire]))

    def mark_dispatched(self, fires: Sequence[Fire]) -> int:
        return self._ticks.mark_dispatched(fires)

    def skip(self, fire: Fire) -> None:
        self._ticks.finish(fire, FireStatus.SKIPPED_CONDITION)

    def done(self, fire: Fire) -> None:
        self._ticks.finish(fire, FireStatus.SUCCEEDED, dispatched=True)

    def postpone(self, fires: Sequence[Fire], error: BaseException) -> None:
        logger.warning("%s fires could not be published yet: %s", len(fires), type(error).__name__)
        self._ticks.postpone(fires, error)

    def fail(self, fire: Fire, error: BaseException) -> None:
        logger.error("A fire of job %r fails: %s", fire.job, type(error).__name__)
        self._ticks.refuse(fire.id, reason_of(error))
        job = self._jobs.get(fire.job)
        if job is not None and conditions.hangs(error, job.failed_in_a_row):
            self._ticks.quarantine(fire.job, error)

    def refuse(self, fire: Fire, error: BaseException) -> None:
        self.fail(fire, error)
        self._ticks.quarantine(fire.job, error)

    def _job(self, fire: Fire) -> Job:
        job = self._jobs.get(fire.job)
        if job is None:
            raise MalformedMessage("Its job was removed.", column="name")
        if not job.handler:
            raise MalformedMessage(job.quarantine_reason, column="name")
        return job


def _group_of(fire: Fire) -> str:
    """Return what the runs at once of a fire are counted by: its key, or its job."""
    return f"\x00{fire.concurrency_key}" if fire.concurrency_key else fire.job


def _is_due(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now


def _planned_fires(job: Job, now: datetime) -> tuple[list[Fire], Job]:
    """Return the fires of a due job, and the job as it goes on."""
    assert job.answered_until is not None  # noqa: S101 -- it has a next_fire_at
    answered = policies.answer(
        job.timetable, job.misfire_policy, answered_until=job.answered_until, now=now
    )
    if answered and job.fires_once:
        answered = answered[-1:]
    if answered:
        job = replace(job, answered_until=answered[-1].scheduled_for)
    job = planned(job, now, has_fired=bool(answered))
    expires = job.timetable.expires
    if (answered and job.fires_once) or (expires is not None and expires < now):
        job = replace(job, enabled=False, paused_at=now, next_fire_at=None)
    return [_fire(job, fire, now) for fire in answered], job


def _fire(job: Job, planned: PlannedFire, now: datetime) -> Fire:
    fire = Fire(
        id=new_fire_id(),
        job=job.name,
        scheduled_for=planned.scheduled_for,
        fire_at=planned.fire_at,
        missed_since=planned.missed_since,
        note=planned.note[:NOTE_LENGTH],
        due_at=now + waits.PUBLISH_LEASE,
    )
    if planned.status != FireStatus.CLAIMED:
        return ended(fire, planned.status, now)
    return fire


def _quarantined(job: Job, error: BaseException, now: datetime) -> Job:
    logger.error("The job %r is quarantined: %s", job.name, type(error).__name__)
    return replace(job, next_fire_at=None, quarantined_at=now, quarantine_reason=reason_of(error))


def _has_expired(fire: Fire, job: Job, now: datetime) -> bool:
    expires = job.message_expires
    return expires is not None and fire.fire_at + expires < now


def _without_outdated(fires: list[Fire], jobs: dict[str, Job], now: datetime) -> list[Fire]:
    """After an outage, publish of each job only what its misfire policy still wants."""
    late: dict[str, list[Fire]] = {}
    for fire in fires:
        if fire.status == FireStatus.CLAIMED and not fire.publishes and not fire.by_hand:
            late.setdefault(fire.job, []).append(fire)
    dropped: set[UUID] = set()
    for name, candidates in late.items():
        candidates.sort(key=lambda fire: fire.scheduled_for)
        lateness = [now - fire.scheduled_for for fire in candidates]
        if lateness[0] >= waits.OUTAGE:
            wanted = policies.wanted(lateness, jobs[name].misfire_policy)
            dropped |= {f.id for f, keep in zip(candidates, wanted, strict=True) if not keep}
    return [
        ended(fire, FireStatus.SKIPPED_MISFIRE, now) if fire.id in dropped else fire
        for fire in fires
    ]


def _options(fire: Fire, job: Job) -> dict[str, Any]:
    found: dict[str, Any] = {
        key: job.definition[key] for key in ("queue", "priority") if key in job.definition
    }
    # The expiry is of a message that nobody took; a run that failed is tried again after it, too.
    expires = job.message_expires
    if expires is not None and not fire.attempt:
        found["expires"] = expires.total_seconds()
    timeout = job.definition.get("timeout")
    return {**found, **messages.options(fire, job.name, {}, timeout=timeout)}


def _to_publish(moves: Sequence[Move | None]) -> list[Fire]:
    fires = [fire for move in moves if move is not None for fire in move.fires]
    return [fire for fire in fires if fire.status == FireStatus.CLAIMED]
