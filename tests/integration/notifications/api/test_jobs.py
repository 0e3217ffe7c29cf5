"""Jobs over HTTP: allowed tasks on a schedule."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import jsonschema
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import ClockedSchedule, PeriodicTask

from notifications.core.routing import SEND_TASK
from scheduling import jobs
from scheduling.changes import apply_changes
from scheduling.clock import database_now
from scheduling.models import Fire, Schedule
from tests.integration.notifications.api.conftest import SIMULATED, Caller

pytestmark = pytest.mark.django_db

JOB = {
    "name": "reminder",
    "handler": SEND_TASK,
    "schedule": {"cron": "0 9 * * 1", "timezone": "Europe/Rome"},
    "kwargs": SIMULATED,
}


def test_a_job_is_created_and_says_when_it_fires(call: Caller) -> None:
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
def test_a_definition_that_was_read_makes_the_same_job(
    call: Caller, schedule: dict[str, Any]
) -> None:
    made = call.ok("POST", "/jobs", {**JOB, "schedule": schedule})
    assert made["definition"]["schedule"] == schedule
    copied = call.ok("POST", "/jobs", {**made["definition"], "name": "copy"})
    assert {**copied["definition"], "name": "reminder"} == made["definition"]


def test_the_schema_describes_what_is_accepted(call: Caller) -> None:
    schema = call.ok("GET", "/jobs/schema")
    jsonschema.validate(JOB, schema)
    assert SEND_TASK in schema["properties"]["handler"]["enum"]


def test_a_job_changes_in_part(call: Caller) -> None:
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


def test_a_job_rests_and_goes_on(call: Caller) -> None:
    made = call.ok("POST", "/jobs", JOB)
    assert call.ok("POST", f"/jobs/{made['id']}/pause")["enabled"] is False
    assert call.ok("GET", f"/jobs/{made['id']}/next")["next"] == []
    assert call.ok("POST", f"/jobs/{made['id']}/resume")["enabled"] is True


def test_a_job_says_when_it_fires_next_before_a_scheduler_has_seen_it(call: Caller) -> None:
    def fires_next(job: dict[str, Any]) -> Any:
        return call.ok("GET", f"/jobs/{job['id']}/next", query={"count": 1})["next"]

    made = call.ok("POST", "/jobs", JOB)
    assert [made["next_fire_at"]] == fires_next(made)
    changed = call.ok("PATCH", f"/jobs/{made['id']}", {"schedule": {"cron": "0 10 * * 2"}})
    assert [changed["next_fire_at"]] == fires_next(made) != [made["next_fire_at"]]
    assert call.ok("POST", f"/jobs/{made['id']}/pause")["next_fire_at"] is None
    assert call.ok("POST", f"/jobs/{made['id']}/resume")["next_fire_at"] == changed["next_fire_at"]


def test_a_list_of_jobs_asks_as_many_queries_for_one_as_for_many(call: Caller) -> None:
    """Also of those that no scheduler has planned yet, and of those that have changed since."""

    def made(name: str) -> Any:
        rule = {"every": 60} if name.endswith("0") else JOB["schedule"]
        return call.ok("POST", "/jobs", {**JOB, "name": name, "schedule": rule})

    def listed() -> tuple[int, list[Any]]:
        with CaptureQueriesContext(connection) as asked:
            items = call.ok("GET", "/jobs", query={"limit": 500})["items"]
        return len(asked), items

    made("first")
    for_one, _ = listed()
    jobs_ = [made(f"job {number}") for number in range(20)]
    apply_changes(database_now())
    jobs_ += [made(f"later {number}") for number in range(20)]
    for job in jobs_[:5]:
        call.ok("PATCH", f"/jobs/{job['id']}", {"schedule": {"cron": "0 10 * * 2"}})
    for_many, items = listed()
    assert for_many <= for_one + 1  # that of the jobs' rows, of which the first has none
    assert len(items) == 41
    for item in items:
        assert item["next_fire_at"] == call.ok("GET", f"/jobs/{item['id']}/next")["next"][0]


def test_a_backfill_is_previewed_and_ordered(call: Caller) -> None:
    made = call.ok("POST", "/jobs", {**JOB, "schedule": {"cron": "0 * * * *"}})
    path = f"/jobs/{made['id']}/backfill"
    body = {"since": "2026-03-01T00:00:00Z", "until": "2026-03-01T03:00:00Z", "pace": 60}
    preview = call.ok("POST", path, {**body, "dry_run": True})["runs"]
    assert [run["scheduled_for"][11:16] for run in preview] == ["00:00", "01:00", "02:00"]
    assert not Fire.objects.exists()
    ordered = call("POST", path, body)
    assert ordered.status_code == 202
    assert len(ordered.json()["runs"]) == 3
    assert Fire.objects.filter(schedule=made["id"], by_hand=True).count() == 3
    assert call.ok("POST", path, body)["runs"] == []
    for change, field in (
        ({"until": "2026-02-01T00:00:00Z"}, "until"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "since"),
        ({"since": "2026-02-28T00:00:00"}, "since"),
        ({"until": "2026-03-02"}, "until"),
        ({"until": "soon"}, "until"),
        ({"since": "1990-01-01T00:00:00Z"}, "since"),
        ({"until": "2999-01-01T00:00:00Z"}, "until"),
        ({"pace": -1}, "pace"),
    ):
        refused = call("POST", path, {**body, **change})
        assert (refused.status_code, refused.json()["field"]) == (422, field)


def test_a_job_that_has_ended_is_not_resumed(call: Caller) -> None:
    rule = {"rrule": "FREQ=DAILY;COUNT=2", "from": "2026-01-01T09:00:00Z"}
    later = {**rule, "from": "2100-01-01T09:00:00Z"}
    made = call.ok("POST", "/jobs", {**JOB, "schedule": later, "enabled": False})
    kept = Schedule.objects.get(pk=made["id"])
    assert kept.recurrence is not None
    kept.recurrence["rule"] = rule
    kept.save(update_fields=["recurrence"])
    for method, path, body in (("POST", "/resume", None), ("PATCH", "", {"enabled": True})):
        refused = call(method, f"/jobs/{made['id']}{path}", body)
        assert (refused.status_code, refused.json()["field"]) == (422, "schedule")
        assert "has ended" in refused.json()["detail"]
    call.ok("PATCH", f"/jobs/{made['id']}", {"description": "Kept for its fires."})


def test_a_one_off_that_has_fired_is_not_resumed_and_may_get_another_moment(call: Caller) -> None:
    made = call.ok("POST", "/jobs", {**JOB, "schedule": {"at": "2099-01-01T00:00:00Z"}})
    # As a scheduler leaves it once it has fired.
    past = datetime(2026, 1, 1, tzinfo=UTC)
    ClockedSchedule.objects.update(clocked_time=past)
    Schedule.objects.update(answered_until=past, paused_at=past, next_fire_at=None)
    PeriodicTask.objects.update(enabled=False)
    for method, path, body in (("POST", "/resume", None), ("PATCH", "", {"enabled": True})):
        refused = call(method, f"/jobs/{made['id']}{path}", body)
        assert (refused.status_code, refused.json()["field"]) == (422, "schedule")
    assert call.ok("GET", f"/jobs/{made['id']}")["enabled"] is False
    again = {"schedule": {"at": "2100-01-01T00:00:00Z"}, "enabled": True}
    changed = call.ok("PATCH", f"/jobs/{made['id']}", again)
    assert changed["next_fire_at"] == "2100-01-01T00:00:00Z"


def test_a_job_is_run_by_hand_and_its_fires_are_listed(call: Caller) -> None:
    made = call.ok("POST", "/jobs", JOB)
    run = call.ok("POST", f"/jobs/{made['id']}/run")
    fires = call.ok("GET", f"/jobs/{made['id']}/fires")["items"]
    assert [(fire["id"], fire["by_hand"]) for fire in fires] == [(run["fire"], True)]
    assert Fire.objects.get().schedule_id == made["id"]


def test_a_deleted_job_is_gone(call: Caller) -> None:
    made = call.ok("POST", "/jobs", JOB)
    assert call("DELETE", f"/jobs/{made['id']}").status_code == 204
    assert call("GET", f"/jobs/{made['id']}").status_code == 404
    assert not PeriodicTask.objects.filter(name="reminder").exists()


@pytest.mark.parametrize(
    ("change", "type_", "field"),
    [
        ({"handler": "os.system"}, "handler-not-allowed", "handler"),
        ({"handler": None}, "invalid-job", "handler"),
        ({"name": "\x00"}, "invalid-job", "name"),
        ({"name": "\ud800"}, "invalid-job", "name"),
        ({"description": "\x00"}, "invalid-job", "description"),
        ({"colour": "red"}, "invalid-job", "colour"),
        ({"schedule": {"cron": "61 * * * *"}}, "invalid-job", "schedule"),
        ({"schedule": {"cron": "1 * * *"}}, "invalid-job", "schedule.cron"),
        ({"schedule": {"cron": "0 0 * * 5-7/0"}}, "invalid-job", "schedule.cron"),
        ({"schedule": {"cron": "0 0 31 2 *"}}, "invalid-job", "schedule"),
        ({"schedule": {"cron": "0 9 * * *", "timezone": "Mars/Base"}}, "", "schedule.timezone"),
        ({"schedule": {"every": 1e300}}, "invalid-job", "schedule.every"),
        ({"schedule": {"every": 1e12}}, "invalid-job", "schedule"),
        ({"schedule": {"every": 0.001}}, "invalid-job", "schedule.every"),
        ({"schedule": {"at": "tomorrow"}}, "invalid-job", "schedule.at"),
        ({"schedule": {"at": "2001-01-01T00:00:00Z"}}, "invalid-job", "schedule.at"),
        ({"schedule": {"at": "9999-12-31T23:59:59-14:00"}}, "invalid-job", "schedule.at"),
        ({"expires": "2001-01-01T00:00:00Z"}, "invalid-job", "expires"),
        (
            {"start": "2100-01-02T00:00:00Z", "expires": "2100-01-01T00:00:00Z"},
            "invalid-job",
            "expires",
        ),
        ({"schedule": {"solar": "at noon", "latitude": 0, "longitude": 0}}, "", "schedule"),
        ({"start": "9999-12-31T23:59:59-14:00"}, "invalid-job", "start"),
        ({"expires": "0001-01-01T00:00:00+14:00"}, "invalid-job", "expires"),
        ({"guarantee": "at_most_once", "retries": 3}, "invalid-job", "retries"),
        ({"jitter": 80_000, "schedule": {"every": 60}}, "invalid-job", "jitter"),
        ({"timeout": 2**31}, "invalid-job", "timeout"),
        ({"message_expires": 2**40}, "invalid-job", "message_expires"),
    ],
    ids=str,
)
def test_what_is_no_job_is_refused_by_name_and_field(
    call: Caller, change: dict[str, Any], type_: str, field: str
) -> None:
    response = call("POST", "/jobs", {**JOB, **change})
    assert response.status_code == 422, response.content
    problem = response.json()
    assert problem["type"] == f"/api/v1/problems/{type_ or 'invalid-job'}"
    assert problem["field"] == field


def test_a_name_is_taken_once_and_kept(call: Caller) -> None:
    made = call.ok("POST", "/jobs", JOB)
    assert call("POST", "/jobs", JOB).status_code == 409
    assert call("PATCH", f"/jobs/{made['id']}", {"name": "other"}).status_code == 409


def test_jobs_are_found_by_name(call: Caller) -> None:
    call.ok("POST", "/jobs", JOB)
    call.ok("POST", "/jobs", {**JOB, "name": "other"})
    names = [item["name"] for item in call.ok("GET", "/jobs", query={"name": "remind"})["items"]]
    assert names == ["reminder"]


@pytest.mark.parametrize(
    ("kwargs", "field"),
    [
        ({"channel": "email"}, "kwargs.recipient"),
        ({**SIMULATED, "recipient": "", "to": {"recipient": "nobody"}}, "kwargs.to.recipient"),
        ({"chanel": "email"}, "kwargs.chanel"),
        ({**SIMULATED, "priority": "urgent"}, "kwargs.priority"),
    ],
)
def test_a_send_that_would_be_refused_is_refused_with_its_field(
    call: Caller, kwargs: dict[str, Any], field: str
) -> None:
    refused = call("POST", "/jobs", {**JOB, "kwargs": kwargs})
    assert refused.status_code == 422
    problem = refused.json()
    assert (problem["type"].rpartition("/")[2], problem["field"]) == ("invalid-job", field)
    made = call.ok("POST", "/jobs", JOB)
    refused = call("PATCH", f"/jobs/{made['id']}", {"kwargs": kwargs})
    assert (refused.status_code, refused.json()["field"]) == (422, field)


def _broken(call: Caller, column: Any, value: Any) -> Any:
    """Make a job, and write what no program of ours would into its row."""
    made = call.ok("POST", "/jobs", {**JOB, "name": "broken"})
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE django_celery_beat_periodictask SET {column} = %s WHERE id = %s",
            [value, made["id"]],
        )
    return made["id"]


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="its columns have no types")
@pytest.mark.parametrize(
    ("column", "value"),
    [("kwargs", "{bad"), ("start_time", "infinity"), ("start_time", "9999-12-31 23:59:59+00")],
)
def test_a_row_that_cannot_be_read_shows_its_fault_and_hides_no_other(
    call: Caller, column: str, value: str
) -> None:
    good = call.ok("POST", "/jobs", JOB)
    id_ = _broken(call, column, value)
    items = {item["name"]: item for item in call.ok("GET", "/jobs")["items"]}
    assert items["reminder"] == good
    assert items["broken"]["id"] == id_
    if not value.startswith("9999"):  # which can be read, and never fires
        assert "cannot be read" in items["broken"]["quarantine_reason"]
    assert call.ok("GET", f"/jobs/{id_}") == items["broken"]
    assert call("PATCH", f"/jobs/{id_}", {"kwargs": SIMULATED}).status_code < 500
    assert call.ok("POST", f"/jobs/{id_}/pause")["enabled"] is False
    for verb in ("resume", "run"):
        assert call("POST", f"/jobs/{id_}/{verb}").status_code < 500
    assert call("GET", f"/jobs/{id_}/next").status_code < 500
    assert call.ok("GET", f"/jobs/{id_}/fires")["next_cursor"] is None
    assert call("DELETE", f"/jobs/{id_}").status_code == 204
    assert [item["name"] for item in call.ok("GET", "/jobs")["items"]] == ["reminder"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("event", "at noon"),
        ("event", "9" * 24),
        ("latitude", "123"),
        pytest.param(
            "latitude",
            "NaN",
            marks=pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no NaN"),
        ),
    ],
)
def test_a_place_or_an_event_of_the_sun_that_there_is_not_is_no_error_of_ours(
    call: Caller, column: str, value: str
) -> None:
    sunset = {"solar": "sunset", "latitude": 41.9, "longitude": 12.5}
    made = call.ok("POST", "/jobs", {**JOB, "schedule": sunset})
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE django_celery_beat_solarschedule SET {column} = %s", [value])
    assert call("GET", f"/jobs/{made['id']}/next").status_code < 500
    call.ok("POST", f"/jobs/{made['id']}/pause")
    for verb in ("resume", "run"):
        assert call("POST", f"/jobs/{made['id']}/{verb}").status_code < 500
    assert call("PATCH", f"/jobs/{made['id']}", {"timeout": 7}).status_code < 500
    assert len(call.ok("GET", "/jobs")["items"]) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"start": "9999-12-31T23:59:59-10:00"},
        {"schedule": {"at": "9999-12-31T23:59:59-10:00"}},
        {"schedule": {"every": 1e300}},
        {"kwargs": {**SIMULATED, "metadata": {"x": {"__type__": "datetime", "__value__": 5}}}},
        {"args": [{"__type__": "uuid", "__value__": {"hex": 1}}]},
        {"timeout": 2**31},
        {"message_expires": 2**31},
        {"description": "a\0b"},
        {"name": "a\0b"},
    ],
    ids=str,
)
def test_what_cannot_be_kept_or_sent_is_refused_by_name(
    call: Caller, change: dict[str, Any]
) -> None:
    refused = call("POST", "/jobs", {**JOB, **change})
    assert refused.status_code == 422, refused.content
    assert not PeriodicTask.objects.exists()


def test_a_patch_that_names_an_old_version_changes_nothing(call: Caller) -> None:
    made = call.ok("POST", "/jobs", JOB)
    read = call("GET", f"/jobs/{made['id']}")
    version = read["ETag"]
    first = call("PATCH", f"/jobs/{made['id']}", {"timeout": 30}, If_Match=version)
    assert first.status_code == 200
    second = call("PATCH", f"/jobs/{made['id']}", {"timeout": 60}, If_Match=version)
    assert second.status_code == 412
    third = call("PATCH", f"/jobs/{made['id']}", {"timeout": 60}, If_Match=first["ETag"])
    assert third.json()["definition"]["timeout"] == 60


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="it has one writer at a time")
class TestAtOnce:
    """Many callers, each in a thread with a connection of its own."""

    def together(self, *calls: Any) -> list[Any]:
        def one(do: Any) -> Any:
            try:
                return do()
            finally:
                connection.close()

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(one, calls))

    def test_of_ten_jobs_of_one_name_one_is_made(self, call: Caller) -> None:
        answers = self.together(*[partial(call, "POST", "/jobs", JOB)] * 10)
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
        assert PeriodicTask.objects.count() == 1

    def test_patches_and_a_pause_lose_nothing_of_each_other(self, call: Caller) -> None:
        made = call.ok("POST", "/jobs", JOB)
        path = f"/jobs/{made['id']}"
        for number in range(1, 6):
            call.ok("POST", f"{path}/resume")
            answers = self.together(
                partial(call, "PATCH", path, {"timeout": number}),
                partial(call, "POST", f"{path}/pause"),
                partial(call, "PATCH", path, {"priority": number}),
                partial(call, "PATCH", path, {"description": f"{number}"}),
            )
            assert {answer.status_code for answer in answers} == {200}
            now = call.ok("GET", path)
            definition = now["definition"]
            assert now["enabled"] is False
            assert (definition["timeout"], definition["priority"]) == (number, number)
            assert definition["description"] == f"{number}"

    def test_all_that_can_be_done_to_a_job_at_once_gets_an_answer(self, call: Caller) -> None:
        jobs.allow("jobs.note")
        for number in range(8):
            name = f"job {number}"
            path = f"/jobs/{call.ok('POST', '/jobs', {**JOB, 'name': name})['id']}"
            *_, last = calls = [
                partial(call, "PATCH", path, {"timeout": number + 1}),
                partial(call, "PATCH", path, {"schedule": {"every": 60 + number}}),
                partial(call, "POST", f"{path}/pause"),
                partial(call, "POST", f"{path}/resume"),
                partial(call, "POST", f"{path}/run"),
                partial(call, "GET", f"{path}/next"),
                partial(jobs.register, name, "jobs.note", 90),
            ]
            if number % 2:
                calls.insert(0, partial(call, "DELETE", path))
            *answers, registered = self.together(*calls)
            assert last.func is jobs.register
            assert registered.name == name
            statuses = {answer.status_code for answer in answers}
            gone = {404, 409} if number % 2 else set()  # its handler is another, its name is taken
            assert statuses <= {200, 202, 204, 422} | gone


def test_a_run_by_hand_keeps_to_the_overlap_policy(call: Caller) -> None:
    for policy, answer in (("skip", "skipped_overlap"), ("queue", "waiting"), ("allow", "claimed")):
        made = call.ok("POST", "/jobs", {**JOB, "name": policy, "overlap": policy})
        assert call.ok("POST", f"/jobs/{made['id']}/run")["status"] == "claimed"
        second = call.ok("POST", f"/jobs/{made['id']}/run")
        assert second["status"] == answer
        assert Fire.objects.get(pk=second["fire"]).status == answer
