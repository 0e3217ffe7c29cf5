"""Real schedulers and workers, started as an operator starts them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django_celery_beat.models import PeriodicTask

from scheduling import jobs, status
from scheduling.clock import database_now
from scheduling.models import Fire, FireStatus, Schedule, SchedulerProcess
from tests.integration.scheduling.jobs_app import RUNS
from tests.servers.postgres import PostgresServer
from tests.servers.processes import Processes, RunningProcess

pytestmark = pytest.mark.django_db(transaction=True)

APP = "tests.integration.scheduling.jobs_app"
Wait = Callable[..., Any]


@pytest.fixture
def runs(processes: Processes, tmp_path: Path) -> Path:
    """Give the file to which each run adds a line."""
    path = tmp_path / "runs"
    path.touch()
    processes.env[RUNS] = str(path)
    return path


@pytest.fixture
def start(processes: Processes, runs: Path) -> Callable[[str], RunningProcess]:
    def start_one(kind: str) -> RunningProcess:
        options = {"worker": ("-c", "1", "-Q", "jobs"), "beat": ()}[kind]
        process = processes.start(kind, "celery", "-A", APP, kind, "-l", "info", *options)
        process.wait_for_output({"worker": " ready.", "beat": "beat: Starting..."}[kind])
        return process

    return start_one


def fire_of(name: str) -> Fire:
    return Fire.objects.get(schedule__periodic_task__name=name)


def test_what_became_of_each_run_is_recorded(
    start: Callable[[str], RunningProcess], wait_until: Wait, runs: Path
) -> None:
    jobs.allow("jobs.note", "jobs.fail", "jobs.sleep")
    soon = database_now()
    jobs.register("good", "jobs.note", soon, args=["hello"])
    jobs.register("bad", "jobs.fail", soon, retries=1, retry_backoff=0)
    jobs.register("slow", "jobs.sleep", soon, args=[60], timeout=1)
    start("worker")
    start("beat")
    wait_until(lambda: Fire.objects.filter(finished_at__isnull=False).count() == 3)
    good, bad, slow = fire_of("good"), fire_of("bad"), fire_of("slow")
    assert (good.status, good.attempt) == (FireStatus.SUCCEEDED, 1)
    assert None not in {good.dispatched_at, good.started_at, good.finished_at, good.lateness}
    assert good.worker
    assert f"{good.pk} hello" in runs.read_text()
    assert (bad.status, bad.attempt) == (FireStatus.FAILED, 2)
    assert bad.error == "ValueError: this job always fails"
    assert slow.status == FireStatus.FAILED
    assert "SoftTimeLimitExceeded" in slow.error


def test_a_run_whose_worker_is_killed_is_run_again_elsewhere(
    start: Callable[[str], RunningProcess], wait_until: Wait, runs: Path
) -> None:
    jobs.allow("jobs.sleep")
    jobs.register("interrupted", "jobs.sleep", database_now(), args=[3])
    victim = start("worker")
    start("beat")
    wait_until(lambda: "begin" in runs.read_text())
    victim.kill()
    assert fire_of("interrupted").status == FireStatus.RUNNING
    Fire.objects.update(due_at=database_now())  # its heartbeat has not come for too long
    start("worker")
    wait_until(lambda: fire_of("interrupted").status == FireStatus.SUCCEEDED)
    assert fire_of("interrupted").attempt == 2
    assert runs.read_text().count("begin") == 2


def test_a_change_made_while_schedulers_run_takes_effect(
    start: Callable[[str], RunningProcess], wait_until: Wait
) -> None:
    for _ in range(2):
        start("beat")
    wait_until(lambda: status.read().live_schedulers == 2)
    jobs.allow("jobs.note")
    task = jobs.register("every second", "jobs.note", 1)
    wait_until(lambda: Fire.objects.count() >= 2)
    PeriodicTask.objects.filter(pk=task.pk).update(enabled=False)
    wait_until(lambda: Schedule.objects.get(pk=task.pk).next_fire_at is None)
    due_times = list(Fire.objects.values_list("scheduled_for", flat=True))
    assert len(due_times) == len(set(due_times))


@pytest.mark.parametrize("moment", [0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2])
def test_sigterm_at_any_moment_of_its_start_ends_a_scheduler_in_order(
    processes: Processes, moment: float
) -> None:
    scheduler = processes.start("beat", "celery", "-A", APP, "beat", "-l", "info")
    while "beat: Starting..." not in scheduler.output():
        time.sleep(0.001)
    time.sleep(moment)
    scheduler.terminate()
    assert scheduler.wait() == 0
    assert "Traceback" not in scheduler.output()


def test_sigterm_ends_a_scheduler_in_order(
    start: Callable[[str], RunningProcess], wait_until: Wait
) -> None:
    scheduler = start("beat")
    wait_until(SchedulerProcess.objects.exists)
    scheduler.terminate()
    assert scheduler.wait() == 0
    assert "Traceback" not in scheduler.output()


def test_a_scheduler_goes_on_after_a_database_restart(
    migrated_postgres_server: PostgresServer, processes: Processes, runs: Path, wait_until: Wait
) -> None:
    processes.env["DATABASE_URL"] = migrated_postgres_server.url
    with psycopg.connect(migrated_postgres_server.url) as database:
        database.execute(
            "INSERT INTO django_celery_beat_intervalschedule (every, period) VALUES (1, 'seconds')"
        )
        database.execute(
            "INSERT INTO django_celery_beat_periodictask (name, task, interval_id, args, kwargs,"
            " headers, one_off, enabled, total_run_count, date_changed, description) SELECT"
            " 'job', 'jobs.note', id, '[]', '{}', '{}', false, true, 0, now(), ''"
            " FROM django_celery_beat_intervalschedule"
        )

    def fires() -> int:
        with psycopg.connect(migrated_postgres_server.url) as database:
            row = database.execute(
                "SELECT count(*) FROM scheduling_fire WHERE dispatched_at IS NOT NULL"
            ).fetchone()
        assert row is not None
        return int(row[0])

    beat = processes.start("beat", "celery", "-A", APP, "beat", "-l", "info")
    wait_until(lambda: fires() > 1)
    migrated_postgres_server.kill()
    beat.wait_for_output("The database failed")
    migrated_postgres_server.start()
    before = fires()
    wait_until(lambda: fires() > before + 1)
