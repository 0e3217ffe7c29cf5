"""The overlap policy applied to the fires of one job that is kept without a database."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from scheduling import policies, waits
from scheduling.kept.documents import Fire, Job
from scheduling.kept.runs import ended
from scheduling.terms import FireStatus, Overlap


def without_overlap(
    job: Job, fires: Sequence[Fire], unfinished: Iterable[Fire], now: datetime
) -> list[Fire]:
    """Return planned fires, in their order, as they stand beside those that have not ended."""
    if job.overlap == Overlap.ALLOW:
        return list(fires)
    unfinished = list(unfinished)
    is_waiting = any(fire.status == FireStatus.WAITING for fire in unfinished)
    running = sum(fire.status != FireStatus.WAITING for fire in unfinished)
    decided = []
    for fire in fires:
        if fire.status == FireStatus.CLAIMED:
            decision = policies.overlap(
                job.overlap,
                running=running,
                is_one_waiting=is_waiting,
                concurrency=job.concurrency,
            )
            if decision == "skip":
                fire = ended(fire, FireStatus.SKIPPED_OVERLAP, now)  # noqa: PLW2901 -- the fire as it is now
            elif decision == "wait":
                look = now + waits.WAITING_LOOK
                fire = replace(fire, status=FireStatus.WAITING, due_at=look)  # noqa: PLW2901 -- the fire as it is now
                is_waiting = True
            else:
                running += 1
        decided.append(fire)
    return decided
