"""Jobs over HTTP: allowed tasks on a schedule."""

import jsonschema
import pytest
from django_celery_beat.models import PeriodicTask

from notifications.routing import SEND_TASK
from scheduling.models import Fire
from tests.integration.notifications.api.conftest import SIMULATED

pytestmark = pytest.mark.django_db

JOB = {
    "name": "reminder",
    "handler": SEND_TASK,
    "schedule": {"cron": "0 9 * * 1", "timezone": "Europe/Rome"},
    "kwargs": SIMULATED,
}


def test_a_job_is_created_and_says_when_it_fires(call):
    made = call.ok("POST", "/jobs", {**JOB, "misfire": "skip", "timeout": 30})
    assert made["definition"] == {**JOB, "enabled": True, "misfire": "skip", "timeout": 30}
    assert call.ok("GET", f"/jobs/{made['id']}") == made
    assert len(call.ok("GET", f"/jobs/{made['id']}/next", query={"count": 3})["next"]) == 3


@pytest.mark.parametrize(
    "schedule",
    [
        {"every": 90.0},
        {"cron": "*/5 * * * *", "timezone": "UTC"},
        {"at": "2030-01-01T00:00:00+00:00"},
        {"solar": "sunset", "latitude": 41.9, "longitude": 12.5},
    ],
    ids=lambda schedule: next(iter(schedule)),
)
def test_a_definition_that_was_read_makes_the_same_job(call, schedule):
    made = call.ok("POST", "/jobs", {**JOB, "schedule": schedule})
    assert made["definition"]["schedule"] == schedule
    copied = call.ok("POST", "/jobs", {**made["definition"], "name": "copy"})
    assert {**copied["definition"], "name": "reminder"} == made["definition"]


def test_the_schema_describes_what_is_accepted(call):
    schema = call.ok("GET", "/jobs/schema")
    jsonschema.validate(JOB, schema)
    assert SEND_TASK in schema["properties"]["handler"]["enum"]


def test_a_job_changes_in_part(call):
    made = call.ok("POST", "/jobs", {**JOB, "timeout": 30, "priority": 3})
    changed = call.ok(
        "PATCH", f"/jobs/{made['id']}", {"schedule": {"every": 60.0}, "timeout": None}
    )
    assert changed["definition"] == {
        **JOB,
        "enabled": True,
        "schedule": {"every": 60.0},
        "priority": 3,
    }


def test_a_job_rests_and_goes_on(call):
    made = call.ok("POST", "/jobs", JOB)
    assert call.ok("POST", f"/jobs/{made['id']}/pause")["enabled"] is False
    assert call.ok("GET", f"/jobs/{made['id']}/next")["next"] == []
    assert call.ok("POST", f"/jobs/{made['id']}/resume")["enabled"] is True


def test_a_job_is_run_by_hand_and_its_fires_are_listed(call):
    made = call.ok("POST", "/jobs", JOB)
    run = call.ok("POST", f"/jobs/{made['id']}/run")
    fires = call.ok("GET", f"/jobs/{made['id']}/fires")["items"]
    assert [(fire["id"], fire["by_hand"]) for fire in fires] == [(run["fire"], True)]
    assert Fire.objects.get().schedule_id == made["id"]


def test_a_deleted_job_is_gone(call):
    made = call.ok("POST", "/jobs", JOB)
    assert call("DELETE", f"/jobs/{made['id']}").status_code == 204
    assert call("GET", f"/jobs/{made['id']}").status_code == 404
    assert not PeriodicTask.objects.filter(name="reminder").exists()


@pytest.mark.parametrize(
    ("change", "type_"),
    [
        ({"handler": "os.system"}, "handler-not-allowed"),
        ({"handler": None}, "invalid-job"),
        ({"schedule": {"cron": "61 * * * *"}}, "invalid-job"),
        ({"schedule": {"every": 1e300}}, "invalid-request"),
        ({"schedule": {"cron": "0 0 31 2 *"}}, "invalid-job"),
        ({"colour": "red"}, "invalid-job"),
        ({"schedule": {"solar": "at noon", "latitude": 0, "longitude": 0}}, "invalid-job"),
        ({"name": "\x00"}, "invalid-request"),
    ],
    ids=str,
)
def test_what_is_no_job_is_refused_by_name(call, change, type_):
    response = call("POST", "/jobs", {**JOB, **change})
    assert response.status_code == 422, response.content
    assert response.json()["type"] == f"/api/v1/problems/{type_}"


def test_a_name_is_taken_once_and_kept(call):
    made = call.ok("POST", "/jobs", JOB)
    assert call("POST", "/jobs", JOB).status_code == 409
    assert call("PATCH", f"/jobs/{made['id']}", {"name": "other"}).status_code == 409


def test_jobs_are_found_by_name(call):
    call.ok("POST", "/jobs", JOB)
    call.ok("POST", "/jobs", {**JOB, "name": "other"})
    names = [item["name"] for item in call.ok("GET", "/jobs", query={"name": "remind"})["items"]]
    assert names == ["reminder"]
