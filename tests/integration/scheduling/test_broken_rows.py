"""Whatever stands in a row, the others fire on time, and the row says what is wrong with it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from django.db import Error, connection, transaction
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scheduling import ledger
from scheduling.clock import database_now
from scheduling.models import Fire, FireStatus, Schedule
from scheduling.scheduler import FAULT_BACKOFF, Scheduler
from tests.integration.scheduling.conftest import apply_all_changes, lease_ends

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor == 'sqlite'", reason="its columns have no types"),
]

HEALTHY = 50
TABLES = {
    "django_celery_beat_periodictask": "id",
    "django_celery_beat_intervalschedule": "interval_id",
    "django_celery_beat_crontabschedule": "crontab_id",
    "django_celery_beat_solarschedule": "solar_id",
    "django_celery_beat_clockedschedule": "clocked_id",
    "scheduling_schedule": "id",
}
KEYS = {"id", "periodic_task_id", "interval_id", "crontab_id", "solar_id", "clocked_id"}

TEXTS = [
    *("", "{bad", "null", "[1]", "{}", "3", '"x"', "Mars/Base", "Europe/../etc", "61", "*/0", "-"),
    '{"x": {"__type__": "datetime", "__value__": 5}}',
    '{"x": {"__type__": "uuid", "__value__": {"hex": 1}}}',
    "[" * 2000,
    "9" * 5000,
]
MOMENTS = [
    *("infinity", "-infinity", "4713-01-01 00:00:00+00 BC", "294276-12-31 00:00:00+00"),
    *("9999-12-31 23:59:59.999999+00", "0001-01-01 00:00:00+00", "1970-01-01 00:00:00+14"),
]
NUMBERS = [-(2**31), -1, 0, 1, 255, 32767, 2**31 - 1]
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.sampled_from(TEXTS)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30),
    "timestamp with time zone": st.sampled_from(MOMENTS),
    "integer": st.sampled_from(NUMBERS),
    "smallint": st.sampled_from([0, 1, 32767]),
    "numeric": st.sampled_from(["0", "90", "-180", "NaN"]),
    "boolean": st.booleans(),
    "jsonb": st.sampled_from(['"x"', "[]", "null", "{}", "1e400"]),
}


@dataclass(frozen=True)
class Column:
    table: str
    name: str
    kind: str
    length: int | None
    is_nullable: bool


def _columns() -> list[Column]:
    """Read which columns there are: those of a later version, too."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, data_type, character_maximum_length,"
            " is_nullable = 'YES' FROM information_schema.columns"
            " WHERE table_name = ANY(%s) AND NOT column_name = ANY(%s) ORDER BY 1, 2",
            [list(TABLES), list(KEYS)],
        )
        found = [Column(*row) for row in cursor.fetchall()]
    return [
        Column(c.table, c.name, c.kind.replace("character varying", "text"), *_rest(c))
        for c in found
    ]


def _named(columns: Iterable[Column], name: str) -> Column:
    return next(column for column in columns if column.name == name)


def _rest(column: Column) -> tuple[int | None, bool]:
    return column.length, column.is_nullable


def _broken(name: str, rule: str) -> Schedule:
    """Make a schedule that is due, by a rule of its own, for the test to break."""
    rows: dict[str, Callable[[], Any]] = {
        "interval": lambda: IntervalSchedule.objects.create(every=10, period="seconds"),
        "crontab": lambda: CrontabSchedule.objects.create(timezone="Europe/Berlin"),
        "clocked": lambda: ClockedSchedule.objects.create(clocked_time=database_now()),
        "solar": lambda: SolarSchedule.objects.create(event="sunset", latitude=1, longitude=1),
    }
    task = PeriodicTask.objects.create(
        name=name, task="jobs.note", one_off=rule == "clocked", **{rule: rows[rule]()}
    )
    apply_all_changes()
    now = database_now()
    Schedule.objects.filter(pk=task.pk).update(
        answered_until=now - timedelta(days=2), next_fire_at=now
    )
    return Schedule.objects.get(pk=task.pk)


