"""Jobs as django-celery-beat's rows: what the database keeps of the ``jobs`` API."""

import json
import logging
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q
from django_celery_beat.models import PeriodicTask

from scheduling import backfills, isolation, preview, rules, shared_keys, watch
from scheduling.claims import admitted
from scheduling.clock import database_now
from scheduling.job_schema import InvalidJob, UnknownJob
from scheduling.job_storage import POLICY_FIELDS, TASK_FIELDS, Definition, lock, store
from scheduling.models import Fire, FireStatus, Origin, Overlap, Schedule
from scheduling.preview import planned, upcoming_fires
from scheduling.recurrence import ImpossibleSchedule, RuleEnded

logger = logging.getLogger(__name__)


def declare(definition: Definition) -> None:
    """Register what ``@jobs.job`` declares, leaving people's edits as they are.

    ``definition`` fits the schema. Raises ``InvalidJob``.
    """
    name = definition["name"]
    if not PeriodicTask.objects.filter(name=name).exists():
        store(definition, origin=Origin.JOB)
        return
    kept = Schedule.objects.filter(periodic_task__name=name, definition__isnull=False)
    previous = kept.values_list("definition", flat=True).first()
    if previous is None:
        logger.warning(
            "The job %r was made by a person; its declaration in code is not applied", name
        )
    elif previous != definition:
        store(definition, previous=previous, origin=Origin.JOB)
    else:
        as_noted = Q(origin=Origin.JOB, undeclared_at=None)
        kept.exclude(as_noted).update(origin=Origin.JOB, undeclared_at=None)


def definition_of(task: PeriodicTask) -> dict[str, Any]:
    """Write the definition of a job down, without what is as it would be anyway."""
    return definition_with(task, Schedule.objects.filter(pk=task.pk).first())


def definition_with(task: PeriodicTask, policy: Schedule | None) -> dict[str, Any]:
    """Write it down as ``definition_of`` does, with its policy, if it has one."""
    own = rules.own_rule(task, policy.recurrence) if policy is not None else None
    rule = rules.rule_of(task) if own is None else own
    definition = {"name": task.name, "schedule": rule, "enabled": task.enabled}
    for fields, row in ((TASK_FIELDS, task), (POLICY_FIELDS, policy)):
        for key, (column, default) in fields.items():
            value = _plain(column, getattr(row, column, default))
            if value != default:
                definition[key] = value
    return definition


def pause(name: str) -> None:
    """Pause a job until ``resume``. Raises ``UnknownJob``."""
    PeriodicTask.objects.filter(pk=_key_of(name)).update(enabled=False)


def resume(name: str) -> None:
    """Resume a job; its policy says what becomes of the pause.

    Raises ``UnknownJob``, or ``InvalidJob`` for one that is not due any more.
    """
    key = _key_of(name)
    _refuse_ended(name, key)
    PeriodicTask.objects.filter(pk=key).update(enabled=True)


def _refuse_ended(name: str, key: int) -> None:
    """Raise ``InvalidJob``; a row that cannot be read is the schedulers' to quarantine."""
    try:
        task = PeriodicTask.objects.get(pk=key)
        task.enabled = True
        preview.refuse_ended(task)
    except RuleEnded as error:
        raise InvalidJob(f"{name}: {error}", field="schedule") from error
    except Exception as error:
        if isolation.concerns_everybody(error):
            raise


def remove(name: str) -> None:
    """Delete a job and its fires, readable or not. Raises ``UnknownJob``."""
    watch.past_brief(partial(_remove, name))


def _remove(name: str) -> None:
    key = _key_of(name)
    with transaction.atomic(), connection.cursor() as cursor:
        # Recovery locks fires before their schedule; the trigger would do so in the other order.
        fires = Fire.objects.select_for_update().filter(schedule=key, finished_at=None)
        list(fires.order_by("pk").values_list("pk", flat=True))
        lock(name)
        # A trigger deletes what belongs to it. Django would read it first.
        cursor.execute("DELETE FROM django_celery_beat_periodictask WHERE id = %s", [key])


