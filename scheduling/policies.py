"""What becomes of due times: pure decisions from (policy, due times, now), tested as tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from scheduling.terms import MISFIRE_CAP_LIMIT, FireStatus, Guarantee, Misfire, Overlap
from scheduling.timetable import Timetable

SKIP_GRACE_SECONDS = 30
MAX_ORPHANED_RUNS = 5

OverlapDecision = Literal["run", "wait", "skip"]


@dataclass(frozen=True)
class MisfirePolicy:
    """What becomes of due times that passed unanswered; ``grace`` None is "however late"."""

    misfire: str = Misfire.LATEST
    cap: int = 10
    grace: timedelta | None = None

    @property
    def deadline(self) -> timedelta | None:
        """How late a due time may still be answered."""
        if self.grace is None and self.misfire == Misfire.SKIP:
            return timedelta(seconds=SKIP_GRACE_SECONDS)
        return self.grace

    @property
    def count(self) -> int:
        """How many due times may be answered at once."""
        return min(self.cap, MISFIRE_CAP_LIMIT) if self.misfire == Misfire.ALL else 1


@dataclass(frozen=True)
class PlannedFire:
    """A due time to be answered, by a run or as skipped.

    ``missed_since`` is the first of the due times before it that get no answer of their own.
    ``note`` names the holiday that has left it out, or from which it was moved.
    """

    scheduled_for: datetime
    fire_at: datetime
    status: FireStatus
    missed_since: datetime | None = None
    note: str = ""


def answer(
    timetable: Timetable, policy: MisfirePolicy, *, answered_until: datetime, now: datetime
) -> list[PlannedFire]:
    """Decide which due times in ``(answered_until, now]`` run; oldest first.

    A late one runs if it is within the grace: the newest, or with ``all`` the newest ``cap``. If
    none is, the newest is recorded as skipped. What a holiday has left out before the newest is
    recorded, too.
    """
    first = timetable.after(answered_until)
    if first is None or timetable.fire_time(first) > now:
        return []
    until = now - timetable.delay(first)
    oldest = answered_until
    if policy.deadline is not None:
        oldest = max(oldest, until - policy.deadline - timedelta(microseconds=1))
    runs = timetable.newest(oldest, until, policy.count)
    status = FireStatus.CLAIMED
    if not runs:
        runs = timetable.newest(answered_until, until, 1)
        status = FireStatus.SKIPPED_MISFIRE
    planned = [
        PlannedFire(
            scheduled_for=due,
            fire_at=timetable.fire_time(due),
            status=status,
            missed_since=first if number == 0 and first < due else None,
            note=timetable.note(due),
        )
        for number, due in enumerate(runs)
    ]
    left_out = [
        PlannedFire(due, due, FireStatus.SKIPPED_HOLIDAY, note=name)
        for due, name in timetable.left_out(answered_until, runs[-1])
    ]
    return sorted([*left_out, *planned], key=lambda fire: fire.scheduled_for)


def overlap(
    policy: str, *, running: int, is_one_waiting: bool, concurrency: int = 1
) -> OverlapDecision:
    """Decide on a fire that is due while ``running`` earlier ones have not ended."""
    if policy == Overlap.ALLOW or not (running >= concurrency or is_one_waiting):
        return "run"
    if policy == Overlap.QUEUE and not is_one_waiting:
        return "wait"
    return "skip"


def runs_again(guarantee: str, attempt: int) -> bool:
    """Decide on run number ``attempt`` whose worker died; a fire that kills workers is given up."""
    return guarantee == Guarantee.AT_LEAST_ONCE and attempt < MAX_ORPHANED_RUNS


Forgotten = Literal["look again", "wait", "hand over", "expire", "publish", "lose"]


def forgotten(
    status: str,
    *,
    guarantee: str,
    attempt: int,
    is_suspected: bool,
    is_blocked: Callable[[], bool],
    is_known_nowhere: Callable[[], bool],
    has_expired: Callable[[], bool],
) -> Forgotten:
    """Decide on an unfinished fire whose ``due_at`` has passed; ``attempt`` is its present run's.

    A running one is looked at twice before it counts as an orphan. ``is_blocked`` tells whether
    the run that a waiting one waits for goes on, ``is_known_nowhere`` that no worker knows its
    task, ``has_expired`` that its message is too old to be taken.
    """
    if status == FireStatus.RUNNING and not is_suspected:
        return "look again"
    if status == FireStatus.WAITING and is_blocked():
        return "wait"
    if not attempt and status == FireStatus.DISPATCHED and is_known_nowhere():
        return "hand over"
    if not attempt and has_expired():
        return "expire"
    if status in {FireStatus.CLAIMED, FireStatus.WAITING} or runs_again(guarantee, attempt):
        return "publish"
    return "lose"


def wanted(lateness: Sequence[timedelta], policy: MisfirePolicy) -> list[bool]:
    """Decide which of a schedule's late fires still run; ``lateness`` is oldest first."""
    newest = len(lateness) - policy.count
    return [
        number >= newest and (policy.deadline is None or late <= policy.deadline)
        for number, late in enumerate(lateness)
    ]