def _write(column: Column, value: Any, schedule: Schedule) -> bool:
    """Write a value by SQL; return whether the database took it."""
    key = "periodic_task_id" if column.table == "scheduling_schedule" else "id"
    own = TABLES[column.table]
    row = schedule.pk if own == "id" else getattr(schedule.periodic_task, own)
    if isinstance(value, str) and column.length:
        value = value[: column.length]
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {column.table} SET {column.name} = %s WHERE {key} = %s", [value, row]
            )
    except Error:
        return False
    return True


def _rule_of(column: Column) -> str:
    kind = TABLES[column.table].removesuffix("_id")
    return kind if kind != "id" else "interval"


@pytest.fixture
def healthy(transactional_db: None) -> list[int]:
    interval = IntervalSchedule.objects.create(every=10, period="seconds")
    PeriodicTask.objects.bulk_create(
        PeriodicTask(name=f"healthy {number}", task="jobs.note", interval=interval)
        for number in range(HEALTHY)
    )
    apply_all_changes()
    return list(Schedule.objects.values_list("pk", flat=True))


def _make_due(schedules: list[int]) -> None:
    now = database_now()
    Schedule.objects.filter(pk__in=schedules).update(
        answered_until=now - timedelta(seconds=10), next_fire_at=now
    )


def _left_over(schedule: Schedule) -> tuple[Any, ...]:
    """Tell how a schedule stands, in values that every row can give."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT next_fire_at <= clock_timestamp() AND enabled, quarantined_at IS NOT NULL,"
            " quarantine_reason, EXISTS (SELECT 1 FROM scheduling_fire f WHERE"
            " f.schedule_id = s.periodic_task_id AND f.status = 'claimed')"
            " FROM scheduling_schedule s JOIN django_celery_beat_periodictask t"
            " ON t.id = s.periodic_task_id WHERE t.id = %s",
            [schedule.pk],
        )
        row: tuple[Any, ...] = cursor.fetchone()
    return row


def _remove(schedule: Schedule) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_celery_beat_periodictask WHERE id = %s", [schedule.pk])
        # Where nobody else has this rule; the task may have lost it.
        cursor.execute("DELETE FROM django_celery_beat_solarschedule")
        cursor.execute("DELETE FROM scheduling_fire")
        cursor.execute("DELETE FROM scheduling_change")


def test_any_value_in_any_column_of_a_schedule_stops_no_other(
    app: Celery, healthy: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = _columns()
    assert {column.table for column in columns} == {*TABLES}
    scheduler = Scheduler(app=app, lazy=True)
    monkeypatch.setattr(scheduler._tickers, "start", lambda: None)
    values = st.sampled_from(columns).flatmap(
        lambda column: st.tuples(st.just(column), _values(column))
    )
    seen_broken = set()

    @settings(
        max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(values)
    def write_anything(written: tuple[Column, Any]) -> None:
        column, value = written
        schedule = _broken("broken", _rule_of(column))
        try:
            _make_due(healthy)
            if not _write(column, value, schedule):
                return
            for _ in range(3):
                assert scheduler.tick() != FAULT_BACKOFF
            fired = Fire.objects.filter(schedule__in=healthy, status=FireStatus.DISPATCHED)
            assert fired.values("schedule").distinct().count() == HEALTHY
            is_left_due, is_quarantined, reason, has_unpublished = _left_over(schedule)
            assert not is_left_due
            assert not has_unpublished
            assert not is_quarantined or reason or column.name.startswith("quarantine")
            if is_quarantined:
                seen_broken.add(column.name)
        finally:
            _remove(schedule)

    write_anything()
    assert len(seen_broken) > 5, seen_broken
    scheduler.close()


# How a run may end, and how its worker or a scheduler may learn of it.
ENDS: dict[str, Callable[[Fire, int], None]] = {
    "returned": lambda fire, run: ledger.succeed(fire.pk, run),
    "raised": lambda fire, run: ledger.fail(fire.pk, run, ValueError("no")),
    "left": lambda fire, run: ledger.leave(fire.pk, run),
    "asked again": lambda fire, run: ledger.return_to_queue(fire.pk, run),
    "died": lambda fire, run: ledger.orphan(fire.pk, run, SystemExit()),
    "was stopped": lambda fire, _: ledger.interrupt(fire.pk, "worker"),
    "was revoked": lambda fire, _: ledger.cancel_run(fire.pk, "worker", "revoked"),
    "fell silent": lambda *_: None,
}


def test_any_value_that_is_written_while_a_run_goes_on_keeps_it_from_no_end(
    app: Celery, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = _columns()
    scheduler = Scheduler(app=app, lazy=True)
    monkeypatch.setattr(scheduler._tickers, "start", lambda: None)
    values = st.sampled_from(columns).flatmap(
        lambda column: st.tuples(st.just(column), _values(column))
    )

    @settings(
        max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(values, st.sampled_from(sorted(ENDS)))
    @example((_named(columns, "failed_in_a_row"), 2**31 - 1), "raised")
    def end_a_run(written: tuple[Column, Any], way: str) -> None:
        column, value = written
        schedule = _broken("broken", _rule_of(column))
        try:
            scheduler.tick()
            fire = Fire.objects.get()
            run = ledger.begin(fire.pk, "worker")
            assert run == 1
            if not _write(column, value, schedule):
                return
            ENDS[way](fire, run)
            for _ in range(3):
                lease_ends()
                assert scheduler.tick() != FAULT_BACKOFF
            status = Fire.objects.values_list("status", flat=True).get(pk=fire.pk)
            assert status not in {FireStatus.RUNNING, FireStatus.CLAIMED}
        finally:
            _remove(schedule)

    end_a_run()
    scheduler.close()


def _values(column: Column) -> st.SearchStrategy[Any]:
    values = VALUES[column.kind]
    return values | st.none() if column.is_nullable else values


@pytest.mark.parametrize(
    ("table", "column", "value", "reason"),
    [
        ("periodictask", "headers", "null", "headers must be an object"),
        ("periodictask", "headers", '{"timelimit": 5}', "Celery itself uses: timelimit"),
        ("periodictask", "headers", '{"task": 5, "lang": 1}', "Celery itself uses: lang, task"),
        ("periodictask", "kwargs", "{bad", "kwargs cannot be read as JSON"),
        (
            "periodictask",
            "kwargs",
            '{"metadata": {"x": {"__type__": "datetime", "__value__": 5}}}',
            "kwargs cannot be read as JSON",
        ),
        ("periodictask", "args", '["too", "many", "arguments"]', "positional arguments"),
        ("periodictask", "queue", "there-is-no-such-queue", "there-is-no-such-queue"),
        ("periodictask", "exchange", "shop", "No queue is bound to the exchange 'shop'"),
        ("periodictask", "start_time", "infinity", "timestamp too large"),
        ("crontabschedule", "timezone", "Mars/Base", "Mars/Base"),
    ],
)
def test_a_broken_row_is_quarantined_with_its_reason(
    app: Celery, healthy: list[int], table: str, column: str, value: Any, reason: str
) -> None:
    where = Column(f"django_celery_beat_{table}", column, "", None, is_nullable=False)
    schedule = _broken("broken", "crontab" if table == "crontabschedule" else "interval")
    _make_due(healthy)
    assert _write(where, value, schedule)
    scheduler = Scheduler(app=app, lazy=True)
    assert scheduler.do_due() == 0
    fired = Fire.objects.filter(schedule__in=healthy, status=FireStatus.DISPATCHED)
    assert fired.count() == HEALTHY
    _, is_quarantined, said, _ = _left_over(schedule)
    assert is_quarantined
    assert reason in said
    scheduler.close()


def test_an_entry_keeps_its_expiry_and_names_what_it_cannot_keep(
    app: Celery, transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    entry = {"task": "jobs.note", "schedule": 60.0}
    Scheduler(app=app, lazy=True).update_from_dict(
        {
            "broken": {**entry, "schedule": object()},
            "good": {**entry, "options": {"expires": 30, "countdown": 5, "queue": "jobs"}},
        }
    )
    row = PeriodicTask.objects.get()
    assert (row.name, row.expire_seconds, row.queue) == ("good", 30, "jobs")
    assert "options of 'good' are not kept: countdown" in caplog.text
