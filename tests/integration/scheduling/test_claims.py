"""Each due time is claimed once, and its policies are kept."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from celery import Celery
from django.db import connection, connections, transaction
from django_celery_beat.models import ClockedSchedule, IntervalSchedule, PeriodicTask

from scheduling import claims, ledger
from scheduling.clock import database_now
from scheduling.models import Fire, FireStatus, Schedule
from tests.integration.scheduling.conftest import apply_all_changes, make_due, tick

pytestmark = pytest.mark.django_db(transaction=True)

Make = Callable[..., PeriodicTask]
Due = Callable[..., Schedule]


def statuses(schedule: Schedule) -> list[str]:
    fires = Fire.objects.filter(schedule=schedule).order_by("scheduled_for")
    return list(fires.values_list("status", flat=True))


def test_a_claimed_fire_is_not_claimed_twice(due: Due) -> None:
    due()
    now = database_now()
    assert len(claims.claim_due(now)) == 1
    assert claims.claim_due(now) == []


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="its test database is one connection")
def test_many_schedulers_at_once_claim_each_fire_once(make: Make) -> None:
    model = make("first")
    PeriodicTask.objects.bulk_create(
        PeriodicTask(name=f"bulk {number}", task="jobs.note", interval=model.interval)
        for number in range(400)
    )
    apply_all_changes()
    now = database_now()
    Schedule.objects.update(answered_until=now - timedelta(seconds=10), next_fire_at=now)

    def claim_all(_: int) -> int:
        claimed = 0
        try:
            while fires := claims.claim_due(now, limit=7):
                claimed += len(fires)
        finally:
            connections.close_all()
        return claimed

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim_all, range(8))) == 401
    assert Fire.objects.count() == 401
    assert set(PeriodicTask.objects.values_list("total_run_count", flat=True)) == {1}


def test_a_due_time_that_has_fired_does_not_fire_again_when_its_clock_is_put_back(
    due: Due, app: Celery
) -> None:
    schedule = due()
    tick(app)
    make_due(schedule.periodic_task, 0)
    Schedule.objects.filter(pk=schedule.pk).update(
        answered_until=schedule.answered_until, next_fire_at=schedule.next_fire_at
    )
    assert claims.claim_due(database_now()) == []
    assert Fire.objects.count() == 1


def test_the_next_fire_is_counted_from_the_due_time_and_not_from_now(due: Due) -> None:
    schedule = due(seconds_ago=3)
    was_due = schedule.next_fire_at
    claims.claim_due(database_now())
    schedule.refresh_from_db()
    assert was_due is not None
    assert schedule.next_fire_at == was_due + timedelta(seconds=10)


def test_what_was_missed_follows_the_misfire_policy(due: Due, app: Celery) -> None:
    latest = due("latest", 35)
    skip = due("skip", 38, {"misfire": "skip", "grace_seconds": 5})
    everything = due("all", 35, {"misfire": "all", "misfire_cap": 3})
    tick(app)
    assert statuses(latest) == ["dispatched"]
    assert statuses(skip) == ["skipped_misfire"]
    assert statuses(everything) == ["dispatched"] * 3


def test_last_run_and_run_count_are_kept_in_the_same_transaction(due: Due) -> None:
    schedule = due()
    now = database_now()
    claims.claim_due(now)
    schedule.periodic_task.refresh_from_db()
    assert schedule.periodic_task.total_run_count == 1
    assert schedule.periodic_task.last_run_at == now


def test_a_schedule_whose_run_count_is_at_its_end_goes_on(due: Due) -> None:
    schedule = due()
    PeriodicTask.objects.update(total_run_count=2**31 - 1)
    assert len(claims.claim_due(database_now())) == 1
    schedule.refresh_from_db()
    assert schedule.next_fire_at is not None  # it is not in quarantine
    assert schedule.periodic_task.total_run_count == 2**31 - 1


def test_a_one_off_is_done_as_soon_as_it_fires(make: Make, app: Celery) -> None:
    clocked = ClockedSchedule.objects.create(clocked_time=database_now())
    task = make(clocked=clocked, one_off=True)
    assert len(tick(app)) == 1
    task.refresh_from_db()
    assert not task.enabled
    assert tick(app) == []


def test_a_one_off_that_is_enabled_again_without_a_new_time_does_not_fire_again(
    make: Make, app: Celery
) -> None:
    clocked = ClockedSchedule.objects.create(clocked_time=database_now())
    task = make(clocked=clocked, one_off=True)
    tick(app)
    tick(app)
    PeriodicTask.objects.filter(pk=task.pk).update(enabled=True)
    assert tick(app) == []
    assert Fire.objects.count() == 1


def test_an_expired_schedule_is_disabled_and_does_not_fire(make: Make, app: Celery) -> None:
    task = make(expires=database_now() - timedelta(seconds=1))
    tick(app)
    apply_all_changes()
    assert Schedule.objects.get(pk=task.pk).next_fire_at is None
    assert not Fire.objects.exists()


def test_a_schedule_is_disabled_when_it_expires_before_its_next_fire(make: Make) -> None:
    task = make(expires=database_now() + timedelta(seconds=2))
    apply_all_changes()
    schedule = Schedule.objects.get(pk=task.pk)
    assert schedule.next_fire_at == task.expires + timedelta(microseconds=1)
    claims.claim_due(task.expires + timedelta(seconds=1))
    task.refresh_from_db()
    assert not task.enabled


def test_a_schedule_paused_behind_the_schedulers_back_does_not_fire(due: Due) -> None:
    schedule = due()
    PeriodicTask.objects.filter(pk=schedule.pk).update(enabled=False)
    assert claims.claim_due(database_now()) == []


def test_a_row_that_breaks_in_mid_claim_is_quarantined_and_the_others_fire(due: Due) -> None:
    bad, good = due("bad"), due("good")
    interval = IntervalSchedule.objects.create(every=0, period="seconds")
    PeriodicTask.objects.filter(pk=bad.pk).update(interval=interval)
    assert [fire.schedule_id for fire in claims.claim_due(database_now())] == [good.pk]
    bad.refresh_from_db()
    assert "not above zero" in bad.quarantine_reason


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="it has no row locks")
def test_a_schedule_that_somebody_edits_is_left_to_them_and_stops_no_other(due: Due) -> None:
    edited, other = due("edited"), due("other")
    with transaction.atomic():
        PeriodicTask.objects.select_for_update().get(pk=edited.pk)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(_claimed_elsewhere).result(30) == [other.pk]
    assert [fire.schedule_id for fire in claims.claim_due(database_now())] == [edited.pk]


def _claimed_elsewhere() -> list[int]:
    try:
        return [fire.schedule_id for fire in claims.claim_due(database_now())]
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        ("allow", ["running", "dispatched", "dispatched"]),
        ("skip", ["running", "skipped_overlap", "skipped_overlap"]),
        ("queue", ["running", "waiting", "skipped_overlap"]),
    ],
)
def test_an_overlapping_fire_follows_its_policy(
    due: Due, app: Celery, overlap: str, expected: list[str]
) -> None:
    schedule = due(policy={"overlap": overlap})
    (fire,) = tick(app)
    ledger.begin(fire.pk, "worker")
    for seconds_ago in (0.09, 0.05):
        make_due(schedule.periodic_task, seconds_ago)
        tick(app)
    assert statuses(schedule) == expected


def test_a_waiting_fire_runs_when_the_one_before_it_ends(due: Due, app: Celery) -> None:
    schedule = due(policy={"overlap": "queue"})
    (first,) = tick(app)
    attempt = ledger.begin(first.pk, "worker")
    make_due(schedule.periodic_task, 0.05)
    assert tick(app) == []
    assert attempt == 1
    ledger.succeed(first.pk, attempt)
    assert [fire.status for fire in tick(app)] == [FireStatus.CLAIMED]
    assert statuses(schedule) == ["succeeded", "dispatched"]


def test_a_machine_whose_clock_is_wrong_claims_nothing_early(
    due: Due, monkeypatch: pytest.MonkeyPatch, app: Celery
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no clock but the machine's")
    due(seconds_ago=-5)
    real_now = database_now()
    monkeypatch.setattr("django.utils.timezone.now", lambda: real_now + timedelta(hours=1))
    assert tick(app) == []
