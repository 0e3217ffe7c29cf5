"""Takes what is due: one transaction plans the fires, advances the schedules and commits."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter

from django.db.models import Q
from django_celery_beat.models import PeriodicTask

from scheduling import bulk, policies, shared_keys, streaks
from scheduling.changes import plan_next, save_state, timetable_for
from scheduling.models import Fire, FireStatus, Overlap, Schedule
from scheduling.passing_over import CLAIM
from scheduling.policies import MisfirePolicy, PlannedFire
from scheduling.quarantine import isolated, mark, quarantine
from scheduling.terms import NOTE_LENGTH, SKIPS
from scheduling.waits import PUBLISH_LEASE, WAITING_LOOK

BATCH = 250
RULE_RELATIONS = tuple(
    f"periodic_task__{kind}" for kind in ("interval", "crontab", "solar", "clocked")
)
FIRE_FIELDS = tuple(
    field.attname
    for field in Fire._meta.concrete_fields
    if field.attname not in Fire.FAILURE_FIELDS + Fire.OWN_FIELDS
)
_fire_row = attrgetter(*FIRE_FIELDS)

MOST = 2**31 - 1
"""Runs that django-celery-beat's column can count; a schedule goes on beyond it."""


def claim_due(now: datetime, limit: int = BATCH) -> list[Fire]:
    """Claim the fires of up to ``limit`` due schedules; return those that are to be published.

    A schedule that another scheduler, or a person's transaction, holds at this moment is left to
    it. ``UNIQUE(schedule, scheduled_for)`` makes each due time fire once, whatever else happens.
    """

    def take(among: Sequence[int] | None) -> Sequence[int]:
        due = Schedule.objects.select_for_update(skip_locked=True).filter(
            next_fire_at__lte=now, periodic_task__enabled=True
        )
        if among is not None:
            due = due.filter(pk__in=among)
        return list(due.order_by("next_fire_at").values_list("pk", flat=True)[:limit])

    fires = isolated(take, partial(plan_due, now=now), quarantine, stage=CLAIM)
    return [fire for fire in fires if fire.status == FireStatus.CLAIMED]


def plan_due(keys: Sequence[int], now: datetime) -> list[Fire]:
    """Plan the fires of due schedules, which the caller has locked; return the new ones."""
    schedules = list(
        Schedule.objects.select_related("periodic_task")
        .prefetch_related(*RULE_RELATIONS)
        .filter(pk__in=keys)
        .order_by("next_fire_at")
    )
    # What shares a key with somebody's decision at this moment is due again at once.
    held = shared_keys.locked({name for schedule in schedules for name in shared_keys.of(schedule)})
    schedules = [schedule for schedule in schedules if not shared_keys.of(schedule) & held]
    fires = [fire for schedule in schedules for fire in _plan(schedule, now)]
    fires = _insert(admitted(fires, now))
    _count_skipped(fires)
    save_state(schedules)
    _save_tasks(schedules, fires, now)
    return fires


def misfire_policy(schedule: Schedule) -> MisfirePolicy:
    """Read a schedule's misfire policy."""
    grace = schedule.grace_seconds
    return MisfirePolicy(
        misfire=schedule.misfire,
        cap=schedule.misfire_cap,
        grace=None if grace is None else timedelta(seconds=grace),
    )


def _plan(schedule: Schedule, now: datetime) -> list[Fire]:
    """Plan the fires of one due schedule and advance it; a broken one is quarantined."""
    try:
        timetable = timetable_for(schedule)
        assert schedule.answered_until is not None  # noqa: S101 -- it has a next_fire_at
        planned = policies.answer(
            timetable,
            misfire_policy(schedule),
            answered_until=schedule.answered_until,
            now=now,
        )
        if planned and schedule.periodic_task.one_off:
            planned = planned[-1:]
        if planned:
            schedule.answered_until = planned[-1].scheduled_for
        plan_next(schedule, now, has_fired=bool(planned))
    except Exception as error:  # noqa: BLE001 -- the boundary: one broken row stops no other
        mark(schedule, error, now)
        return []
    return [_fire(schedule, fire, now) for fire in planned]


def _fire(schedule: Schedule, planned: PlannedFire, now: datetime) -> Fire:
    fire = Fire(
        schedule=schedule,
        scheduled_for=planned.scheduled_for,
        fire_at=planned.fire_at,
        status=planned.status,
        missed_since=planned.missed_since,
        note=planned.note[:NOTE_LENGTH],
        due_at=now + PUBLISH_LEASE,
    )
    if planned.status != FireStatus.CLAIMED:
        end_unrun(fire, planned.status, now)
    return fire


def end_unrun(fire: Fire, status: FireStatus, now: datetime) -> None:
    """End a fire that never ran. Saves nothing."""
    fire.status, fire.finished_at, fire.due_at = status, now, None


