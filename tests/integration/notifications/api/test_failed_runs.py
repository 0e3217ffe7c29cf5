"""Failed runs over HTTP: listed with their attempts, by cause, replayed and discarded."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from scheduling import jobs, ledger
from scheduling.clock import database_now
from scheduling.models import Fire
from tests.integration.notifications.api.conftest import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def fail(call: Caller) -> Callable[..., Any]:
    """Let a job's run fail for good."""

    def one(name: str = "report", error: str = "no order 17") -> Fire:
        jobs.allow("jobs.note")
        later = database_now() + timedelta(days=1)
        jobs.register(name, "jobs.note", later)
        fire = jobs.run_now(name)
        ledger.fail(fire, ledger.begin(fire, "worker@host") or 0, ValueError(error))
        return Fire.objects.get(pk=fire)

    return one


def test_a_failed_run_is_listed_with_its_attempts_until_it_is_replayed(
    call: Caller, fail: Callable[..., Any]
) -> None:
    run = fail()
    (listed,) = call.ok("GET", "/failed-runs")["items"]
    assert (listed["id"], listed["name"], listed["handler"]) == (str(run.pk), "report", "jobs.note")
    seen = call.ok("GET", f"/failed-runs/{run.pk}")
    assert [entry["error"] for entry in seen["history"]] == ["ValueError: no order 17"]
    again = call.ok("POST", f"/failed-runs/{run.pk}/replay")
    assert Fire.objects.get(pk=again["fire"]).status == "claimed"
    assert call.ok("GET", "/failed-runs")["items"] == []
    assert call.ok("GET", f"/failed-runs/{run.pk}")["replayed_as"] == again["fire"]
    assert call("POST", f"/failed-runs/{run.pk}/replay").status_code == 409


def test_failed_runs_of_one_cause_are_replayed_together(
    call: Caller, fail: Callable[..., Any]
) -> None:
    fail("a", "no order 17")
    fail("b", "no order 18")
    fail("c", "the disk is full")
    biggest, other = call.ok("GET", "/failed-runs/causes")
    assert (biggest["count"], biggest["jobs"], other["name"]) == (2, 2, "c")
    made = call.ok("POST", "/failed-runs/replays", {"cause": biggest["cause"]})
    assert len(made["fires"]) == 2
    (left,) = call.ok("GET", "/failed-runs")["items"]
    assert left["name"] == "c"
    kept = call.ok("POST", f"/failed-runs/{left['id']}/discard", {"reason": "known"})
    assert kept["resolution"] == "known"
    assert call("POST", f"/failed-runs/{left['id']}/discard", {"reason": "x"}).status_code == 409


def test_what_did_not_fail_is_no_failed_run(call: Caller, fail: Callable[..., Any]) -> None:
    run = fail()
    Fire.objects.update(status="succeeded")
    assert call("GET", f"/failed-runs/{run.pk}").status_code == 404
