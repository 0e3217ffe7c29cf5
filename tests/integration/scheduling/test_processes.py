"""Real schedulers and workers, started as an operator starts them."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from celery import Celery
from django.db import connection
from django.db.models import F
from django_celery_beat.models import PeriodicTask

from scheduling import failures, jobs, recovery, status, waits
from scheduling.clock import database_now
from scheduling.messages import FIRE_HEADER
from scheduling.models import Fire, FireStatus, Schedule, SchedulerProcess
from tests.integration.scheduling.conftest import tick
from tests.integration.scheduling.jobs_app import RUNS
from tests.servers.postgres import PostgresServer
from tests.servers.processes import Processes, RunningProcess

pytestmark = pytest.mark.django_db(transaction=True)

APP = "tests.integration.scheduling.jobs_app"
Wait = Callable[..., Any]


@pytest.fixture
def runs(processes: Processes, tmp_path: Path) -> Path:
    """Return the file to which each run adds a line."""
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


def test_what_became_of_each_run_is_recorded_and_what_failed_is_replayed(
    start: Callable[[str], RunningProcess], wait_until: Wait, runs: Path
) -> None:
    jobs.allow("jobs.note", "jobs.fail", "jobs.sleep")
    soon = database_now()
    jobs.register("good", "jobs.note", soon, args=["hello"])
    for name in ("bad", "bad too", "bad as well"):
        jobs.register(name, "jobs.fail", soon, retries=1, retry_backoff=0)
    jobs.register("slow", "jobs.sleep", soon, args=[60], timeout=1)
    start("worker")
    start("beat")
    ended = Fire.objects.filter(finished_at__isnull=False)
    wait_until(lambda: ended.count() == 5)
    good, bad, slow = fire_of("good"), fire_of("bad"), fire_of("slow")
    assert (good.status, good.attempt) == (FireStatus.SUCCEEDED, 1)
    assert None not in {good.dispatched_at, good.started_at, good.finished_at, good.lateness}
    assert good.worker
    assert f"{good.pk} hello" in runs.read_text()
    assert (bad.status, bad.attempt) == (FireStatus.FAILED, 2)
    assert bad.error == "ValueError: this job always fails"
    assert slow.status == FireStatus.FAILED
    assert "SoftTimeLimitExceeded" in slow.error
    mended = PeriodicTask.objects.filter(name__startswith="bad")
    mended.update(task="jobs.note", args='["mended"]')
    replays = [failures.replay(bad.pk)]
    replays += failures.replay_cause(bad.cause)
    wait_until(lambda: ended.count() == 8)
    ran = Fire.objects.filter(pk__in=[fire.pk for fire in replays])
    assert [fire.status for fire in ran] == [FireStatus.SUCCEEDED] * 3
    assert {fire.schedule_id for fire in ran} == {task.pk for task in mended}
    assert all(f"{fire.pk} mended" in runs.read_text() for fire in ran)
    assert [fire.pk for fire in failures.open_ones()] == [slow.pk]


# How a run ends, and what then becomes of its fire: its status, attempts and a part of its error.
ENDS = {
    "return": ("succeeded", 1, ""),
    "raise": ("failed", 1, "ZeroDivisionError"),
    "be out of memory": ("failed", 1, "MemoryError"),
    "ignore": ("handed_over", 1, "Ignore"),
    "reject": ("failed", 1, "nobody shall do it"),
    "reject once": ("succeeded", 2, ""),
    "replace": ("handed_over", 1, "replaced"),
    "replace by a group": ("handed_over", 1, "replaced"),
    "retry": ("succeeded", 2, ""),
    "retry at": ("succeeded", 2, ""),
    "exit": ("failed", 1, "SystemExit"),
    "die": ("lost", 1, ""),
    "hang": ("failed", 1, "TimeLimitExceeded"),
    "be revoked": ("cancelled", 1, "was revoked"),
    "return what cannot be stored": ("failed", 1, "EncodeError"),
}


def test_each_way_to_end_a_run_ends_its_fire(
    app: Celery, start: Callable[[str], RunningProcess], wait_until: Wait, runs: Path
) -> None:
    jobs.allow("jobs.end")
    soon = database_now()
    for way in [*ENDS, "retry late"]:
        once = way in {"exit", "die"}
        jobs.register(
            way,
            "jobs.end",
            soon,
            args=[way],
            overlap="skip",
            guarantee="at_most_once" if once else "at_least_once",
            timeout=1 if way == "hang" else None,
        )
    worker = start("worker")
    start("beat")
    wait_until(lambda: "be revoked" in runs.read_text())
    app.control.revoke(str(fire_of("be revoked").pk), terminate=True)
    ended = Fire.objects.filter(finished_at__isnull=False)
    died = Fire.objects.filter(schedule__periodic_task__name="die", status=FireStatus.RUNNING)
    # Its message comes back to the broker, so Celery tells nobody of the death.
    wait_until(lambda: ended.count() == len(ENDS) - 1 and "die" in runs.read_text())
    died.update(due_at=database_now())
    wait_until(lambda: ended.count() == len(ENDS))
    found = {
        fire.schedule.periodic_task.name: fire
        for fire in Fire.objects.select_related("schedule__periodic_task")
    }
    late = found.pop("retry late")
    assert {way: (fire.status, fire.attempt) for way, fire in found.items()} == {
        way: (status, attempt) for way, (status, attempt, _) in ENDS.items()
    }
    for way, (_, _, error) in ENDS.items():
        assert error in found[way].error
    text = runs.read_text()
    assert all(f" {done}\n" in text for done in ("replaced", "one", "two"))
    # The message of a retry is not lost before its ETA, and is after it.
    later = database_now() + waits.UNSTARTED_WAIT
    assert late.status == FireStatus.DISPATCHED
    assert recovery.recover(later + timedelta(seconds=1)) == []
    assert [fire.pk for fire in recovery.recover(later + timedelta(seconds=901))] == [late.pk]
    Fire.objects.filter(pk=late.pk).update(status=FireStatus.DISPATCHED, due_at=late.due_at)
    worker.terminate()
    worker.wait()
    before = runs.read_text()
    start("worker")
    jobs.allow("jobs.note")
    jobs.register("afterwards", "jobs.note", database_now(), args=["afterwards"])
    wait_until(lambda: " afterwards" in runs.read_text())
    assert runs.read_text().startswith(before)
    assert runs.read_text().count("\n") == before.count("\n") + 1  # none of them runs again
    again = {way: Fire.objects.get(pk=jobs.run_now(way)).status for way in [*ENDS, "retry late"]}
    assert again.pop("retry late") == FireStatus.SKIPPED_OVERLAP
    assert FireStatus.SKIPPED_OVERLAP not in again.values()


def test_the_expiry_of_a_message_is_none_of_its_retries(
    start: Callable[[str], RunningProcess], wait_until: Wait, runs: Path
) -> None:
    jobs.allow("jobs.fail", "jobs.retry_later", "jobs.note")
    start("beat")
    worker = start("worker")
    soon = database_now()
    jobs.register("fails", "jobs.fail", soon, retries=1, retry_backoff=4, message_expires=3)
    jobs.register("asks again", "jobs.retry_later", soon, args=[4], message_expires=3)
    wait_until(lambda: Fire.objects.filter(finished_at__isnull=False).count() == 2)
    assert (fire_of("fails").status, fire_of("fails").attempt) == (FireStatus.FAILED, 2)
    assert (fire_of("asks again").status, fire_of("asks again").attempt) == ("succeeded", 2)
    worker.terminate()
    worker.wait()
    jobs.register("nobody takes it", "jobs.note", database_now(), message_expires=1)
    wait_until(Fire.objects.filter(status=FireStatus.DISPATCHED).exists)
    wait_until(lambda: database_now() > fire_of("nobody takes it").fire_at + timedelta(seconds=1))
    start("worker")
    wait_until(lambda: fire_of("nobody takes it").status == FireStatus.SKIPPED_EXPIRED)


BROKEN = {
    "typed JSON": """kwargs = '{"metadata": {"x": {"__type__": "datetime", "__value__": 5}}}'""",
    "headers": "headers = 'null'",
    "zone": "",
    "JSON": "kwargs = '{bad'",
    "start": "start_time = '9999-12-31 23:59:59+00'",
    "infinite start": "start_time = 'infinity'",
    "arguments": """args = '["too", "many", "arguments"]'""",
    "exchange": "exchange = 'shop'",
    "queue": "queue = 'nowhere'",
}


def test_a_scheduler_goes_on_beside_rows_that_are_broken_also_after_its_restart(
    start: Callable[[str], RunningProcess], wait_until: Wait
) -> None:
    jobs.allow("jobs.note")
    for name in BROKEN:
        jobs.register(name, "jobs.note", "* * * * *" if name == "zone" else 1)
    jobs.register("healthy", "jobs.note", 1)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_celery_beat_crontabschedule SET timezone = 'Mars/Base'")
        for name, change in BROKEN.items():
            if change:
                cursor.execute(
                    f"UPDATE django_celery_beat_periodictask SET {change} WHERE name = %s", [name]
                )
    fired = Fire.objects.filter(schedule__periodic_task__name="healthy")
    for _ in range(2):
        before = fired.count()
        scheduler = start("beat")
        wait_until(lambda before=before: fired.count() >= before + 3)
        assert scheduler.returncode is None
        assert scheduler.first_traceback() == ""
        scheduler.terminate()
        assert scheduler.wait() == 0
    broken = Schedule.objects.filter(quarantined_at__isnull=False).exclude(quarantine_reason="")
    names = set(broken.values_list("periodic_task__name", flat=True))
    assert names == BROKEN.keys() - {"start"}  # which can be read, and is due in the year 9999


def test_a_scheduler_of_which_a_loop_hangs_fails_its_probe_and_fires_go_out(
    processes: Processes, runs: Path, wait_until: Wait
) -> None:
    jobs.allow("jobs.note")
    jobs.register("every second", "jobs.note", 1)
    app = "tests.integration.scheduling.hanging_app"
    scheduler = processes.start("beat", "celery", "-A", app, "beat", "-l", "info")
    probe = ("python", "manage.py", "scheduler_health")
    wait_until(
        lambda: SchedulerProcess.objects.filter(
            ticked_at__lt=F("seen_at") - timedelta(seconds=7)
        ).exists()
    )
    stuck = processes.start("probe", *probe, "--seconds", "7")
    assert stuck.wait() == 1
    assert "hangs" in stuck.output()
    assert "tick" in processes.run("probe", *probe, "--seconds", "300")
    fired = Fire.objects.count()
    wait_until(lambda: Fire.objects.count() > fired)
    assert scheduler.returncode is None


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_what_a_worker_knows_runs_and_what_it_cannot_do_fails_with_the_reason(
    processes: Processes, wait_until: Wait, runs: Path, pool: str
) -> None:
    jobs.allow("jobs.note", "jobs.sleep", "jobs.limited", "old.module.gone")
    soon = database_now()
    jobs.register("known to the worker alone", "jobs.note", soon)
    jobs.register("known to nobody", "old.module.gone", soon)
    jobs.register("timed", "jobs.sleep", soon, args=[0], timeout=60)
    jobs.register("limited by its code", "jobs.limited", soon)
    options = ("-c", "2", "-Q", "jobs", "--pool", pool)
    worker = processes.start("worker", "celery", "-A", APP, "worker", *options)
    worker.wait_for_output("cannot end a run that takes too long")
    processes.beat()
    wait_until(lambda: Fire.objects.filter(finished_at__isnull=False).count() == 3)
    wait_until(lambda: fire_of("known to nobody").error)
    assert fire_of("known to the worker alone").status == FireStatus.SUCCEEDED
    for name in ("timed", "limited by its code"):
        assert fire_of(name).status == FireStatus.FAILED
        assert "cannot end a run, so its timeout" in fire_of(name).error
    unknown = fire_of("known to nobody")
    assert unknown.status == FireStatus.CLAIMED  # another worker may know it, for a minute
    assert "knows no task 'old.module.gone'" in unknown.error
    Fire.objects.filter(pk=unknown.pk).update(publishes=9, due_at=database_now())
    wait_until(lambda: fire_of("known to nobody").status == FireStatus.FAILED)


def test_a_message_that_faults_while_it_is_received_costs_that_message_alone(
    app: Celery, start: Callable[[str], RunningProcess], wait_until: Wait, runs: Path
) -> None:
    jobs.allow("jobs.note")
    jobs.register("odd", "jobs.note", database_now())
    (fire,) = tick(app)
    app.control.purge()
    worker = start("worker")
    note = app.tasks["jobs.note"]
    odd: tuple[dict[str, Any], ...] = (
        *({"timelimit": value} for value in (5, [1, 2, 3], "x")),
        *({"expires": 5}, {"eta": [1]}, {"retries": "x"}, {"stamped_headers": 5}),
    )
    own = {FIRE_HEADER: str(fire.pk), "timelimit": 5}
    note.apply_async(args=["odd"], headers=own, task_id=str(fire.pk), queue="jobs")
    for headers in odd:
        note.apply_async(args=["odd"], headers=headers, queue="jobs")
    later = note.apply_async(
        args=["odd later"], headers={"timelimit": 5}, countdown=0.5, queue="jobs"
    )
    worker.wait_for_output(f"error=TypeError id={later.id}")
    note.apply_async(args=["good"], queue="jobs")
    wait_until(lambda: " good" in runs.read_text())
    assert worker.returncode is None  # the same process
    assert fire_of("odd").status == FireStatus.FAILED
    assert "cannot receive its message: TypeError" in fire_of("odd").error


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


def test_sigterm_lets_jobs_end_by_their_timeout_and_gives_the_others_back_at_once(
    processes: Processes, runs: Path, wait_until: Wait, app: Celery
) -> None:
    processes.env |= {"WORKER_SHUTDOWN_GRACE": "0.1", "WORKER_SHUTDOWN_JOBS_GRACE": "4"}
    jobs.allow("jobs.sleep")
    soon = database_now()
    jobs.register("ends", "jobs.sleep", soon, args=[2], timeout=30)
    jobs.register("again", "jobs.sleep", soon, args=[60])
    jobs.register("once", "jobs.sleep", soon, args=[60], guarantee="at_most_once")
    tick(app)
    worker = processes.start("worker", "celery", "-A", APP, "worker", "-c", "3", "-Q", "jobs")
    wait_until(lambda: runs.read_text().count("begin") == 3)
    worker.terminate()
    worker.wait()
    assert (fire_of("ends").status, fire_of("ends").attempt) == (FireStatus.SUCCEEDED, 1)
    again, once = fire_of("again"), fire_of("once")
    assert again.status == FireStatus.CLAIMED
    assert again.due_at is not None
    assert again.due_at < database_now()
    assert once.status == FireStatus.LOST
    assert "was stopped before this run had ended" in once.error
    assert [fire.pk for fire in tick(app)] == [again.pk]
    assert fire_of("again").status == FireStatus.DISPATCHED
    assert "Traceback" not in worker.output()


def test_a_change_made_while_schedulers_run_takes_effect(
    start: Callable[[str], RunningProcess], wait_until: Wait
) -> None:
    for _ in range(2):
        start("beat")
    wait_until(lambda: status.read().live_schedulers == 2)
    jobs.allow("jobs.note")
    jobs.register("every second", "jobs.note", 1)
    task = PeriodicTask.objects.get(name="every second")
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
    beat.wait_for_output("database_away")
    migrated_postgres_server.start()
    before = fires()
    wait_until(lambda: fires() > before + 1)
