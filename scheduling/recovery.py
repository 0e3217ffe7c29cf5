"""Fires whose ``due_at`` has passed: not published, not started, or running on a dead worker.

Any scheduler looks at them; each row is taken by one.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from celery import current_app
from django.db.models import Q

from scheduling import policies, shared_keys, streaks, waits, workers
from scheduling.claims import RULE_RELATIONS, end_unrun, misfire_policy
from scheduling.models import Fire, FireStatus
from scheduling.passing_over import RECOVERY
from scheduling.quarantine import isolated, refuse
from scheduling.run_errors import cause_of, history_with
from scheduling.terms import SKIPS

BATCH = 250
RECOVERED_FIELDS = ("status", "due_at", "finished_at", "error", "history", "cause")


def recover(now: datetime, limit: int = BATCH) -> list[Fire]:
    """Take up to ``limit`` forgotten fires; return those that are to be published (again)."""

    def take(among: Sequence[UUID] | None) -> Sequence[UUID]:
        due = Fire.objects.select_for_update(skip_locked=True).filter(due_at__lte=now)
        if among is not None:
            due = due.filter(pk__in=among)
        return list(due.order_by("due_at").values_list("pk", flat=True)[:limit])

    fires = isolated(take, partial(_recover, now=now), _blame, stage=RECOVERY)
    return [fire for fire in fires if fire.status == FireStatus.CLAIMED]


def _recover(keys: Sequence[UUID], now: datetime) -> list[Fire]:
    """Decide on forgotten fires, which the caller has locked."""
    fires = list(
        Fire.objects.select_related("schedule", "schedule__periodic_task", *_rules())
        .filter(pk__in=keys)
        .order_by("due_at", "scheduled_for")
    )
    # What shares a key with somebody's decision at this moment is due again at once.
    held = shared_keys.locked({name for fire in fires for name in _locks_of(fire)})
    fires = [fire for fire in fires if not _locks_of(fire) & held]
    started: Counter[int | str] = Counter()
    for fire in fires:
        waited = fire.status == FireStatus.WAITING
        group = fire.schedule.concurrency_key or fire.schedule_id
        _decide(fire, now, started[group])
        started[group] += waited and fire.status == FireStatus.CLAIMED
    _drop_outdated(fires, now)
    Fire.objects.bulk_update(fires, RECOVERED_FIELDS, batch_size=100)
    _count(fires)
    return fires


def _locks_of(fire: Fire) -> set[str]:
    return shared_keys.of(fire.schedule) if fire.status == FireStatus.WAITING else set()


def _count(fires: Sequence[Fire]) -> None:
    for status in (*SKIPS, FireStatus.LOST):
        ended = {fire.schedule_id for fire in fires if fire.status == status}
        if ended:
            streaks.count(ended, status)


def _blame(key: UUID, error: Exception) -> None:
    """End a fire that cannot be read, and quarantine its schedule."""
    for schedule_id in Fire.objects.filter(pk=key).values_list("schedule_id", flat=True):
        refuse(key, schedule_id, error)


def _rules() -> tuple[str, ...]:
    return tuple(f"schedule__{relation}" for relation in RULE_RELATIONS)


def _decide(fire: Fire, now: datetime, started: int) -> None:
    """Decide on one forgotten fire; ``started`` of its group were let go just before it."""
    decision = policies.forgotten(
        fire.status,
        guarantee=fire.schedule.guarantee,
        attempt=fire.attempt,
        is_suspected=waits.is_suspected(fire.due_at, fire.heartbeat_at),
        is_blocked=partial(_is_predecessor_running, fire, started),
        is_known_nowhere=partial(_is_known_nowhere, fire),
        has_expired=partial(_has_expired, fire, now),
    )
    if decision == "look again":
        fire.due_at = now + waits.SECOND_LOOK
        return
    fire.due_at = now + waits.PUBLISH_LEASE
    if fire.status == FireStatus.RUNNING:
        fire.error = f"The worker {fire.worker or '(unknown)'} stopped answering."
        fire.history = history_with(fire, fire.error, now)
    if decision == "wait":
        fire.due_at = now + waits.WAITING_LOOK
    elif decision == "hand over":
        fire.error = "It was published, and no worker that is alive knows its task."
        end_unrun(fire, FireStatus.HANDED_OVER, now)
    elif decision == "expire":
        end_unrun(fire, FireStatus.SKIPPED_EXPIRED, now)
    elif decision == "publish":
        fire.status = FireStatus.CLAIMED
    else:
        end_unrun(fire, FireStatus.LOST, now)
        fire.cause = cause_of(fire.error)


def _is_known_nowhere(fire: Fire) -> bool:
    """Return whether only workers that keep no ledger here could run its task.

    Such a run is not followed, so its message is not published again.
    """
    task = fire.schedule.periodic_task.task
    return task not in current_app.tasks and task in workers.unknown([task])


def _is_predecessor_running(fire: Fire, started: int) -> bool:
    key = fire.schedule.concurrency_key
    group = Q(schedule__concurrency_key=key) if key else Q(schedule=fire.schedule_id)
    others = Fire.objects.filter(group, finished_at=None)
    running = others.exclude(status=FireStatus.WAITING).count() + started
    return running >= fire.schedule.concurrency


def _has_expired(fire: Fire, now: datetime) -> bool:
    """Return whether nobody took its message before the expiry, counted from its due time."""
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
        if lateness[0] < waits.OUTAGE:
            continue
        policy = misfire_policy(candidates[0].schedule)
        for fire, is_wanted in zip(candidates, policies.wanted(lateness, policy), strict=True):
            if not is_wanted:
                end_unrun(fire, FireStatus.SKIPPED_MISFIRE, now)
