"""What code declared once and declares no longer is told, and removed when somebody says so."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery import Celery
from celery.schedules import crontab
from django.core.management import CommandError, call_command
from django.db import connection
from django_celery_beat.models import PeriodicTask

from notifications.monitoring.diagnosis import schedules as diagnosis
from scheduling import jobs
from scheduling.entry import Entry
from scheduling.models import Origin, Schedule
from scheduling.scheduler import Scheduler

pytestmark = pytest.mark.django_db(transaction=True)

YEARLY = {"task": "jobs.note", "schedule": crontab("0", "0", day_of_month="1", month_of_year="1")}
CLEANUP = "celery.backend_cleanup"


@pytest.fixture
def start(app: Celery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Scheduler]]:
    """Start a scheduler whose code declares these entries and jobs."""

    def begin(*entries: str, declared: tuple[str, ...] = ()) -> Scheduler:
        app.conf.beat_schedule = dict.fromkeys(entries, YEARLY)
        monkeypatch.setattr(jobs, "_declared", {})
        for name in declared:
            jobs.job(name=name, cron="0 0 1 1 *")(app.tasks["jobs.note"])
        return Scheduler(app=app)

    before = app.conf.beat_schedule
    yield begin
    app.conf.beat_schedule = before


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("scheduling")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def names() -> set[str]:
    return {*PeriodicTask.objects.values_list("name", flat=True)} - {CLEANUP}


def told() -> str:
    return " ".join(finding.problem for finding in diagnosis.undeclared())


def test_what_was_taken_out_of_the_code_is_told_and_removed_by_a_command(
    start: Callable[..., Scheduler],
    make: Callable[..., PeriodicTask],
    log: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make("a person's")
    jobs.allow("jobs.note")
    jobs.register("registered", "jobs.note", "0 0 1 1 *")
    start("stays", "goes", "returns", "kept", declared=("job stays", "job goes"))
    before = names()
    assert told() == ""
    assert "no longer declares" not in log.text
    start("stays", declared=("job stays",))
    gone = {"goes", "returns", "kept", "job goes"}
    for name in gone:
        assert name in told()
        assert name in log.text
    start("stays", "returns", declared=("job stays",))
    assert "returns" not in told()
    call_command("prune_schedules", "--dry-run")
    assert {*capsys.readouterr().out.split("\n")[:3]} == {"goes", "job goes", "kept"}
    assert names() == before
    with pytest.raises(CommandError, match="delete 3 schedules and their fires"):
        call_command("prune_schedules")  # where nobody can be asked
    assert names() == before
    call_command("prune_schedules", "--keep", "kept", "--no-input")
    assert names() == before - {"goes", "job goes"}
    assert told() == ""
    start("stays", "returns", declared=("job stays",))
    assert told() == ""  # nor is the kept one listed again
    with pytest.raises(CommandError, match="stays"):
        call_command("prune_schedules", "--keep", "stays", "--no-input")


def test_what_an_earlier_version_declared_is_never_removed(
    start: Callable[..., Scheduler],
) -> None:
    start("old", "still there", declared=("old job",))
    Schedule.objects.update(origin=Origin.UNKNOWN, definition=None)
    start("still there")
    assert told() == ""
    call_command("prune_schedules")
    assert names() == {"old", "still there", "old job"}
    start()
    assert "still there" in told()


def test_a_job_that_code_registers_from_now_on_is_no_longer_undeclared(
    start: Callable[..., Scheduler],
) -> None:
    start("moved", declared=("moved job",))
    start()
    jobs.allow("jobs.note")
    for name in ("moved", "moved job"):
        jobs.register(name, "jobs.note", "0 0 1 1 *")
    start()
    call_command("prune_schedules")
    assert names() == {"moved", "moved job"}


def test_of_two_schedulers_that_make_an_entry_at_once_the_second_takes_its_row(
    app: Celery,
    start: Callable[..., Scheduler],
    log: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other makes the entry between this one's look for the row and its insert."""
    check = PeriodicTask.validate_unique
    raced: list[str] = []

    def make_elsewhere() -> None:
        Entry.from_entry("raced", app=app, **YEARLY)
        connection.close()

    def lose_the_race(task: PeriodicTask, *args: object, **kwargs: object) -> None:
        if task.name == "raced" and not raced:
            raced.append(task.name)
            with ThreadPoolExecutor(1) as other:
                other.submit(make_elsewhere).result()
        check(task, *args, **kwargs)

    monkeypatch.setattr(PeriodicTask, "validate_unique", lose_the_race)
    start("raced")
    assert raced
    assert PeriodicTask.objects.filter(name="raced").count() == 1
    assert "ValidationError" not in log.text