def admitted(fires: Sequence[Fire], now: datetime) -> Sequence[Fire]:
    """Apply the overlap policy and unique keys to planned fires, in their order.

    The caller holds the locks of what their schedules share (``shared_keys``).
    """
    careful = {fire.schedule_id for fire in fires if _is_careful(fire.schedule)}
    if not careful:
        return fires
    fires = _not_fired(fires, careful)
    running: dict[int | str, int] = defaultdict(int)
    waiting: dict[int, bool] = defaultdict(bool)
    for schedule_id, key, status in _unfinished(fires, careful):
        if status == FireStatus.WAITING:
            waiting[schedule_id] = True
        else:
            running[key or schedule_id] += 1
    for fire in fires:
        if fire.schedule_id in careful and fire.status == FireStatus.CLAIMED:
            _admit(fire, now, running, waiting)
    return fires


def _is_careful(schedule: Schedule) -> bool:
    return schedule.overlap != Overlap.ALLOW or bool(schedule.unique_key)


def _unfinished(fires: Iterable[Fire], careful: Collection[int]) -> Iterable[tuple[int, str, str]]:
    """Return schedule, concurrency key and status of the fires that have not ended."""
    condition = Q(schedule__in=careful)
    keys = {fire.schedule.concurrency_key for fire in fires} - {""}
    if keys:
        condition |= Q(schedule__concurrency_key__in=keys)
    unfinished = Fire.objects.filter(condition, finished_at=None)
    return unfinished.values_list("schedule_id", "schedule__concurrency_key", "status")


def _admit(
    fire: Fire, now: datetime, running: dict[int | str, int], waiting: dict[int, bool]
) -> None:
    """Decide on one fire, and count it among those that run or wait."""
    schedule, key = fire.schedule, fire.schedule_id
    group = schedule.concurrency_key or key
    decision = policies.overlap(
        schedule.overlap,
        running=running[group],
        is_one_waiting=waiting[key],
        concurrency=schedule.concurrency,
    )
    if decision == "skip":
        end_unrun(fire, FireStatus.SKIPPED_OVERLAP, now)
    elif why := shared_keys.take(schedule, now):
        end_unrun(fire, FireStatus.SKIPPED_UNIQUE, now)
        fire.note = why
    elif decision == "wait":
        fire.status, waiting[key] = FireStatus.WAITING, True
        fire.due_at = now + WAITING_LOOK
    else:
        running[group] += 1


def _not_fired(fires: Sequence[Fire], careful: Collection[int]) -> Sequence[Fire]:
    """Leave out due times that fired before, by a clock that was ahead: they hold up no other."""
    moments = {fire.scheduled_for for fire in fires if fire.schedule_id in careful}
    known = Fire.objects.filter(schedule__in=careful, scheduled_for__in=moments)
    fired = set(known.values_list("schedule_id", "scheduled_for"))
    return [fire for fire in fires if (fire.schedule_id, fire.scheduled_for) not in fired]


def _count_skipped(fires: Iterable[Fire]) -> None:
    for status in SKIPS:
        skipped = {fire.schedule_id for fire in fires if fire.status == status}
        if skipped:
            streaks.count(skipped, status)


def _insert(fires: Sequence[Fire]) -> list[Fire]:
    """Insert the fires; return those whose due time had none yet."""
    inserted = bulk.insert_new(Fire, FIRE_FIELDS, [_fire_row(fire) for fire in fires])
    return [fire for fire in fires if fire.pk in inserted]


def _save_tasks(schedules: Sequence[Schedule], fires: Iterable[Fire], now: datetime) -> None:
    """Keep what django-celery-beat shows: last run, run count, and one-offs that are done."""
    runs: dict[int, int] = defaultdict(int)
    for fire in fires:
        if fire.status in {FireStatus.CLAIMED, FireStatus.WAITING}:
            runs[fire.schedule_id] += 1
    counted = [
        (schedule.pk, now, min(schedule.periodic_task.total_run_count + runs[schedule.pk], MOST))
        for schedule in schedules
        if schedule.pk in runs
    ]
    bulk.update(PeriodicTask, ("last_run_at", "total_run_count"), counted)
    ended = [schedule.pk for schedule in schedules if _is_done(schedule, runs, now)]
    if ended:
        PeriodicTask.objects.filter(pk__in=ended).update(enabled=False)
        Schedule.objects.filter(pk__in=ended).update(next_fire_at=None)


def _is_done(schedule: Schedule, runs: dict[int, int], now: datetime) -> bool:
    """Return whether a one-off has fired, or a schedule has expired."""
    task = schedule.periodic_task
    if task.expires is not None and task.expires < now:
        return True
    if not task.one_off:
        return False
    return schedule.pk in runs or (schedule.next_fire_at is None and not schedule.quarantined_at)
