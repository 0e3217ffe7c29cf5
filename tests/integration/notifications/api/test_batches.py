"""Many in one request: as JSON or CSV, with bad rows named by their lines."""

import pytest
from django.test import Client

from notifications.models import Batch, Notification
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.api.conftest import SIMULATED

CSV = """\
recipient,name,idempotency_key
ada,Ada,a
bob,"Bob
the second",b
,Nobody,c
eve,Eve,d
"""


@pytest.fixture
def greeting(db):
    template = Template.objects.create(name="greeting", channel="simulator")
    return publish(create_version(template, {"body": "Hello {{ name }}", "subject": "Hi"}))


def post_csv(call, text, **query):
    return Client().post(
        "/api/v1/notifications/batch",
        text if isinstance(text, bytes) else text.encode(),
        content_type="text/csv",
        headers=call.headers,
        query_params=query,
    )


def test_a_list_becomes_a_batch(call):
    rows = [{**SIMULATED, "recipient": name} for name in ("ada", "bob")]
    made = call.ok("POST", "/notifications/batch", rows, query={"name": "news"})
    assert (made["accepted"], made["refused"], made["state"]) == (2, 0, "active")
    assert sorted(Notification.objects.values_list("recipient", flat=True)) == ["ada", "bob"]
    seen = call.ok("GET", f"/notifications/batch/{made['id']}")
    assert seen["progress"] == {"queued": 2}
    listed = call.ok("GET", "/notifications", query={"batch": made["id"]})
    assert len(listed["items"]) == 2


def test_a_csv_fills_the_template_row_by_row(call, greeting):
    response = post_csv(call, CSV, channel="simulator", template="greeting")
    assert response.status_code == 202, response.content
    made = response.json()
    assert (made["accepted"], made["refused"]) == (3, 1)
    bob = Notification.objects.get(recipient="bob")
    assert bob.context == {"name": "Bob\nthe second"}
    assert bob.idempotency_key == "b"
    assert bob.template_version == greeting


def test_a_refused_row_is_named_with_its_line(call, greeting):
    made = post_csv(call, CSV, channel="simulator", template="greeting").json()
    (error,) = made["errors"]
    assert (error["row"], error["line"], error["field"]) == (3, 5, "recipient")
    kept = call.ok("GET", f"/notifications/batch/{made['id']}")
    assert kept["errors"] == made["errors"]


@pytest.mark.parametrize(
    "row",
    [
        {"recipient": 5},
        {"recipient": "ada", "context": []},
        {"recipient": "ada", "retry": "often"},
        {"recipient": "ada", "eta": {}},
        {"recipient": "ada", "expires": True},
        {"recipient": "ada", "metadata": "x"},
        {"recipient": "ada", "priority": []},
        {"recipient": "ada", "guarantee": {}},
        {"recipient": "ada", "template": 7},
        {"recipient": "ada", "test": "yes"},
        {"recipient": "ada", "idempotency_key": None},
        {"recipient": "ada", "colour": "red"},
        {"channel": ["email"], "recipient": "ada"},
    ],
    ids=str,
)
def test_a_row_of_the_wrong_kind_stops_no_other(call, row):
    good = {"channel": "simulator", "recipient": "ada", "body": "Hello"}
    made = call.ok(
        "POST", "/notifications/batch", [good, {"channel": "simulator", "body": "x", **row}]
    )
    assert (made["accepted"], made["refused"]) == (1, 1)
    assert made["errors"][0]["row"] == 2


def test_a_repeated_batch_with_its_key_sends_nothing_twice(call):
    rows = [SIMULATED, {**SIMULATED, "recipient": "bob"}]
    call.ok("POST", "/notifications/batch", rows, Idempotency_Key="news-1")
    again = call.ok("POST", "/notifications/batch", rows, Idempotency_Key="news-1")
    assert (again["accepted"], again["duplicates"]) == (0, 2)
    assert Notification.objects.count() == 2


def test_a_batch_is_paused_resumed_and_cancelled(call):
    made = call.ok("POST", "/notifications/batch", [SIMULATED] * 3)
    path = f"/notifications/batch/{made['id']}"
    paused = call.ok("POST", f"{path}/pause")
    assert (paused["state"], paused["progress"]) == ("paused", {"paused": 3})
    assert call("POST", f"{path}/pause").status_code == 409
    resumed = call.ok("POST", f"{path}/resume")
    assert (resumed["state"], resumed["progress"].get("paused", 0)) == ("active", 0)
    cancelled = call.ok("POST", f"{path}/cancel")
    assert (cancelled["state"], cancelled["progress"]) == ("cancelled", {"cancelled": 3})
    assert call("POST", f"{path}/resume").status_code == 409


@pytest.mark.parametrize(
    ("text", "status", "detail"),
    [
        ("name\nAda\n", 422, "no column recipient"),
        ("recipient,name\nada\n", 422, "Line 2 has 1 cells"),
        ("recipient,recipient\na,b\n", 422, "the name of another"),
        ("recipient\n", 422, "no row"),
        ('recipient\n"ada', 400, "no CSV"),
        (b"recipient\n\xff\n", 400, "no CSV"),
    ],
    ids=["no recipient", "short line", "twice", "empty", "open quote", "no UTF-8"],
)
def test_a_csv_that_cannot_be_read_says_why(call, text, status, detail):
    response = post_csv(call, text, channel="simulator", template="x")
    assert response.status_code == status
    assert detail in response.json()["detail"]
    assert not Batch.objects.exists()


@pytest.mark.parametrize("body", [[], {}, [5], "x"], ids=str)
def test_json_that_is_no_list_of_objects_is_refused(call, body):
    assert call("POST", "/notifications/batch", body).status_code == 422


def test_a_batch_is_bounded(call, settings):
    settings.NOTIFICATIONS_API_BATCH_ROWS = 2
    assert call("POST", "/notifications/batch", [SIMULATED] * 3).status_code == 413
    assert post_csv(call, "recipient\na\nb\nc\n").status_code == 413
    settings.NOTIFICATIONS_API_BATCH_BYTES = 10
    assert call("POST", "/notifications/batch", [SIMULATED]).status_code == 413


def test_a_batch_may_be_larger_than_another_body(call):
    rows = [{**SIMULATED, "body": "x" * 1000}] * 3000
    assert call.ok("POST", "/notifications/batch", rows)["accepted"] == 3000
