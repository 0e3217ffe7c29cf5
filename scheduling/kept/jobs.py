"""Jobs on a backend without a database: saved, paused, resumed, removed, run by hand, looked at."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from scheduling import arguments, backfills, isolation, messages, planning
from scheduling.job_schema import (
    NEEDS_OVERLAP,
    TOO_LONG_JITTER,
    InvalidJob,
    JobError,
    JobExists,
    UnknownJob,
)
from scheduling.kept import overlaps
from scheduling.kept.documents import DECLARED, Definition, Fire, Job, new_fire_id
from scheduling.kept.runs import MOST_TRIES, Contended, Runs
from scheduling.kept.store import Move
from scheduling.messages import MalformedMessage
from scheduling.recurrence import (
    ImpossibleSchedule,
    Interval,
    RuleEnded,
    shortest_gap,
)
from scheduling.rule_documents import moment_of, refuse_past
from scheduling.run_errors import NotOpen
from scheduling.terms import FireStatus, Guarantee, Overlap
from scheduling.timetable import INSTANT

logger = logging.getLogger(__name__)

MOST_KNOWN = 1_000_000
"""Fires of a job that a backfill looks through; the ledger has fewer, by its age."""

UNFIT = (ImpossibleSchedule, OverflowError, ValueError, TypeError)
"""What a definition raises that fits the schema and cannot be kept all the same."""


class Jobs(Runs):
    """The jobs API over a store."""

    def save(
        self,
        definition: Definition,
        *,
        previous: Definition | None = None,
        is_new: bool = False,
        origin: str = "",
    ) -> Job:
        """Create a job, or bring it in line with its definition, which fits the schema.

        With ``previous`` only the keys that differ from it are written. A job that somebody
        paused stays paused unless ``enabled`` is written. Raises ``InvalidJob`` naming the
        field, ``InvalidArguments``, and ``JobExists`` if it shall be new.
        """
        name = definition["name"]
        args, kwargs = definition.get("args", []), definition.get("kwargs", {})
        arguments.check(definition["handler"], args, kwargs)

        def change(job: Job | None) -> Job | None:
            if job is not None and is_new:
                raise JobExists(f"There is a job {name!r}.")
            try:
                messages.as_received(args, kwargs)
                return self._saved(job, definition, previous, origin)
            except JobError:
                raise
            except MalformedMessage as error:
                raise InvalidJob(f"{name}: {error}", field=error.column) from error
            except UNFIT as error:
                field = error.field if isinstance(error, ImpossibleSchedule) else "schedule"
                raise InvalidJob(f"{name}: {error}", field=field) from error

        return self._change(name, change)

    def declare(self, definition: Definition) -> None:
        """Register what ``@jobs.job`` declares, leaving people's edits as they are."""
        name = definition["name"]
        job = self._store.job(name)
        if job is not None and job.handler and job.declared is None:
            logger.warning(
                "The job %r was made by a person; its declaration in code is not applied", name
            )
        elif job is None or job.declared != definition:
            previous = None if job is None else job.declared
            self.save(definition, previous=previous, origin=DECLARED)

    def job(self, name: str) -> Job:
        """Return a job. Raises ``UnknownJob``."""
        job = self._store.job(name)
        if job is None:
            raise UnknownJob(f"There is no job {name!r}.")
        return job

    def jobs(self, names: Sequence[str]) -> list[Job]:
        """Return those of these jobs that are there."""
        return self._store.jobs(names)

    def names(self) -> list[str]:
        """Return the names of all jobs, in order."""
        return self._store.names()

    def pause(self, name: str) -> None:
        """Pause a job until ``resume``. Raises ``UnknownJob``."""
        self._change(name, lambda job: _paused(_there(job, name), self.now()))

    def resume(self, name: str) -> None:
        """Resume a job, by its policy.

        Raises ``UnknownJob``, or ``InvalidJob`` for one that is not due any more.
        """

        def change(job: Job | None) -> Job:
            job, now = _there(job, name), self.now()
            if job.enabled:
                return job
            resumed = replace(_resumed(job, now), enabled=True)
            try:
                refuse_ended(resumed)
                return planned(resumed, now, may_have_ended=False)
            except ImpossibleSchedule as error:
                raise InvalidJob(f"{name}: {error}", field="schedule") from error

        self._change(name, change)

    def remove(self, name: str) -> None:
        """Delete a job and its fires. Raises ``UnknownJob``."""
        if not self._store.remove(name):
            raise UnknownJob(f"There is no job {name!r}.")

    def run_now(self, name: str) -> UUID:
        """Fire a job once, now, paused or not, whatever its condition; return the fire's id.

        While an earlier run goes on, the job's overlap policy holds: the fire may wait, or be
        skipped. Raises ``UnknownJob``.
        """
        for _ in range(MOST_TRIES):
            job, now = self.job(name), self.now()
            others = overlaps.beside(self._store, job)
            (fire,), keys = overlaps.admitted(job, [by_hand(job, now)], others, now)
            (committed,) = self._store.commit([Move(job=job, fires=[fire], keys=keys)])
            if committed is not None and committed.fires:
                return fire.id
        raise Contended(f"The job {name!r} changes too often.")

    def backfill(
        self, name: str, since: datetime, until: datetime, *, pace: timedelta, dry_run: bool
    ) -> list[tuple[datetime, datetime]]:
        """Run a job for the due times of a range of the past that have no fire, one each ``pace``.

        Return them with the moment at which each is run. Raises ``UnknownJob``, or
        ``InvalidJob`` naming the field.
        """
        for _ in range(MOST_TRIES):
            job, now = self.job(name), self.now()
            try:
                timetable = job.timetable
            except ImpossibleSchedule as error:
                raise InvalidJob(f"{name}: {error}", field="schedule") from error
            dues = backfills.due_times(timetable, since, until, now)
            known = {fire.scheduled_for for fire in self._store.fires_of(name, MOST_KNOWN)}
            runs = list(backfills.at_a_pace(dues, known, now, pace))
            status = FireStatus.CLAIMED if job.overlap == Overlap.ALLOW else FireStatus.WAITING
            fires = [
                replace(by_hand(job, at), scheduled_for=due, status=status) for due, at in runs
            ]
            if dry_run or self._store.commit([Move(job=job, fires=fires)]) != [None]:
                return runs
        raise Contended(f"The job {name!r} changes too often.")

    def next_fires(self, name: str, count: int = 5) -> list[datetime]:
        """Return the next moments at which a job fires; none if it is paused or quarantined.

        Raises ``UnknownJob``.
        """
        job = self.job(name)
        if not job.enabled or job.quarantined_at is not None or job.next_fire_at is None:
            return []
        now = self.now()
        # One that is overdue fires at once, and then from now on; any other as it is planned.
        after = job.answered_until if job.next_fire_at > now and job.answered_until else now
        due = job.timetable.upcoming(after, count)
        return [job.timetable.fire_time(moment) for moment in due]

    def replan(self, calendars: Collection[str]) -> None:
        """Plan the jobs that go by one of these calendars anew: their files have changed."""
        named = [job for job in self.jobs(self.names()) if job.handler]
        isolation.each(
            [job.name for job in named if job.rule.get("calendar") in calendars],
            lambda name: self._change(name, lambda job: _replanned(_there(job, name), self.now())),
            stage="planning by a changed calendar",
            key=str,
        )

    def fires(self, name: str, limit: int = 100) -> list[Fire]:
        """Return a job's fires, the latest due time first. Raises ``UnknownJob``."""
        return self._store.fires_of(self.job(name).name, limit)

    def fire(self, key: UUID) -> Fire | None:
        """Return a fire."""
        return self._store.fire(key)

    def failed_runs(self, limit: int = 100) -> list[Fire]:
        """Return the runs that failed for good, or are lost, and that nobody has seen to."""
        return self._store.failed(limit)

    def replay(self, key: UUID) -> UUID:
        """Run a failed fire's job again, as it stands now; return the new fire's id.

        Raises ``NotOpen``.
        """
        for _ in range(MOST_TRIES):
            failed, now = self._open(key), self.now()
            job = self.job(failed.job)
            again = by_hand(job, now)
            closed = replace(failed, resolved_at=now, resolution="replayed", replayed_as=again.id)
            (committed,) = self._store.commit([Move(job=job, fires=[closed, again])])
            if committed is not None and len(committed.fires) == 2:
                return again.id
        raise Contended(f"The fire {key} changes too often.")

    def discard(self, key: UUID, *, why: str) -> None:
        """Close a failed run for good, with the reason. Raises ``NotOpen``."""
        now, failed = self.now(), self._open(key)
        self._store.commit([Move(fires=[replace(failed, resolved_at=now, resolution=why[:255])])])

    def _open(self, key: UUID) -> Fire:
        fire = self._store.fire(key)
        if fire is None or not fire.has_failed:
            raise NotOpen
        return fire

    def _saved(
        self, job: Job | None, definition: Definition, previous: Definition | None, origin: str
    ) -> Job:
        now = self.now()
        is_new = job is None
        job = job or Job(definition["name"], definition, created_at=now)
        wanted = _merged(job.definition, definition, previous)
        enabled = wanted.pop("enabled", True) if is_new else job.enabled
        if not is_new and "enabled" in definition:
            enabled = wanted.pop("enabled", enabled)
        old = {} if is_new else job.definition
        changed = {key for key in ("schedule", "expires") if wanted.get(key) != old.get(key)}
        refuse_past(wanted, changed, now)
        before = job
        job = replace(job, definition=wanted, origin=origin or job.origin)
        if origin == DECLARED:
            job = replace(job, declared=definition)
        refuse_unfit(job, now)
        job = _recounted(before, job, now)
        goes_on = not is_new and "schedule" not in changed
        if not enabled:
            counted = replace(job, answered_until=job.answered_until or now)
            planned(counted, now, may_have_ended=goes_on)
            return _paused(job, now)
        if not before.enabled:
            job = _resumed(job, now)
            refuse_ended(job)
        goes_on = goes_on and before.enabled
        return planned(replace(job, enabled=True), now, may_have_ended=goes_on)

    def _change(self, name: str, change: Callable[[Job | None], Job | None]) -> Job:
        for _ in range(MOST_TRIES):
            before = self._store.job(name)
            job = change(before)
            assert job is not None  # noqa: S101 -- each change gives one
            if job == before:
                return job
            (committed,) = self._store.commit([Move(job=job)])
            if committed is not None and committed.job is not None:
                return committed.job
        raise Contended(f"The job {name!r} changes too often.")


