"""What was due before a database was restored runs no second time."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django_celery_beat.models import ClockedSchedule, PeriodicTask

from scheduling import after_restore, claims
from scheduling.clock import database_now
from scheduling.models import Fire, FireStatus, Schedule
from tests.integration.scheduling.conftest import apply_all_changes

pytestmark = pytest.mark.django_db(transaction=True)


def test_schedules_go_on_in_step_and_what_had_not_ended_is_cancelled(
    make: Callable[..., PeriodicTask], due: Callable[..., Schedule]
) -> None:
    stopped = database_now()
    begun = due("begun", seconds_ago=55)
    (running,) = claims.claim_due(stopped - timedelta(seconds=50))
    missed = due("missed", seconds_ago=35)
    every = due("every", seconds_ago=35, policy={"misfire": "all"})
    later = due("later", seconds_ago=-60)
    clocked = ClockedSchedule.objects.create(clocked_time=stopped - timedelta(seconds=20))
    once = make("once", clocked=clocked, one_off=True)
    apply_all_changes()
    assert after_restore.due_until(stopped) == (4, 1)

    assert after_restore.pass_over(stopped) == (4, 1)
    running.refresh_from_db()
    assert running.status == FireStatus.CANCELLED
    for schedule in (missed, every):
        was_due = schedule.next_fire_at
        schedule.refresh_from_db()
        assert was_due is not None
        assert schedule.next_fire_at == was_due + timedelta(seconds=40)
    begun.refresh_from_db()
    assert begun.next_fire_at is not None
    assert begun.next_fire_at > stopped
    assert Schedule.objects.get(pk=later.pk).next_fire_at == later.next_fire_at
    once.refresh_from_db()
    assert not once.enabled
    assert claims.claim_due(stopped) == []
    assert not Fire.objects.filter(finished_at=None).exists()
    assert after_restore.pass_over(stopped) == (0, 0)
