"""The database's clock is put ahead for a moment, and back."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from celery import Celery
from django.db.models import QuerySet
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from scheduling import changes, claims, future, housekeeping, jobs, ledger, outlook
from scheduling.backends.database import DatabaseBackend
from scheduling.clock import database_now
from scheduling.models import Change, Fire, FireStatus, Lease, Schedule, SchedulerProcess
from scheduling.scheduler import Scheduler
from tests.integration.scheduling.conftest import apply_all_changes, tick

pytestmark = pytest.mark.django_db(transaction=True)

DAYS = timedelta(days=3)


def ahead(scheduler: Scheduler) -> None:
    """Have a scheduler claim what is due as if it were three days later."""
    view = outlook.look()
    later = replace(view, now=view.now + DAYS)
    scheduler._recount(later)
    scheduler._claim(later)


def planned(schedule: Schedule) -> timedelta:
    schedule.refresh_from_db()
    assert schedule.next_fire_at is not None
    return schedule.next_fire_at - database_now()


@pytest.mark.parametrize("noticed_by", ["the scheduler", "housekeeping of another"])
def test_plans_of_a_clock_that_was_ahead_are_counted_anew(
    due: Callable[..., Schedule],
    app: Celery,
    noticed_by: str,
) -> None:
    schedule = due("job")
    scheduler = Scheduler(app=app, lazy=True)
    scheduler.do_due()
    before = Fire.objects.get()
    ahead(scheduler)
    assert planned(schedule) > timedelta(days=2)
    assert jobs.next_fires("job", 1) == [schedule.next_fire_at]  # it says what is, not what may be
    if noticed_by != "the scheduler":
        scheduler = Scheduler(app=app, lazy=True)
        housekeeping.clean(database_now())
    for _ in range(2):  # it notes what is to be counted anew, then counts
        scheduler.do_due()
    assert planned(schedule) <= timedelta(seconds=10)
    assert schedule.next_fire_at == before.scheduled_for + timedelta(seconds=10)
    assert jobs.next_fires("job", 1) == [schedule.next_fire_at]


SECOND = timedelta(seconds=1)
JUMPS = {
    "three days ahead": (3 * timedelta(days=1), 4),
    "an hour back": (-timedelta(hours=1), 4),
    "a minute ahead": (timedelta(minutes=1), 6),
    "half a minute back": (-30 * SECOND, 6),
    "a little ahead": (4 * SECOND, 10),
}


@pytest.mark.parametrize("jumps", [*[[name] for name in JUMPS], list(JUMPS)], ids=str)
def test_each_due_time_of_the_true_clock_fires_once_in_its_phase_whatever_the_clock_shows(
    make: Callable[..., PeriodicTask], app: Celery, jumps: list[str]
) -> None:
    every_two, _ = IntervalSchedule.objects.get_or_create(every=2, period="seconds")
    start = database_now()
    tasks = [
        make("latest", interval=every_two),
        make("all", interval=every_two),
        make("has a start", interval=every_two, start_time=start + SECOND / 3),
        make("every minute", crontab=CrontabSchedule.objects.create(timezone="Asia/Kathmandu")),
    ]
    Schedule.objects.create(periodic_task=tasks[1], misfire="all", misfire_cap=60)
    apply_all_changes()
    scheduler = Scheduler(app=app, lazy=True)
    clock = start
    for jump in [None, *jumps]:
        by, seconds = JUMPS[jump] if jump else (timedelta(0), 4)
        for is_off in [True] * seconds + [False] * 8:
            clock += SECOND
            at(scheduler, clock + by if is_off else clock)
    minute = timedelta(minutes=1)
    on_the_minute = start.replace(second=0, microsecond=0) - minute
    origins = [tasks[0].date_changed, tasks[1].date_changed, tasks[2].start_time, on_the_minute]
    for task, origin in zip(tasks, origins, strict=True):
        assert origin is not None
        period = minute if task.crontab else 2 * SECOND
        fires = Fire.objects.filter(schedule=task.pk)
        assert {(fire.scheduled_for - origin) % period for fire in fires} <= {timedelta(0)}
        due = max(origin, start)
        due += (origin - due) % period or period
        while due <= clock - SECOND:
            assert is_answered(fires, due), f"{task.name}, due {due - start} after the start"
            due += period


def at(scheduler: Scheduler, now: datetime) -> None:
    """Have a scheduler do its round, publishing aside, as if it were ``now``."""
    scheduler._recount(replace(outlook.look(), now=now))
    while changes.apply_changes(now):
        pass
    claims.claim_due(now)


def is_answered(fires: QuerySet[Fire], due: datetime) -> bool:
    """Whether a due time fired, or the latest of a few missed ones stands for it."""
    stands_for_it = fires.filter(
        schedule__misfire="latest", scheduled_for__gt=due, scheduled_for__lte=due + 12 * SECOND
    ).filter(missed_since__lte=due)
    return fires.filter(scheduled_for=due).exists() or stands_for_it.exists()


def test_a_due_time_that_fired_too_early_is_not_announced_and_does_not_fire_again(
    due: Callable[..., Schedule], app: Celery
) -> None:
    schedule = due("job")
    scheduler = Scheduler(app=app, lazy=True)
    at(scheduler, database_now())
    at(scheduler, database_now() + 25 * SECOND)
    early = Fire.objects.filter(schedule=schedule).latest("scheduled_for")
    at(scheduler, database_now())
    coming = jobs.next_fires("job", 3)
    assert coming == [early.scheduled_for + 10 * SECOND * number for number in (-1, 1, 2)]
    at(scheduler, early.scheduled_for + SECOND)
    assert Fire.objects.get(scheduled_for=early.scheduled_for).pk == early.pk


def test_a_schedule_that_expired_by_a_clock_that_was_ahead_goes_on_in_its_phase(
    due: Callable[..., Schedule], app: Celery
) -> None:
    schedule = due("job", expires=database_now() + timedelta(days=1))
    others = due("paused by a person", expires=database_now() + timedelta(days=1))
    PeriodicTask.objects.filter(pk=others.pk).update(enabled=False)
    scheduler = Scheduler(app=app, lazy=True)
    at(scheduler, database_now())
    before = Fire.objects.get()
    at(scheduler, database_now() + DAYS)
    assert not PeriodicTask.objects.get(name="job").enabled
    Change.objects.update(changed_at=database_now() + DAYS)  # as that clock would have it
    at(scheduler, database_now() + DAYS)
    at(scheduler, database_now())
    schedule.refresh_from_db()
    assert list(PeriodicTask.objects.filter(enabled=True)) == [schedule.periodic_task]
    assert schedule.next_fire_at == before.scheduled_for + 10 * SECOND


def test_a_run_that_failed_by_a_clock_that_was_ahead_is_tried_again_in_time(
    due: Callable[..., Schedule], app: Celery
) -> None:
    due("job", policy={"max_retries": 3, "retry_backoff_seconds": 30})
    (fire,) = tick(app)
    ledger.begin(fire.pk, "worker")
    ledger.fail(fire.pk, 1, ValueError("no"))
    Fire.objects.update(due_at=database_now() + DAYS)
    future.recount(database_now())
    tried_at = Fire.objects.get().due_at
    assert tried_at is not None
    assert tried_at <= database_now() + 30 * SECOND


def test_what_was_taken_or_seen_by_a_clock_that_was_ahead_is_free_once_it_is_right(
    make: Callable[..., PeriodicTask],
) -> None:
    now = database_now()
    Lease.objects.create(name="test.work", owner="gone", expires_at=now + DAYS)
    SchedulerProcess.objects.create(name="gone:1", started_at=now, seen_at=now + DAYS)
    assert DatabaseBackend().acquire("test.work", "me", timedelta(minutes=1))
    future.recount(now)
    assert housekeeping.live_schedulers(now + timedelta(minutes=1)) == []


def test_due_times_that_fired_too_early_hold_up_no_other(
    due: Callable[..., Schedule], app: Celery
) -> None:
    schedule = due("job", policy={"misfire": "all", "overlap": "skip"})
    scheduler = Scheduler(app=app, lazy=True)
    at(scheduler, database_now())
    first = Fire.objects.get()
    Fire.objects.update(status=FireStatus.SUCCEEDED, finished_at=database_now(), due_at=None)
    early = first.scheduled_for + 10 * SECOND
    Fire.objects.create(
        schedule=schedule,
        scheduled_for=early,
        fire_at=early,
        status=FireStatus.SUCCEEDED,
        finished_at=early,
    )
    at(scheduler, first.scheduled_for + 21 * SECOND)
    third = Fire.objects.get(scheduled_for=first.scheduled_for + 20 * SECOND)
    assert third.status == FireStatus.CLAIMED


def test_a_fire_of_that_future_is_looked_at_in_time(
    due: Callable[..., Schedule], app: Celery
) -> None:
    due("job")
    scheduler = Scheduler(app=app, lazy=True)
    ahead(scheduler)
    later = database_now() + DAYS
    Fire.objects.update(status=FireStatus.RUNNING, started_at=later, due_at=later)
    scheduler.do_due()
    looked_at = Fire.objects.latest("scheduled_for").due_at
    assert looked_at is not None
    assert looked_at < database_now() + timedelta(minutes=1)