def by_hand(job: Job, now: datetime) -> Fire:
    """Return a new fire that was asked for, for a scheduler to publish."""
    return Fire(
        id=new_fire_id(),
        job=job.name,
        scheduled_for=now,
        fire_at=now,
        due_at=now,
        by_hand=True,
        concurrency_key=job.concurrency_key,
    )


def planned(
    job: Job, now: datetime, *, has_fired: bool = False, may_have_ended: bool = True
) -> Job:
    """Return a job with the moment at which it fires next; its quarantine is over.

    A rule that ``has_fired`` may be over. Raises ``ImpossibleSchedule`` if it is never due,
    and ``RuleEnded`` for one that was due once, unless it ``may_have_ended``.
    """
    if job.answered_until is None:
        job = replace(job, answered_until=_first_count(job, now))
    assert job.answered_until is not None  # noqa: S101 -- set above
    is_moment = has_fired or "at" in job.rule
    due = None
    try:
        due = planning.next_fire(job.timetable, job.answered_until, now, is_moment=is_moment)
    except RuleEnded:
        if not may_have_ended:
            raise
    return replace(job, next_fire_at=due, quarantined_at=None, quarantine_reason="")


def refuse_ended(job: Job) -> None:
    """Raise ``RuleEnded`` for a job that is resumed and will not be due any more."""
    if job.answered_until is not None:
        planning.refuse_ended(job.timetable, job.answered_until)


