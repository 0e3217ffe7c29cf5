"""The overlap policy and shared keys, applied to the fires of a job kept without a database."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from scheduling import policies, waits
from scheduling.kept.documents import Fire, Job
from scheduling.kept.runs import ended
from scheduling.kept.store import Key, Store
from scheduling.terms import FireStatus, Overlap


@dataclass(frozen=True)
class Beside:
    """What the fires of a job are decided beside: its keys, read before the unfinished fires."""

    shared: Key | None
    unique: Key | None
    waiting: Sequence[Fire]
    running: Sequence[Fire]


def beside(store: Store, job: Job) -> Beside:
    """Read what the fires of a job are decided beside."""
    unique = store.key(f"unique:{job.unique_key}") if job.unique_key else None
    shared = shared_key(store, job)
    if job.overlap == Overlap.ALLOW:
        return Beside(shared, unique, (), ())
    own = store.open_fires(job.name)
    group = store.open_fires_of_key(job.concurrency_key) if job.concurrency_key else own
    return Beside(
        shared,
        unique,
        waiting=[fire for fire in own if fire.status == FireStatus.WAITING],
        running=[fire for fire in group if fire.status != FireStatus.WAITING],
    )


def shared_key(store: Store, job: Job) -> Key | None:
    """Read the key by which a job shares its runs at once with others."""
    return store.key(f"concurrency:{job.concurrency_key}") if job.concurrency_key else None


def admitted(
    job: Job, fires: Sequence[Fire], others: Beside, now: datetime
) -> tuple[list[Fire], list[Key]]:
    """Return planned fires as they stand beside others, and the keys that this was decided by."""
    is_waiting, running, unique = bool(others.waiting), len(others.running), others.unique
    decided = []
    for planned in fires:
        fire = replace(planned, concurrency_key=job.concurrency_key)
        if fire.status == FireStatus.CLAIMED:
            decision = policies.overlap(
                job.overlap,
                running=running,
                is_one_waiting=is_waiting,
                concurrency=job.concurrency,
            )
            if decision == "skip":
                fire = ended(fire, FireStatus.SKIPPED_OVERLAP, now)
            elif unique is not None and unique.taken_until is not None and unique.taken_until > now:
                fire = ended(fire, FireStatus.SKIPPED_UNIQUE, now)
                fire = replace(fire, note=f"key {job.unique_key!r}")
            else:
                if unique is not None:
                    unique = replace(unique, taken_until=now + job.unique_period)
                if decision == "wait":
                    look = now + waits.WAITING_LOOK
                    fire = replace(fire, status=FireStatus.WAITING, due_at=look)
                    is_waiting = True
                else:
                    running += 1
        decided.append(fire)
    is_let_through = any(fire.is_open for fire in decided)
    if not is_let_through:
        return decided, []
    shared = None if others.shared is None else used(others.shared, now)
    return decided, [key for key in (shared, unique) if key is not None]


def used(key: Key, now: datetime) -> Key:
    """Return a concurrency key that decides now: its name is kept for a while from then on."""
    return replace(key, taken_until=now + waits.KEY_KEPT)