def duplicate(name: str) -> PeriodicTask:
    """Make a paused copy of a job, with its policy. Raises ``UnknownJob``."""
    task = find(name)
    kept = (*Schedule.POLICY_FIELDS, *Schedule.CODE_FIELDS)
    policy = Schedule.objects.filter(pk=task.pk).values(*kept).first()
    with transaction.atomic():
        task.pk, task.name = None, _free_name(name)
        task.enabled, task.total_run_count = False, 0
        task.save()
        Schedule.objects.update_or_create(periodic_task=task, defaults=policy or {})
    return task


def _free_name(name: str) -> str:
    names = (f"{name[:180]} (copy{number})" for number in ("", *(f" {n}" for n in range(2, 1000))))
    return next(free for free in names if not PeriodicTask.objects.filter(name=free).exists())


def run_now(name: str) -> UUID:
    """Fire a job once, now, paused or not, whatever its condition; return the fire's id.

    A scheduler publishes it once the transaction is committed. While an earlier run goes on, the
    job's overlap policy holds: the fire may wait, or be skipped. Raises ``UnknownJob``.
    """
    return fire_now(find(name)).pk


def fire_now(task: PeriodicTask) -> Fire:
    """Record a fire by hand, for a scheduler to publish; its status says what became of it.

    Raises ``UnknownJob`` if the job was removed meanwhile.
    """
    with transaction.atomic():
        lock(task.name)
        if PeriodicTask.objects.filter(pk=task.pk).exists():
            Schedule.objects.get_or_create(periodic_task=task)
        schedule = Schedule.objects.select_for_update().filter(pk=task.pk).first()
        if schedule is None:
            raise UnknownJob(f"There is no job {task.name!r}.")
        now = database_now()
        fire = Fire(
            schedule=schedule,
            scheduled_for=now,
            fire_at=now,
            due_at=now,
            status=FireStatus.CLAIMED,
            by_hand=True,
        )
        shared_keys.lock(shared_keys.of(schedule))
        admitted([fire], now)
        fire.save(force_insert=True)
    return fire


def backfill(
    name: str, since: datetime, until: datetime, *, pace: timedelta, dry_run: bool
) -> list[tuple[datetime, datetime]]:
    """Run a job for the due times of a range of the past that have no fire, one each ``pace``.

    Return them with the moment at which each is run. Raises ``UnknownJob``, or
    ``InvalidJob`` naming the field.
    """
    task, now = find(name), database_now()
    with transaction.atomic():
        try:
            schedule, timetable = planned(task, now)
        except ImpossibleSchedule as error:
            raise InvalidJob(f"{name}: {error}", field="schedule") from error
        dues = backfills.due_times(timetable, since, until, now)
        known = Fire.objects.filter(schedule=task.pk, scheduled_for__in=dues)
        times = set(known.values_list("scheduled_for", flat=True))
        runs = list(backfills.at_a_pace(dues, times, now, pace))
        if not dry_run:
            Schedule.objects.get_or_create(periodic_task=task)
            status = FireStatus.CLAIMED if schedule.overlap == Overlap.ALLOW else FireStatus.WAITING
            fires = [
                Fire(
                    schedule=schedule,
                    scheduled_for=due,
                    fire_at=at,
                    due_at=at,
                    status=status,
                    by_hand=True,
                )
                for due, at in runs
            ]
            Fire.objects.bulk_create(fires, ignore_conflicts=True)
    return runs


def next_fires(name: str, count: int = 5) -> list[datetime]:
    """Return the next moments at which a job fires; none if it is paused or quarantined.

    Raises ``UnknownJob``.
    """
    return upcoming_fires(find(name), count)


def find(name: str) -> PeriodicTask:
    """Return the row of a job. Raises ``UnknownJob``."""
    try:
        return PeriodicTask.objects.get(name=name)
    except PeriodicTask.DoesNotExist:
        raise UnknownJob(f"There is no job {name!r}.") from None


def _key_of(name: str) -> int:
    """Return the key of a job without reading more of it."""
    key: int | None = PeriodicTask.objects.filter(name=name).values_list("pk", flat=True).first()
    if key is None:
        raise UnknownJob(f"There is no job {name!r}.")
    return key


def _plain(column: str, value: Any) -> Any:
    if column in ("args", "kwargs"):
        return json.loads(value)
    return value.isoformat() if hasattr(value, "isoformat") else value