def refuse_unfit(job: Job, now: datetime) -> None:
    """Raise ``InvalidJob`` for keys that do not fit each other."""
    if job.guarantee == Guarantee.AT_MOST_ONCE and job.retries:
        raise InvalidJob(
            "A run that may happen at most once is not tried again: set 0.", field="retries"
        )
    if job.concurrency_key and job.overlap == Overlap.ALLOW:
        raise InvalidJob(NEEDS_OVERLAP, field="concurrency_key")
    if bool(job.unique_key) != bool(job.unique_period):
        field = "unique_seconds" if job.unique_key else "unique_key"
        raise InvalidJob("A unique key and its period go together.", field=field)
    jitter = job.definition.get("jitter", 0)
    gap = shortest_gap(job.timetable.rule, now) if jitter else None
    if gap is not None and jitter >= gap.total_seconds():
        raise InvalidJob(TOO_LONG_JITTER.format(gap.total_seconds()), field="jitter")


def _merged(
    present: Definition, definition: Definition, previous: Definition | None
) -> dict[str, Any]:
    """Return the definition to be kept: of ``present``, what is not written stays."""
    if previous is None:
        return dict(definition)
    keys = {k for k in definition.keys() | previous.keys() if definition.get(k) != previous.get(k)}
    kept = {key: value for key, value in present.items() if key not in keys}
    return kept | {key: definition[key] for key in keys & definition.keys()}


def _recounted(before: Job, job: Job, now: datetime) -> Job:
    """Return a job that counts from where its rule, if it was changed, wants it to."""
    old, new = before.definition, job.definition
    is_changed = any(old.get(key) != new.get(key) for key in ("schedule", "start"))
    if "at" in job.rule:
        at = moment_of(job.rule["at"], field="schedule.at")
        return job if job.answered_until == at else replace(job, answered_until=at - INSTANT)
    if before.answered_until is None or not is_changed:
        return job
    rule = job.timetable.rule
    period = rule.period if isinstance(rule, Interval) else None
    start = planning.start_of_new_rule(before.answered_until, now, period)
    return replace(job, answered_until=start)


def _first_count(job: Job, now: datetime) -> datetime:
    if "at" in job.rule:
        return moment_of(job.rule["at"], field="schedule.at") - INSTANT
    return min(job.created_at, now)


def _replanned(job: Job, now: datetime) -> Job:
    """Return a job as a changed calendar has it; what is due is a tick's, which reads it anew."""
    is_due = job.next_fire_at is not None and job.next_fire_at <= now
    if not job.enabled or job.answered_until is None or is_due:
        return job
    counted = planning.passed_by(job.timetable, job.answered_until, now)
    return planned(replace(job, answered_until=counted), now)


def _paused(job: Job, now: datetime) -> Job:
    return replace(job, enabled=False, paused_at=job.paused_at or now, next_fire_at=None)


def _resumed(job: Job, now: datetime) -> Job:
    if "at" not in job.rule:
        counted = planning.after_pause(
            job.answered_until, catches_up=job.catches_up, resumed_at=now
        )
        job = replace(job, answered_until=counted)
    return replace(job, paused_at=None)


def _there(job: Job | None, name: str) -> Job:
    if job is None:
        raise UnknownJob(f"There is no job {name!r}.")
    return job
