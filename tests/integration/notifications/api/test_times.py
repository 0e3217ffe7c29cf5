"""Each time, date and zone that the API takes: what is none is refused by its field."""

from collections.abc import Callable
from typing import Any

import pytest

from notifications.core.routing import SEND_TASK
from notifications.models import Notification
from tests.integration.notifications.api.conftest import SIMULATED, Caller

pytestmark = pytest.mark.django_db

NO_MOMENTS = (
    "2026-02-30T10:00:00Z",
    "2026-13-01T10:00:00Z",
    "2099-12-24T25:00:00Z",
    "2099-12-24T10:60:00Z",
    "2099-12-24T10:00:00+25:00",
    "2099-12-24T10:00:00 Europe/Vienna",
    "2099-12-24T10:00:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "tomorrow",
    "1798106400",
)
NO_DATES = ("2026-02-30", "2026-13-01", "2026-1-1", "20260101", "2026-W01-1", "today")
NO_TIMES_OF_DAY = ("24:00", "25:00", "08:60", "8:00", "8 am", "08:00:00Z", "08:00+01:00")
NO_ZONES = (
    "Mars/One",
    "europe/vienna",
    "Europe",
    "+01:00",
    "/etc/localtime",
    "../UTC",
    "localtime",
)

Ask = Callable[[Caller, str], Any]
SEND = {"channel": "simulator", "recipient": "ada", "body": "Hi"}
JOB = {"name": "j", "handler": SEND_TASK, "kwargs": SEND, "schedule": {"every": 60}}


def posted(path: str, body: Callable[[str], dict[str, Any]]) -> Ask:
    return lambda call, value: call("POST", path, body(value))


def sent(field: str) -> Ask:
    return posted("/notifications", lambda value: {**SIMULATED, field: value})


def listed(field: str) -> Ask:
    return lambda call, value: call("GET", "/notifications", query={field: value})


def batch(field: str) -> Ask:
    query = {"channel": "simulator"}
    rows = [{"recipient": "ada", "body": "Hi"}]
    body = {"common": {}, "notifications": rows}
    return lambda call, value: call(
        "POST", "/notifications/batch", {**body, "common": {**query, field: value}}
    )


def filtered(field: str, op: str = "gte") -> Ask:
    return posted(
        "/audiences/preview",
        lambda value: {"filter": {"field": field, "op": op, "value": value}},
    )


def window(field: str) -> Ask:
    given = {"category": "billing", "begins": "08:00", "ends": "20:00"}
    return posted("/delivery-windows", lambda value: {**given, field: value})


def job(change: Callable[[str], dict[str, Any]]) -> Ask:
    return posted("/jobs", lambda value: {**JOB, **change(value)})


def chain(field: str) -> Ask:
    step = {"channel": "simulator", "body": "Hi"}
    given = {"chain": {"steps": [step]}, "recipients": {"simulator": "ada"}}
    return posted("/chain-runs", lambda value: {**given, field: value})


def csv_row(field: str) -> Ask:
    def ask(call: Caller, value: str) -> Any:
        rows = f"recipient,body,{field}\nada,Hi,{value}\n".encode()
        url = "/api/v1/notifications/batch?channel=simulator"
        return call._client.post(url, rows, "text/csv", headers=call.headers)

    return ask


def json_row(field: str) -> Ask:
    return posted("/notifications/batch", lambda value: [{**SIMULATED, field: value}])  # type: ignore[arg-type, return-value]


def backfilled(field: str) -> Ask:
    def ask(call: Caller, value: str) -> Any:
        made = call.ok("POST", "/jobs", JOB)
        span = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z", field: value}
        answer = call("POST", f"/jobs/{made['id']}/backfill", {**span, "dry_run": True})
        call.ok("DELETE", f"/jobs/{made['id']}")
        return answer

    return ask


def changed_window(call: Caller, value: str) -> Any:
    made = call.ok(
        "POST", "/delivery-windows", {"category": "product", "begins": "08:00", "ends": "20:00"}
    )
    return call("PATCH", f"/delivery-windows/{made['id']}", {"ends": value})


