"""Whatever a stage of the scheduler raises for one schedule, the others fire in the same tick."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
from celery import Celery
from celery.exceptions import Ignore, Reject
from django.db import DataError, IntegrityError, connection
from redis.exceptions import OutOfMemoryError

from scheduling import (
    changes,
    claims,
    conditions,
    dispatch,
    endings,
    housekeeping,
    ledger,
    message_rows,
    passing_over,
    recovery,
    watch,
)
from scheduling.clock import database_now
from scheduling.models import Change, Fire, FireStatus, Schedule, SchedulerProcess
from scheduling.scheduler import Scheduler
from scheduling.sender import Sender
from tests.integration.scheduling.conftest import lease_ends, queued_messages, run_here, tick

pytestmark = pytest.mark.django_db(transaction=True)

Due = Callable[..., Schedule]
Guilty = Callable[..., bool]

ERRORS = [
    *(ValueError("no"), KeyError("no"), RecursionError(), MemoryError(), AssertionError()),
    *(DataError("no"), UnicodeDecodeError("utf8", b"\0", 0, 1, "no"), SystemExit(1)),
]


def of_schedule(first: Schedule, *_: Any, **__: Any) -> bool:
    return bool(first.periodic_task.name == "bad")


def of_fire(first: Fire, *_: Any, **__: Any) -> bool:
    return bool(first.schedule.periodic_task.name == "bad")


def of_task(first: Any, *_: Any, **__: Any) -> bool:
    return bool(first.name == "bad")


# Where a fault is thrown in, and how to tell whether the call is for the bad schedule.
PLANNING: list[tuple[Any, str, Guilty]] = [
    (changes, "count_from", of_schedule),
    (changes, "timetable_for", of_schedule),
    (changes, "_state", of_schedule),
]
CLAIMING: list[tuple[Any, str, Guilty]] = [
    (claims, "misfire_policy", of_schedule),
    (claims, "plan_next", of_schedule),
    (claims, "_fire", of_schedule),
    (claims, "_fire_row", of_fire),
    (claims, "_is_done", of_schedule),
]
PUBLISHING: list[tuple[Any, str, Guilty]] = [
    (message_rows, "read_json", of_task),
    (dispatch, "message_of", lambda _, fire: of_fire(fire)),
    (Sender, "send", lambda *given: given[-1]["headers"]["periodic_task_name"] == "bad"),
]


def throw(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, guilty: Guilty, error: BaseException
) -> None:
    real = getattr(where, name)

    def faulty(*args: Any, **kwargs: Any) -> Any:
        if guilty(*args, **kwargs):
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(where, name, faulty)


@pytest.fixture
def scheduler(app: Celery) -> Scheduler:
    return Scheduler(app=app, lazy=True)


def status_of(name: str) -> str | None:
    return (
        Fire.objects.filter(schedule__periodic_task__name=name)
        .values_list("status", flat=True)
        .first()
    )


def is_quarantined(name: str) -> bool:
    return (
        Schedule.objects.filter(
            periodic_task__name=name, quarantined_at__isnull=False, next_fire_at=None
        )
        .exclude(quarantine_reason="")
        .exists()
    )


@pytest.mark.parametrize("error", [KeyError("no"), DataError("no")], ids=repr)
@pytest.mark.parametrize("stage", [*PLANNING, *CLAIMING, *PUBLISHING], ids=lambda stage: stage[1])
def test_a_fault_quarantines_its_schedule_and_the_others_fire(
    due: Due,
    scheduler: Scheduler,
    monkeypatch: pytest.MonkeyPatch,
    stage: tuple[Any, str, Guilty],
    error: Exception,
) -> None:
    bad = due("bad")
    for name in ("one", "two", "three"):
        due(name)
    if stage in PLANNING:
        Change.objects.create(periodic_task_id=bad.pk, changed_at=database_now())
    throw(monkeypatch, *stage, error)
    scheduler.do_due()
    assert is_quarantined("bad")
    assert status_of("bad") in {None, FireStatus.FAILED}
    assert {status_of(name) for name in ("one", "two", "three")} == {FireStatus.DISPATCHED}
    assert not is_quarantined("one")
    assert queued_messages() == 3


def test_a_condition_that_raises_fails_its_fire_and_the_others_fire(
    due: Due, scheduler: Scheduler
) -> None:
    def raises(error: BaseException) -> None:
        @conditions.register(f"test.{type(error).__name__}")
        def condition(*_: object) -> bool:
            raise error

    for error in ERRORS:
        raises(error)
        due(type(error).__name__, policy={"condition": f"test.{type(error).__name__}"})
    due("one")
    scheduler.do_due()
    assert status_of("one") == FireStatus.DISPATCHED
    for error in ERRORS:
        name = type(error).__name__
        assert status_of(name) == FireStatus.FAILED
        assert not is_quarantined(name)  # it may say something else the next time


@pytest.mark.parametrize("error", [MemoryError(), IntegrityError("no")], ids=repr)
def test_a_fire_that_cannot_be_recovered_ends_and_the_others_go_out(
    due: Due, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for name in ("bad", "one", "two"):
        due(name)
    claims.claim_due(database_now())  # and then it dies
    Fire.objects.update(due_at=database_now())
    throw(monkeypatch, recovery, "_decide", of_fire, error)
    scheduler.do_due()
    assert status_of("bad") == FireStatus.FAILED
    assert is_quarantined("bad")
    assert {status_of(name) for name in ("one", "two")} == {FireStatus.DISPATCHED}


def test_a_step_that_fails_as_a_whole_stops_neither_the_others_nor_beat(
    due: Due, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = due("one")
    Change.objects.create(periodic_task_id=schedule.pk, changed_at=database_now())
    monkeypatch.setattr(scheduler._tickers, "start", lambda: None)
    throw(monkeypatch, changes, "apply_changes", lambda *_: True, RuntimeError("no"))
    assert scheduler.tick() > 0
    assert status_of("one") == FireStatus.DISPATCHED


@pytest.mark.parametrize(
    "step", ["_forget_processes", "_delete_strays", "_note_unknown", "_delete_old_fires"]
)
def test_a_step_of_housekeeping_that_fails_stops_no_other(
    due: Due, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(_: object) -> int:
        raise KeyError("no")

    fail.__name__ = step
    long_ago = database_now().replace(year=2001)
    schedule = due("one")
    fire = {"schedule": schedule, "fire_at": long_ago, "finished_at": long_ago}
    Fire.objects.create(scheduled_for=long_ago, **fire)
    SchedulerProcess.objects.create(name="old", started_at=long_ago, seen_at=long_ago)
    Schedule.objects.bulk_create([Schedule(pk=987654321)])
    monkeypatch.setattr(housekeeping, step, fail)
    housekeeping.clean(database_now())
    left = {
        "_forget_processes": SchedulerProcess.objects.filter(name="old").exists(),
        "_delete_strays": Schedule.objects.filter(pk=987654321).exists(),
        "_delete_old_fires": Fire.objects.filter(scheduled_for=long_ago).exists(),
    }
    assert {name for name, is_left in left.items() if is_left} == {step} & left.keys()


def end_by(error: BaseException) -> NoReturn:
    raise error


WAYS_TO_END: list[tuple[str, Callable[[], Any]]] = [
    ("succeed", lambda: None),
    ("fail", lambda: end_by(ValueError("no"))),
    ("leave", lambda: end_by(Ignore())),
    ("return_to_queue", lambda: end_by(Reject("no", requeue=True))),
]


@pytest.mark.parametrize(("verb", "way"), WAYS_TO_END, ids=["return", "raise", "ignore", "reject"])
@pytest.mark.parametrize("guarantee", ["at_least_once", "at_most_once"])
def test_a_run_whose_end_faults_as_it_is_written_is_an_orphan_and_the_others_end(
    due: Due,
    app: Celery,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    way: Callable[[], Any],
    guarantee: str,
) -> None:
    for name in ("bad", "one"):
        due(name, task="jobs.here", policy={"guarantee": guarantee})
    fires = {fire.schedule.periodic_task.name: fire for fire in tick(app)}
    with monkeypatch.context() as patched:
        throw(patched, ledger, verb, lambda *_, **__: True, KeyError("no"))
        run_here(fires["bad"], way)
    run_here(fires["one"], lambda: None)
    assert status_of("one") == FireStatus.SUCCEEDED
    assert not endings.heartbeat.has(fires["bad"].pk)  # so it is silent
    for _ in range(2):
        lease_ends()
        tick(app)
    again = guarantee == "at_least_once"
    assert status_of("bad") == (FireStatus.DISPATCHED if again else FireStatus.LOST)


TROUBLE = """
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF {} THEN RAISE EXCEPTION 'no' USING ERRCODE = '53100'; END IF; RETURN NEW; END $$;
CREATE TRIGGER trouble BEFORE {} ON {} FOR EACH ROW EXECUTE FUNCTION trouble();
"""


@pytest.fixture
def trouble() -> Iterator[Callable[[str, str, str], None]]:
    """Have each write of a row that meets a condition answer that the disk is full."""

    def begin(event: str, table: str, when: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(TROUBLE.format(when, event, table))

    yield begin
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION IF EXISTS trouble CASCADE")


@pytest.mark.parametrize(
    ("event", "table", "when", "ended"),
    [
        ("INSERT", "scheduling_fire", "NEW.schedule_id = {}", True),
        ("UPDATE", "scheduling_fire", "NEW.schedule_id = {}", False),
        ("UPDATE", "scheduling_schedule", "NEW.periodic_task_id = {}", False),
        ("UPDATE", "django_celery_beat_periodictask", "NEW.id = {}", True),
    ],
    ids=["no fire", "no end of a fire", "no state", "no count"],
)
def test_a_row_for_which_the_database_seems_to_be_out_costs_its_schedule_only(
    due: Due,
    scheduler: Scheduler,
    trouble: Callable[[str, str, str], None],
    event: str,
    table: str,
    when: str,
    ended: bool,
) -> None:
    bad = due("bad")
    for name in ("one", "two", "three"):
        due(name)
    trouble(event, table, when.format(bad.pk))
    for _ in range(2):
        scheduler.do_due()
        Fire.objects.filter(status=FireStatus.CLAIMED).exclude(schedule=bad).update(
            due_at=database_now()
        )
    assert {status_of(name) for name in ("one", "two", "three")} == {FireStatus.DISPATCHED}
    assert is_quarantined("bad") is ended
    assert watch.database.outage is None
    if table == "scheduling_schedule":
        assert scheduler.do_due() > 0.1  # it rests: what is passed over is not due
        passing_over.forget()
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION trouble CASCADE")
        scheduler.do_due()
        assert status_of("bad") == FireStatus.DISPATCHED


@pytest.mark.parametrize("table", ["scheduling_fire", "scheduling_schedule"])
def test_a_forgotten_fire_that_takes_no_write_keeps_no_other(
    due: Due, scheduler: Scheduler, trouble: Callable[[str, str, str], None], table: str
) -> None:
    for name in ("bad", "one", "two"):
        due(name)
    claims.claim_due(database_now())  # and then it dies
    Fire.objects.update(due_at=database_now())
    bad = Schedule.objects.get(periodic_task__name="bad").pk
    column = {"scheduling_fire": "schedule_id", "scheduling_schedule": "periodic_task_id"}[table]
    trouble("UPDATE", table, f"NEW.{column} = {bad}")
    scheduler.do_due()
    assert {status_of(name) for name in ("one", "two")} == {FireStatus.DISPATCHED}


def test_an_outage_quarantines_nobody(
    due: Due, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    due("one")
    throw(monkeypatch, Sender, "send", lambda *_: True, OutOfMemoryError("OOM command not allowed"))
    scheduler.do_due()
    assert status_of("one") == FireStatus.CLAIMED
    assert not is_quarantined("one")


def test_what_a_run_that_was_given_up_writes_late_changes_nothing(
    due: Due, scheduler: Scheduler
) -> None:
    due("one")
    scheduler.do_due()
    fire = Fire.objects.get()
    first = ledger.begin(fire.pk, "a")
    assert first is not None
    Fire.objects.update(due_at=database_now())
    second = ledger.begin(fire.pk, "b")
    before = Fire.objects.values().get()
    assert second == first + 1
    ledger.beat([(fire.pk, first)])
    ledger.fail(fire.pk, first, ValueError("late"))
    ledger.succeed(fire.pk, first)
    assert Fire.objects.values().get() == before
