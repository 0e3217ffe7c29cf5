"""Which due times fire, once each."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.conf import settings

from scheduling import conditions, jobs
from scheduling.kept.protocol import Backend
from scheduling.pace import SLOW, Pace
from tests.integration.scheduling.backends import Stage
from tests.integration.scheduling.conftest import queued_messages
from tests.integration.scheduling.contract.acts import (
    MINUTE,
    TASK,
    at_once,
    due,
    fired,
    tick,
    tick_until,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_several_instances_one_executes(stage: Stage, app: Celery) -> None:
    for number in range(20):
        due(stage, f"job {number}")
    at_once(lambda: tick(stage.another(), app))
    fires = [fire for number in range(20) for fire in jobs.fires(f"job {number}")]
    assert [fire.status for fire in fires] == ["dispatched"] * 20
    assert queued_messages() == 20


def test_drift_compensation_an_interval_counts_from_its_due_time(stage: Stage, app: Celery) -> None:
    due(stage, seconds_ago=7)
    tick(stage.backend, app)
    (fire,) = jobs.fires("job")
    assert jobs.next_fires("job", 1) == [fire.scheduled_for + MINUTE]


@pytest.mark.parametrize(
    ("policy", "ran", "skipped"),
    [
        ({}, 1, 0),
        ({"misfire": "skip"}, 0, 1),
        ({"misfire": "all"}, 5, 0),
        ({"misfire": "all", "misfire_cap": 2}, 2, 0),
        ({"grace": 10}, 0, 1),
    ],
)
def test_window_scanning_what_passed_is_answered_by_the_misfire_policy(
    stage: Stage, app: Celery, policy: dict[str, Any], ran: int, skipped: int
) -> None:
    due(stage, seconds_ago=4 * 60 + 50, **policy)
    tick(stage.backend, app)
    counts = [str(fire.status) for fire in jobs.fires("job")]
    assert counts.count("dispatched") == ran
    assert counts.count("skipped_misfire") == skipped


@pytest.mark.parametrize("misfire", ["latest", "all"])
def test_time_drift_a_clock_that_was_ahead_delays_and_doubles_nothing(
    stage: Stage, app: Celery, misfire: str
) -> None:
    due(stage, every=10, misfire=misfire)
    tick(stage.backend, app)
    (first,) = jobs.fires("job")
    stage.claim(stage.backend.now() + timedelta(days=3))
    early = {fire.scheduled_for for fire in jobs.fires("job")} - {first.scheduled_for}
    (far,) = jobs.next_fires("job", 1)
    assert far - stage.backend.now() > timedelta(days=2)
    stage.keep_house()
    tick(stage.backend, app)
    (following,) = jobs.next_fires("job", 1)
    assert following == first.scheduled_for + timedelta(seconds=10)
    stage.claim(max(early))  # and so it comes to the due times that fired too early
    fires = [fire.scheduled_for for fire in jobs.fires("job")]
    assert len(fires) == len({*fires})
    assert max(early) in fires


def test_a_fire_tells_from_when_on_it_stands_for_missed_ones(stage: Stage, app: Celery) -> None:
    fire = fired(stage, app, seconds_ago=190)
    assert fire.scheduled_for - fire.missed_since == 3 * MINUTE


def test_a_busy_scheduler_takes_less_and_leaves_the_rest_to_others(
    stage: Stage, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy: Any = stage.backend
    busy.pace = Pace(most=4, least=1)
    answers = {"takes": 2 * SLOW / 4}

    def is_slow(*_: object) -> bool:
        time.sleep(answers["takes"])
        return True

    monkeypatch.setattr(conditions, "_registered", {"slow": is_slow})
    names = [f"job {number}" for number in range(4)]

    def round_of(scheduler: Backend) -> int:
        before = sum(len(jobs.fires(name)) for name in names)
        scheduler.tick(app)
        return sum(len(jobs.fires(name)) for name in names) - before

    for name in names:
        due(stage, name, condition="slow")
    assert round_of(busy) == 4
    for name in names:
        stage.make_due(name, 0.01)
    answers["takes"] = 0
    assert round_of(busy) == 2
    assert round_of(stage.another()) == 2


HOLIDAY = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//test//EN
BEGIN:VEVENT
UID:1
DTSTART;VALUE=DATE:{day:%Y%m%d}
SUMMARY:Stocktaking
END:VEVENT
END:VCALENDAR
"""


