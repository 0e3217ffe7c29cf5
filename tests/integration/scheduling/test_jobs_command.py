"""``manage.py jobs``: what an operator sees of jobs and orders, whichever backend keeps them."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
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


def test_a_job_that_is_not_there_is_named_and_nothing_is_done(backend: Any) -> None:
    with pytest.raises(CommandError, match="nobody"):
        run("pause", "a", "nobody")
    assert jobs.get("a").enabled
    with pytest.raises(CommandError, match="Name a job"):
        run("pause")
