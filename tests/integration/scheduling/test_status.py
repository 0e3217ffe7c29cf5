from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from django.core.management import CommandError, call_command

from scheduling import housekeeping, ledger, liveness, status
from scheduling.clock import database_now
from scheduling.liveness import Pulse
from scheduling.models import Fire, FireStatus, Schedule, SchedulerProcess
from tests.integration.scheduling.conftest import tick

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_status_tells_what_happens(due: Callable[..., Schedule], app: Celery) -> None:
    due("runs")
    due("late", 68, {"misfire": "skip", "grace_seconds": 5})
    due("broken", args="no JSON")
    for fire in tick(app):
        ledger.begin(fire.pk, "worker")
    housekeeping.Housekeeping().tick()
    read = status.read()
    assert read.live_schedulers == 1
    assert (read.running, read.quarantined, read.skipped, read.due_backlog) == (1, 1, 1, 0)
    assert read.fires_by_status[FireStatus.FAILED] == 1
    assert read.lateness_p50 is not None
    assert 0 < read.lateness_p50 < 60


def test_an_empty_system_has_a_status() -> None:
    read = status.read()
    assert (read.live_schedulers, read.lateness_p99) == (0, None)
    assert set(read.fires_by_status.values()) == {0}


def test_a_scheduler_that_is_not_seen_any_more_is_not_alive() -> None:
    housekeeping.Housekeeping().tick()
    later = database_now() + housekeeping.LIVE
    assert housekeeping.live_schedulers(database_now()) == [housekeeping.process_name()]
    assert housekeeping.live_schedulers(later) == []
    housekeeping.clean(later + housekeeping.PROCESSES_KEPT)
    assert not SchedulerProcess.objects.exists()


def test_ended_fires_are_deleted_after_their_retention_and_others_never(
    due: Callable[..., Schedule], settings: Any
) -> None:
    settings.SCHEDULING_FIRES_KEPT_DAYS = 7
    schedule = due()
    now = database_now()
    for days, ended in ((8, True), (6, True), (9, False)):
        moment = now - timedelta(days=days)
        Fire.objects.create(
            schedule=schedule,
            scheduled_for=moment,
            fire_at=moment,
            finished_at=moment if ended else None,
        )
    assert not housekeeping.clean(now)
    left = Fire.objects.order_by("scheduled_for").values_list("finished_at", flat=True)
    assert list(left) == [None, now - timedelta(days=6)]


def test_a_scheduler_whose_loop_hangs_is_seen_as_hung_and_fails_its_probe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(CommandError, match="No scheduler"):
        call_command("scheduler_health")
    moving = Pulse()
    monkeypatch.setattr(housekeeping, "pulse", moving)
    moving.pause("fires", 0.5)
    housekeeping.Housekeeping().tick()
    call_command("scheduler_health")
    assert status.read().hung_schedulers == 0
    moving.pause("fires", -liveness.HUNG.total_seconds())  # it should have moved that long ago
    housekeeping.Housekeeping().tick()
    assert status.read().hung_schedulers == status.read().live_schedulers == 1
    with pytest.raises(CommandError, match="hangs"):
        call_command("scheduler_health")
    call_command("scheduler_health", "--seconds", "300")


def test_failed_runs_and_streaks_are_in_the_status(due: Callable[..., Schedule]) -> None:
    schedule = due()
    moment = database_now()
    Fire.objects.create(
        schedule=schedule, scheduled_for=moment, fire_at=moment, status="failed", cause="c"
    )
    Schedule.objects.update(failed_in_a_row=3, skipped_in_a_row=5)
    read = status.read()
    assert (read.failed_runs, read.failing, read.skipping) == (1, 1, 1)