@pytest.mark.parametrize("on_holiday", ["skip", "next"])
def test_the_ledger_names_the_holiday_that_skipped_or_moved_a_due_time(
    stage: Stage, app: Celery, on_holiday: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    due_at = stage.backend.now() - timedelta(seconds=1)
    holiday = due_at - timedelta(days=1)
    (tmp_path / "own.ics").write_text(HOLIDAY.format(day=holiday))
    monkeypatch.setattr(settings, "SCHEDULING_CALENDARS", str(tmp_path))
    rule = {"every": 86400, "calendar": "own", "on_holiday": on_holiday}
    jobs.define({"name": "job", "handler": TASK, "schedule": rule})
    tick(stage.backend, app)
    stage._set("job", answered_until=due_at - timedelta(days=2), next_fire_at=due_at)
    tick(stage.backend, app)
    found = [(str(f.status), f.scheduled_for, f.note) for f in reversed(jobs.fires("job"))]
    if on_holiday == "skip":
        skipped = ("skipped_holiday", holiday, "Stocktaking")
        assert found == [skipped, ("dispatched", due_at, "")]
    else:
        note = f"moved from {holiday:%Y-%m-%d} (Stocktaking)"
        assert found == [("dispatched", due_at, note)]
    assert queued_messages() == 1
    assert jobs.get("job").skipped_in_a_row == 0


def test_a_changed_calendar_is_planned_by_and_makes_up_nothing(
    stage: Stage, app: Celery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day, now, file = timedelta(days=1), stage.backend.now(), tmp_path / "own.ics"
    file.write_text(HOLIDAY.format(day=now + day))
    monkeypatch.setattr(settings, "SCHEDULING_CALENDARS", str(tmp_path))
    jobs.define({"name": "job", "handler": TASK, "schedule": {"every": 86400, "calendar": "own"}})
    tick(stage.backend, app)
    planned = jobs.get("job").next_fire_at
    assert planned is not None
    assert planned > now + 2 * day
    file.write_text(HOLIDAY.format(day=now + 9 * day))
    stage.be_started(app)
    assert jobs.get("job").next_fire_at == planned - day
    # As if the days until today had been holidays, which the file has no longer.
    stage._set("job", answered_until=planned - 5 * day, next_fire_at=planned - day)
    stage.be_started(app)
    tick(stage.backend, app)
    assert jobs.get("job").next_fire_at == planned - day
    assert jobs.fires("job") == []


def test_a_calendar_that_is_back_ends_the_quarantine_of_those_that_lacked_it(
    stage: Stage, app: Celery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, file = stage.backend.now(), tmp_path / "own.ics"
    file.write_text(HOLIDAY.format(day=now + timedelta(days=9)))
    monkeypatch.setattr(settings, "SCHEDULING_CALENDARS", str(tmp_path))
    jobs.define({"name": "job", "handler": TASK, "schedule": {"every": 86400, "calendar": "own"}})
    tick(stage.backend, app)
    file.rename(tmp_path / "own.away")
    stage._set("job", next_fire_at=now)
    tick(stage.backend, app)
    assert "'own' cannot be read" in jobs.get("job").quarantine_reason
    (tmp_path / "own.away").rename(file)
    stage.be_started(app)
    assert jobs.get("job").quarantined_at is None
    assert jobs.get("job").next_fire_at is not None


def test_a_due_time_fires_once_also_if_it_is_claimed_again(stage: Stage, app: Celery) -> None:
    fire = fired(stage, app)
    stage._set("job", answered_until=fire.scheduled_for - MINUTE, next_fire_at=fire.scheduled_for)
    tick(stage.backend, app)
    assert len(jobs.fires("job")) == 1
    assert queued_messages() == 1


@pytest.mark.parametrize(
    ("overlap", "second", "third"),
    [
        ("allow", "dispatched", "dispatched"),
        ("skip", "skipped_overlap", "skipped_overlap"),
        ("queue", "waiting", "skipped_overlap"),
    ],
)
def test_overlap(stage: Stage, app: Celery, overlap: str, second: str, third: str) -> None:
    backend = stage.backend
    fire = fired(stage, app, overlap=overlap)
    assert backend.begin(fire.id, "worker") == 1
    later = [jobs.run_now("job"), jobs.run_now("job")]
    tick(backend, app)
    found = {fire.id: fire.status for fire in jobs.fires("job")}
    assert [found[key] for key in later] == [second, third]
    backend.succeed(fire.id, 1)
    tick(backend, app)
    ended = {fire.id: fire.status for fire in jobs.fires("job")}
    assert ended[later[0]] == ("dispatched" if second == "waiting" else second)


def test_run_now_from_many_places_never_overlaps_where_that_is_forbidden(
    stage: Stage, app: Celery
) -> None:
    jobs.register("job", TASK, 3600, overlap="skip")
    at_once(lambda: jobs.run_now("job"))
    statuses = sorted(fire.status for fire in jobs.fires("job"))
    assert statuses == ["claimed", *["skipped_overlap"] * 3]


def test_the_last_time_of_a_rule_that_ends_fires(backend: Backend, app: Celery) -> None:
    begin = (backend.now() + timedelta(seconds=2)).isoformat()
    jobs.register("job", TASK, {"rrule": "FREQ=MINUTELY;COUNT=1", "from": begin})
    tick_until(backend, app, lambda: jobs.fires("job"))
    assert [fire.status for fire in jobs.fires("job")] == ["dispatched"]
    assert jobs.next_fires("job") == []
    assert not jobs.get("job").quarantined_at


def test_a_rule_that_has_ended_rests_and_is_not_resumed(stage: Stage, app: Celery) -> None:
    begin = stage.backend.now() + timedelta(seconds=1)
    rule = {"rrule": "FREQ=MINUTELY;COUNT=1", "from": begin.isoformat()}
    jobs.register("job", TASK, rule)
    tick_until(stage.backend, app, lambda: jobs.fires("job"))
    jobs.register("job", TASK, rule, timeout=5)  # as at each start of a program
    tick(stage.backend, app)
    assert jobs.get("job").definition["timeout"] == 5
    assert jobs.get("job").quarantined_at is None
    jobs.pause("job")
    with pytest.raises(jobs.InvalidJob, match="has ended") as refused:
        jobs.resume("job")
    assert refused.value.field == "schedule"
    with pytest.raises(jobs.InvalidJob, match="has ended"):
        jobs.register("another", TASK, rule)
    assert jobs.names() == ["job"]
    since, until = begin - timedelta(hours=1), stage.backend.now()
    assert jobs.backfill("job", since, until) == []  # it has its fire


@pytest.mark.parametrize("kind", ["at", "at and expiry", "expiry"])
def test_a_job_that_is_over_is_not_resumed(stage: Stage, app: Celery, kind: str) -> None:
    soon = stage.backend.now() + timedelta(seconds=1)
    expires = {
        "at": None,
        "at and expiry": soon + timedelta(hours=1),
        "expiry": soon + timedelta(seconds=1),
    }[kind]
    definition: dict[str, Any] = {
        "schedule": 1 if kind == "expiry" else {"at": soon.isoformat()},
        "expires": expires,
    }
    jobs.register("job", TASK, **definition)
    tick_until(stage.backend, app, lambda: not jobs.get("job").enabled)
    assert jobs.fires("job")
    with pytest.raises(jobs.InvalidJob, match="has ended") as refused:
        jobs.resume("job")
    assert refused.value.field == "schedule"
    with pytest.raises(jobs.InvalidJob, match="has ended"):
        jobs.register("job", TASK, **definition, enabled=True)
    jobs.register("job", TASK, **definition)  # as at each start of a program
    assert not jobs.get("job").enabled


def test_a_moment_that_passed_during_a_pause_fires_at_the_resume(stage: Stage, app: Celery) -> None:
    soon = stage.backend.now() + timedelta(seconds=1)
    jobs.register("job", TASK, {"at": soon.isoformat()})
    jobs.pause("job")
    tick_until(stage.backend, app, lambda: stage.backend.now() > soon)
    assert jobs.fires("job") == []
    jobs.resume("job")
    tick_until(stage.backend, app, lambda: jobs.fires("job"))


def test_jitter_delays_a_fire_and_not_its_due_time(stage: Stage, app: Celery) -> None:
    jobs.register("job", TASK, 3600, jitter=600)
    (following,) = jobs.next_fires("job", 1)
    assert stage.backend.now() + 50 * MINUTE < following < stage.backend.now() + 71 * MINUTE


def test_start_and_expiry_bound_the_due_times(backend: Backend) -> None:
    start = datetime(2100, 1, 1, tzinfo=UTC)
    jobs.register("job", TASK, 3600, start=start, expires=start + timedelta(hours=2))
    hours = [start + timedelta(hours=hour) for hour in range(3)]
    assert jobs.next_fires("job", 9) == hours
