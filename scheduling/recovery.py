"""Fires whose ``due_at`` has passed: not published, not started, or running on a dead worker.

Any scheduler looks at them; each row is taken by one.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from scheduling import policies, transactions
from scheduling.claims import PUBLISH_LEASE, RULE_RELATIONS, WAITING_LOOK, end_unrun, misfire_policy
from scheduling.models import Fire, FireStatus

BATCH = 250
OUTAGE = timedelta(seconds=5)
"""A fire that could not be published for longer than this is late by its misfire policy."""

RECOVERED_FIELDS = ("status", "due_at", "finished_at", "error")


def recover(now: datetime, limit: int = BATCH) -> list[Fire]:
    """Take up to ``limit`` forgotten fires; give those that are to be published (again)."""
    with transactions.brief():
        fires = list(
            Fire.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("schedule", "schedule__periodic_task", *_rules())
            .filter(due_at__lte=now)
            .order_by("due_at")[:limit]
        )
        for fire in fires:
            _decide(fire, now)
        _drop_outdated(fires, now)
        Fire.objects.bulk_update(fires, RECOVERED_FIELDS, batch_size=100)
    return [fire for fire in fires if fire.status == FireStatus.CLAIMED]


def _rules() -> tuple[str, ...]:
    return tuple(f"schedule__{relation}" for relation in RULE_RELATIONS)


def _decide(fire: Fire, now: datetime) -> None:
    """Decide on one forgotten fire."""
    fire.due_at = now + PUBLISH_LEASE
    if fire.status == FireStatus.RUNNING:
        fire.error = f"The worker {fire.worker or '(unknown)'} stopped answering."
    if fire.status == FireStatus.WAITING and _is_predecessor_running(fire):
        fire.due_at = now + WAITING_LOOK
    elif fire.status != FireStatus.RUNNING and _has_expired(fire, now):
        end_unrun(fire, FireStatus.SKIPPED_EXPIRED, now)
    elif fire.status in {FireStatus.CLAIMED, FireStatus.WAITING} or _runs_again(fire):
        fire.status = FireStatus.CLAIMED
    else:
        end_unrun(fire, FireStatus.LOST, now)


def _runs_again(fire: Fire) -> bool:
    return policies.runs_again(fire.schedule.guarantee, fire.attempt)


def _is_predecessor_running(fire: Fire) -> bool:
    others = Fire.objects.filter(schedule=fire.schedule_id, finished_at=None)
    return others.exclude(status=FireStatus.WAITING).exists()


def _has_expired(fire: Fire, now: datetime) -> bool:
    """Tell whether the message's own expiry, counted from its due time, has passed."""
    seconds = fire.schedule.periodic_task.expire_seconds
    return seconds is not None and fire.fire_at + timedelta(seconds=seconds) < now


def _drop_outdated(fires: Sequence[Fire], now: datetime) -> None:
    """After an outage, publish of each schedule only what its misfire policy still wants."""
    late: dict[int, list[Fire]] = defaultdict(list)
    for fire in fires:
        is_first_publish = fire.publishes == 0 and not fire.by_hand
        if fire.status == FireStatus.CLAIMED and is_first_publish:
            late[fire.schedule_id].append(fire)
    for candidates in late.values():
        candidates.sort(key=lambda fire: fire.scheduled_for)
        lateness = [now - fire.scheduled_for for fire in candidates]
        if lateness[0] < OUTAGE:
            continue
        policy = misfire_policy(candidates[0].schedule)
        for fire, is_wanted in zip(candidates, policies.wanted(lateness, policy), strict=True):
            if not is_wanted:
                end_unrun(fire, FireStatus.SKIPPED_MISFIRE, now)