INPUTS: dict[str, tuple[Ask, tuple[str, ...], str]] = {
    "eta": (sent("eta"), NO_MOMENTS, "eta"),
    "expires": (sent("expires"), NO_MOMENTS, "expires"),
    "local_time": (sent("local_time"), (*NO_TIMES_OF_DAY, "2026-02-30T10:00"), "local_time"),
    "eta of a batch": (batch("eta"), NO_MOMENTS, "eta"),
    "expires of a batch": (batch("expires"), NO_MOMENTS, "expires"),
    "local_time of a batch": (batch("local_time"), NO_TIMES_OF_DAY, "local_time"),
    "eta of a row": (json_row("eta"), NO_MOMENTS, "eta"),
    "expires of a row": (json_row("expires"), NO_MOMENTS, "expires"),
    "local_time of a row": (json_row("local_time"), NO_TIMES_OF_DAY, "local_time"),
    "eta of a CSV": (csv_row("eta"), NO_MOMENTS, "eta"),
    "local_time of a CSV": (csv_row("local_time"), NO_TIMES_OF_DAY, "local_time"),
    "created_after": (listed("created_after"), NO_MOMENTS, "created_after"),
    "created_before": (listed("created_before"), NO_MOMENTS, "created_before"),
    "eta of a chain": (chain("eta"), NO_MOMENTS, "eta"),
    "expires of a chain": (chain("expires"), NO_MOMENTS, "expires"),
    "created_at of a filter": (filtered("created_at"), NO_MOMENTS, "filter.value"),
    "updated_at of a filter": (filtered("updated_at"), NO_MOMENTS, "filter.value"),
    "an attribute of a filter": (filtered("attributes.born"), NO_DATES, "filter.value"),
    "timezone of a filter": (filtered("timezone", "eq"), NO_ZONES, "filter.value"),
    "begins of a window": (window("begins"), NO_TIMES_OF_DAY, "begins"),
    "ends of a window": (window("ends"), NO_TIMES_OF_DAY, "ends"),
    "timezone of a window": (window("timezone"), NO_ZONES, "timezone"),
    "ends of a changed window": (changed_window, NO_TIMES_OF_DAY, "ends"),
    "timezone of a recipient": (
        posted("/recipients", lambda value: {"id": "ada", "timezone": value}),
        NO_ZONES,
        "timezone",
    ),
    "start of a job": (job(lambda value: {"start": value}), NO_MOMENTS, "start"),
    "expires of a job": (job(lambda value: {"expires": value}), NO_MOMENTS, "expires"),
    "at of a job": (job(lambda value: {"schedule": {"at": value}}), NO_MOMENTS, "schedule.at"),
    "from of a job": (
        job(lambda value: {"schedule": {"rrule": "FREQ=DAILY", "from": value}}),
        NO_MOMENTS,
        "schedule.from",
    ),
    "between of a job": (
        job(lambda value: {"schedule": {"every": 60, "between": ["07:00", value]}}),
        NO_TIMES_OF_DAY,
        "schedule.between",
    ),
    "timezone of a job": (
        job(lambda value: {"schedule": {"cron": "0 9 * * *", "timezone": value}}),
        NO_ZONES,
        "schedule.timezone",
    ),
    "eta in a job's arguments": (
        job(lambda value: {"kwargs": {**SEND, "eta": value}}),
        NO_MOMENTS,
        "kwargs.eta",
    ),
    "local_time in a job's arguments": (
        job(lambda value: {"kwargs": {**SEND, "local_time": value}}),
        NO_TIMES_OF_DAY,
        "kwargs.local_time",
    ),
    "since of a backfill": (backfilled("since"), NO_MOMENTS, "since"),
    "until of a backfill": (backfilled("until"), NO_MOMENTS, "until"),
}


@pytest.mark.parametrize(("ask", "values", "field"), INPUTS.values(), ids=INPUTS)
def test_what_is_no_time_date_or_zone_is_refused_by_its_field(
    call: Caller, ask: Ask, values: tuple[str, ...], field: str
) -> None:
    for value in values:
        answer = ask(call, value)
        said = answer.json()
        if answer.status_code == 202:  # a batch, whose rows are refused each for itself
            assert (said["accepted"], said["errors"][0]["field"]) == (0, field), (value, said)
        else:
            assert (answer.status_code, said.get("field")) == (422, field), (value, said)
    assert not Notification.objects.exists()
