"""``manage.py jobs``: what an operator sees of jobs and orders, whichever backend keeps them."""

from collections.abc import Iterator
from datetime import date, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.core.management import CommandError, call_command

from scheduling import chosen_backend, jobs
from scheduling.backends.database import DatabaseBackend
from scheduling.backends.memory import MemoryBackend

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=[DatabaseBackend, MemoryBackend])
def backend(
    request: pytest.FixtureRequest, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    monkeypatch.setattr(jobs, "_allowed", {"jobs.note"})
    with chosen_backend.using(request.param()) as used:
        jobs.register("a", "jobs.note", "0 3 * * *", groups=["reports"])
        jobs.register("b", "jobs.note", 60, groups=["reports", "night"])
        jobs.register("c", "jobs.note", 60)
        yield used


def holiday_on(day: date) -> str:
    event = f"BEGIN:VEVENT\nUID:1\nDTSTART;VALUE=DATE:{day:%Y%m%d}\nSUMMARY:Stocktaking\nEND:VEVENT"
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:test\n{event}\nEND:VCALENDAR\n"


def run(*words: str) -> str:
    out = StringIO()
    call_command("jobs", *words, stdout=out)
    return out.getvalue()


def test_jobs_are_listed_with_their_state_and_shown(backend: Any) -> None:
    jobs.pause("b")
    lines = run("list").splitlines()
    assert [line.split("  ")[:2] for line in lines] == [
        ["a", "active"],
        ["b", "paused"],
        ["c", "active"],
    ]
    assert "0 3 * * *" in lines[0]
    assert run("list", "--group", "night").startswith("b")
    jobs.run_now("a")
    shown = run("show", "a")
    assert "handler: jobs.note" in shown
    assert "claimed" in shown


def test_the_next_fires_are_told(backend: Any) -> None:
    assert run("next", "a", "--count", "3").count("03:00:00") == 3


def test_jobs_are_paused_resumed_and_run_by_name_and_by_group(backend: Any) -> None:
    run("pause", "--group", "reports")
    assert [jobs.get(name).enabled for name in "abc"] == [False, False, True]
    run("resume", "a")
    assert jobs.get("a").enabled
    printed = run("run", "c", "--group", "night")
    assert [len(jobs.fires(name)) for name in "abc"] == [0, 1, 1]
    assert str(jobs.fires("c")[0].id) in printed


def test_a_backfill_is_previewed_and_ordered(backend: Any) -> None:
    now = backend.now()
    times = [(now - timedelta(minutes=m)).isoformat() for m in (3, 0)]
    words = ("backfill", "b", "--since", times[0], "--until", times[1], "--pace", "10")
    assert run(*words, "--dry-run").splitlines()[-1] == "3 would run"
    assert jobs.fires("b") == []
    assert run(*words).splitlines()[-1] == "3 will run"
    assert len(jobs.fires("b")) == 3
    with pytest.raises(CommandError, match="until"):
        run("backfill", "b", "--since", times[1], "--until", times[0])
    with pytest.raises(CommandError, match=r"since: .* no UTC offset"):
        run("backfill", "b", "--since", "2026-11-20", "--until", times[1])


def test_calendars_are_listed_and_a_new_file_is_compared_before_it_is_put_in_place(
    backend: Any, tmp_path: Path, settings: Any
) -> None:
    folder, new = tmp_path / "calendars", tmp_path / "new.ics"
    folder.mkdir()
    settings.SCHEDULING_CALENDARS = str(folder)
    first = (backend.now() + timedelta(days=3)).date()
    second = first + timedelta(days=1)
    (folder / "own.ics").write_text(holiday_on(first))
    (folder / "broken.ics").write_text("no calendar")
    new.write_text(holiday_on(second))
    schedule = {"cron": "0 9 * * *", "calendar": "own", "timezone": "Europe/Rome"}
    jobs.define({"name": "daily", "handler": "jobs.note", "schedule": schedule})
    once = f"0 9 {first.day} {first.month} *"
    moved = {**schedule, "cron": once, "on_holiday": "next"}
    jobs.define({"name": "moved", "handler": "jobs.note", "schedule": moved})
    jobs.define({"name": "off", "handler": "jobs.note", "schedule": schedule, "enabled": False})
    listed = run("calendars")
    assert f"  {first}  Stocktaking" in listed
    assert "'broken' is not iCalendar" in listed
    assert "used by off (paused)" in listed
    lines = run("preview-calendar", "own", str(new)).splitlines()
    assert [line.rsplit(" ", 1)[0] for line in lines[:3]] == [
        f"daily: new on {first} 09:00:00",
        f"daily: no longer on {second} 09:00:00",
        f"moved: moves from {second} 09:00:00 CET to {first} 09:00:00".replace(
            "CET", lines[2].rsplit(" ", 1)[1]
        ),
    ]
    assert lines[3:] == ["off: nothing moves (it is paused)"]
    assert run("calendars", "own") in listed  # nothing was put in place
    assert run("preview-calendar", "nobody's", str(new)).startswith("No schedule goes by")
    new.write_text("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:test\nEND:VCALENDAR\n")
    assert run("preview-calendar", "own", str(new)).startswith("The file has no event that takes")
    with pytest.raises(CommandError, match="cannot be read"):
        run("preview-calendar", "own", str(tmp_path / "none.ics"))
    with pytest.raises(CommandError, match=r"broken\.ics cannot replace a calendar"):
        run("preview-calendar", "own", str(folder / "broken.ics"))
    with pytest.raises(CommandError, match="--days"):
        run("calendars", "--days", "0")


def test_a_job_that_is_not_there_is_named_and_nothing_is_done(backend: Any) -> None:
    with pytest.raises(CommandError, match="nobody"):
        run("pause", "a", "nobody")
    assert jobs.get("a").enabled
    with pytest.raises(CommandError, match="Name a job"):
        run("pause")
