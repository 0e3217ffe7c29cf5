"""A change made by any route is noted by the database, and the schedule is computed anew."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
)

from scheduling import housekeeping, triggers
from scheduling.clock import database_now
from scheduling.models import Change, Fire, Schedule
from tests.integration.scheduling.conftest import apply_all_changes, make_due, tick

pytestmark = pytest.mark.django_db(transaction=True)

Make = Callable[..., PeriodicTask]
LATER = datetime(2040, 1, 1, tzinfo=UTC)


def planned(task: PeriodicTask) -> datetime | None:
    apply_all_changes()
    return Schedule.objects.get(pk=task.pk).next_fire_at


def test_a_saved_schedule_is_planned(make: Make) -> None:
    task = make()
    when = planned(task)
    assert when is not None
    # SQLite notes a change to the millisecond.
    assert abs(when - task.date_changed - timedelta(seconds=10)) < timedelta(milliseconds=1)


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="it has one writer at a time")
def test_who_saves_a_schedule_waits_for_nobody_else_who_does(make: Make) -> None:
    first, second = make("first"), make("second")

    def save_second() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '3s'")
            second.description = "saved meanwhile"
            second.save()
            IntervalSchedule.objects.create(every=3, period="days")
        finally:
            connection.close()

    with transaction.atomic(), ThreadPoolExecutor() as pool:
        first.save()
        pool.submit(save_second).result()
    second.refresh_from_db()
    assert second.description == "saved meanwhile"


def test_the_mark_of_django_celery_beat_is_set_once_a_change_is_committed(make: Make) -> None:
    task = make()
    before = PeriodicTasks.last_change()
    assert before is not None
    with suppress(ZeroDivisionError), transaction.atomic():
        task.save()
        raise ZeroDivisionError
    assert PeriodicTasks.last_change() == before
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        with suppress(ZeroDivisionError), transaction.atomic():
            task.save()
            raise ZeroDivisionError
        task.save()
        task.interval.save()
    after = PeriodicTasks.last_change()
    assert after is not None
    assert after > before
    marks = [query for query in queries if PeriodicTasks._meta.db_table in query["sql"]]
    assert len(marks) == 1


def test_bulk_created_schedules_are_planned(make: Make) -> None:
    model = make("first")
    PeriodicTask.objects.bulk_create(
        PeriodicTask(name=f"bulk {number}", task="jobs.note", interval=model.interval)
        for number in range(1200)
    )
    apply_all_changes()
    assert Schedule.objects.filter(next_fire_at__isnull=False).count() == 1201


def test_update_pauses_and_resumes(make: Make) -> None:
    task = make()
    PeriodicTask.objects.filter(pk=task.pk).update(enabled=False)
    assert planned(task) is None
    PeriodicTask.objects.filter(pk=task.pk).update(enabled=True)
    assert planned(task) is not None


def test_plain_sql_is_seen(make: Make) -> None:
    task = make()
    apply_all_changes()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE django_celery_beat_periodictask SET start_time = %s WHERE id = %s",
            [connection.ops.adapt_datetimefield_value(LATER), task.pk],
        )
    assert planned(task) == LATER


def test_a_changed_rule_is_seen_by_all_schedules_that_share_it(make: Make) -> None:
    rule = CrontabSchedule.objects.create(minute="0", hour="0", timezone="UTC")
    tasks = [make(f"shares {number}", crontab=rule) for number in range(3)]
    apply_all_changes()
    CrontabSchedule.objects.filter(pk=rule.pk).update(minute="30", month_of_year="1")
    for task in tasks:
        when = planned(task)
        assert when is not None
        assert (when.month, when.minute) == (1, 30)


@pytest.mark.parametrize("by", ["delete()", "queryset", "SQL"])
def test_a_deleted_schedule_leaves_nothing_behind(make: Make, by: str) -> None:
    task = make()
    apply_all_changes()
    schedule = Schedule.objects.get(pk=task.pk)
    now = database_now()
    Fire.objects.create(schedule=schedule, scheduled_for=now, fire_at=now)
    if by == "delete()":
        task.delete()
    elif by == "queryset":
        PeriodicTask.objects.filter(pk=task.pk).delete()
    else:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_celery_beat_periodictask WHERE id = %s", [task.pk])
    apply_all_changes()
    assert not Schedule.objects.exists()
    assert not Fire.objects.exists()


def test_a_change_that_moves_nothing_is_not_noted(make: Make) -> None:
    task = make()
    apply_all_changes()
    PeriodicTask.objects.filter(pk=task.pk).update(description="other words", total_run_count=7)
    task.refresh_from_db()
    task.save()
    assert not Change.objects.exists()


def test_a_rolled_back_change_is_not_noted(make: Make) -> None:
    with transaction.atomic():
        make()
        transaction.set_rollback(True)
    assert not Change.objects.exists()


def test_a_resumed_schedule_does_not_catch_up_unless_it_shall(make: Make) -> None:
    for catches_up in (False, True):
        task = make(f"catches up: {catches_up}")
        apply_all_changes()
        make_due(task, 3600, catch_up_on_resume=catches_up)
        PeriodicTask.objects.filter(pk=task.pk).update(enabled=False)
        apply_all_changes()
        PeriodicTask.objects.filter(pk=task.pk).update(enabled=True)
        when = planned(task)
        assert when is not None
        assert (when < database_now()) == catches_up


def test_a_first_enabling_does_not_fire_for_the_past(make: Make) -> None:
    task = make(enabled=False)
    PeriodicTask.objects.filter(pk=task.pk).update(date_changed=LATER - timedelta(days=9000))
    assert planned(task) is None
    PeriodicTask.objects.filter(pk=task.pk).update(enabled=True)
    when = planned(task)
    assert when is not None
    assert when > database_now()


def test_a_schedule_that_ran_elsewhere_before_goes_on_from_its_last_run(make: Make) -> None:
    last_run = database_now() - timedelta(seconds=7)
    assert planned(make(last_run_at=last_run)) == last_run + timedelta(seconds=10)


def test_a_moment_that_has_just_passed_still_fires(make: Make) -> None:
    at = database_now() - timedelta(seconds=1)
    clocked = ClockedSchedule.objects.create(clocked_time=at)
    assert planned(make(clocked=clocked, one_off=True)) == at


def test_a_changed_interval_keeps_time_with_the_last_due_time(make: Make) -> None:
    task = make()
    apply_all_changes()
    make_due(task, -9.0)  # last due a second ago
    last_due = Schedule.objects.get(pk=task.pk).answered_until
    assert last_due is not None
    type(task.interval).objects.filter(pk=task.interval_id).update(every=60)
    assert planned(task) == last_due + timedelta(seconds=60)


def test_an_impossible_rule_is_quarantined_and_the_others_go_on(make: Make) -> None:
    never = CrontabSchedule.objects.create(day_of_month="31", month_of_year="2")
    bad, good = make("never", crontab=never), make("good")
    assert planned(bad) is None
    assert planned(good) is not None
    assert "never occurs" in Schedule.objects.get(pk=bad.pk).quarantine_reason


def test_a_change_ends_a_quarantine(make: Make, app: object) -> None:
    task = make(args="no JSON")
    apply_all_changes()
    make_due(task)
    tick(app)
    assert Schedule.objects.get(pk=task.pk).quarantined_at is not None
    PeriodicTask.objects.filter(pk=task.pk).update(args="[]")
    assert planned(task) is not None


def test_many_may_apply_changes_at_once(make: Make) -> None:
    task = make()
    Change.objects.bulk_create(
        Change(periodic_task_id=task.pk, changed_at=database_now()) for _ in range(50)
    )
    apply_all_changes()
    assert not Change.objects.exists()
    assert Schedule.objects.count() == 1


def test_the_triggers_can_be_removed_and_made_again(make: Make) -> None:
    triggers.remove(connection)
    make("unseen")
    assert not Change.objects.exists()
    triggers.install(connection)
    make("seen")
    assert Change.objects.count() == 1


def test_housekeeping_mends_what_no_trigger_saw(make: Make) -> None:
    triggers.remove(connection)
    task = make("unseen")
    Schedule.objects.create(pk=987654321)
    triggers.install(connection)
    housekeeping.clean(database_now())
    assert planned(task) is not None
    assert not Schedule.objects.filter(pk=987654321).exists()
