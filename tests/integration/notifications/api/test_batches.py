"""Many in one request: as JSON or CSV, with bad rows named by their lines."""

import csv
import io
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from notifications.delivery import claims
from notifications.models import Batch, Notification
from notifications.submission import acceptance, save_recipient
from notifications.submission.building import Answer
from templates_engine.models import Template, TemplateVersion
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.api.conftest import SIMULATED, Caller

CSV = """\
recipient,name,idempotency_key
ada,Ada,a
bob,"Bob
the second",b
,Nobody,c
eve,Eve,d
"""


@pytest.fixture
def greeting(db: None) -> TemplateVersion:
    template = Template.objects.create(name="greeting", channel="simulator")
    return publish(create_version(template, {"body": "Hello {{ name }}", "subject": "Hi"}))


def post_csv(call: Caller, text: str | bytes, content_type: str = "text/csv", **query: Any) -> Any:
    return Client().generic(  # post() would encode it anew
        "POST",
        "/api/v1/notifications/batch",
        text if isinstance(text, bytes) else text.encode(),
        content_type=content_type,
        headers=call.headers,
        query_params=query,
    )


def test_the_rows_of_a_csv_share_what_its_query_names(
    call: Caller, greeting: TemplateVersion, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True
    shared = {"channel": "simulator", "template": "greeting"}
    url = "http://127.0.0.1:9/told"
    made = post_csv(call, "recipient,name\nada,Ada\n", **shared, countdown="600", callback_url=url)
    assert (made.status_code, made.json()["accepted"]) == (202, 1)
    row = Notification.objects.get()
    assert row.callback_url == url
    assert row.scheduled_at > row.created_at + timedelta(minutes=9)
    for query in ({"countdown": "soon"}, {"countdown": "nan"}, {"callback_url": "no-url"}):
        refused = post_csv(call, "recipient,name\nada,Ada\n", **shared, **query).json()
        (field,) = query
        assert field in (refused.get("field"), *(e["field"] for e in refused.get("errors", ())))
    assert Notification.objects.count() == 1


def test_a_list_becomes_a_batch(call: Caller) -> None:
    rows = [{**SIMULATED, "recipient": name} for name in ("ada", "bob")]
    made = call.ok("POST", "/notifications/batch", rows, query={"name": "news"})
    assert (made["accepted"], made["refused"], made["state"]) == (2, 0, "active")
    assert sorted(Notification.objects.values_list("recipient", flat=True)) == ["ada", "bob"]
    seen = call.ok("GET", f"/notifications/batch/{made['id']}")
    assert seen["progress"] == {"queued": 2}
    listed = call.ok("GET", "/notifications", query={"batch": made["id"]})
    assert len(listed["items"]) == 2


def test_a_csv_fills_the_template_row_by_row(call: Caller, greeting: TemplateVersion) -> None:
    response = post_csv(call, CSV, channel="simulator", template="greeting")
    assert response.status_code == 202, response.content
    made = response.json()
    assert (made["accepted"], made["refused"]) == (3, 1)
    bob = Notification.objects.get(recipient="bob")
    assert bob.context == {"name": "Bob\nthe second"}
    assert bob.idempotency_key == "b"
    assert bob.template_version == greeting


def test_a_refused_row_is_named_with_its_line(call: Caller, greeting: TemplateVersion) -> None:
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
def test_a_row_of_the_wrong_kind_stops_no_other(call: Caller, row: dict[str, Any]) -> None:
    good = {"channel": "simulator", "recipient": "ada", "body": "Hello"}
    made = call.ok(
        "POST", "/notifications/batch", [good, {"channel": "simulator", "body": "x", **row}]
    )
    assert (made["accepted"], made["refused"]) == (1, 1)
    assert made["errors"][0]["row"] == 2


ROWS = [{**SIMULATED, "recipient": name} for name in ("ada", "bob", "eve", "mia", "zoe")]


def repeated(call: Caller, body: Any = ROWS, key: str = "news-1", **query: Any) -> Any:
    return call("POST", "/notifications/batch", body, query=query, Idempotency_Key=key)


def test_a_repeated_batch_gives_the_first_back_and_sends_nothing_twice(call: Caller) -> None:
    rows = [*ROWS, {**SIMULATED, "recipient": ""}, 7]
    first, again = repeated(call, rows), repeated(call, rows)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == first.json()
    assert (again.json()["accepted"], again.json()["refused"]) == (5, 2)
    assert Notification.objects.count() == 5
    cancelled = call.ok("POST", f"/notifications/batch/{again.json()['id']}/cancel")
    assert cancelled["progress"] == {"cancelled": 5}


def test_a_csv_names_stored_recipients_categories_and_local_times(call: Caller) -> None:
    call.ok("POST", "/templates", {"name": "sale", "channel": "simulator", "category": "marketing"})
    call.ok("POST", "/templates/sale/versions", {"parts": {"body": "Sale, {{ name }}"}})
    call.ok("POST", "/templates/sale/versions/1/publish")
    save_recipient("c-1", addresses={"simulator": "ada"}, timezone="Asia/Tokyo")
    text = "to,recipient,category,local_time,name\nc-1,,billing,09:00,Ada\nc-1,work,,,Ada\n"
    text += "c-1,,nope,,Ada\nc-1,,,9,Ada\n,eve,,,Eve\n"
    made = post_csv(call, text, channel="simulator", template="sale").json()
    assert [(one["line"], one["field"]) for one in made["errors"]] == [
        (4, "category"),
        (5, "local_time"),
    ]
    ada, work, eve = Notification.objects.order_by("pk")
    assert (ada.recipient, ada.category, ada.context) == ("ada", "billing", {"name": "Ada"})
    assert f"{ada.scheduled_at.astimezone(ZoneInfo('Asia/Tokyo')):%H:%M}" == "09:00"
    assert (work.recipient, work.recipient_key, work.reason) == ("work", "c-1", "consent_missing")
    assert (eve.recipient, eve.recipient_key, eve.status) == ("eve", "", "queued")
    # An empty category is none: that of all rows, else that of the template.
    shared = {"channel": "simulator", "template": "sale", "context": {"name": "Ada"}}
    rows = [{"to": {"recipient": "c-1"}, "category": ""}]
    for common in (shared, {**shared, "category": "marketing"}):
        call.ok("POST", "/notifications/batch", {"common": common, "notifications": rows})
        assert Notification.objects.latest("pk").reason == "consent_missing"
    common = {**shared, "category": "billing"}
    call.ok("POST", "/notifications/batch", {"common": common, "notifications": rows})
    assert Notification.objects.latest("pk").category == "billing"


def test_a_csv_that_is_uploaded_again_gives_the_first_batch_back(
    call: Caller, greeting: TemplateVersion
) -> None:
    headers = call.headers
    call.headers = {**headers, "Idempotency-Key": "april"}
    first = post_csv(call, CSV, channel="simulator", template="greeting")
    again = post_csv(call, CSV, channel="simulator", template="greeting")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == first.json()
    other = post_csv(call, CSV + "zoe,Zoe,e\n", channel="simulator", template="greeting")
    assert other.json()["type"].endswith("/idempotency-conflict")
    assert (Batch.objects.count(), Notification.objects.count()) == (1, 3)


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (ROWS[:-1], {}),
        ([*ROWS, SIMULATED], {}),
        (ROWS[::-1], {}),
        ([*ROWS[:-1], {**ROWS[-1], "body": "Bye"}], {}),
        ([*ROWS[:-1], {"recipient": 5}], {}),
        (ROWS, {"reference": "other"}),
        (ROWS, {"name": "other"}),
    ],
    ids=["fewer", "more", "another order", "another text", "a bad row", "shared field", "name"],
)
def test_a_batch_key_with_another_content_is_a_conflict(
    call: Caller, body: Any, query: dict[str, Any]
) -> None:
    first = repeated(call).json()
    refused = repeated(call, body, **query)
    assert refused.status_code == 409
    problem = refused.json()
    assert problem["type"].endswith("/idempotency-conflict")
    assert problem["field"] == "idempotency_key"
    assert Batch.objects.get().accepted == first["accepted"] == Notification.objects.count()


def test_a_test_key_does_not_get_the_batch_of_another(
    call: Caller, caller: Callable[..., Caller]
) -> None:
    first = repeated(call).json()
    again = repeated(caller(kind="test"))
    assert again.status_code == 202
    assert again.json()["id"] != first["id"]
    assert (again.json()["accepted"], again.json()["test"]) == (len(ROWS), True)


def test_a_batch_is_the_same_however_it_is_written_and_whenever_it_is_due(call: Caller) -> None:
    first = repeated(call, [{**row, "eta": "2090-01-01T09:00:00Z"} for row in ROWS]).json()
    turned = [dict(reversed(row.items())) for row in ROWS]
    again = repeated(call, turned, expires="2091-01-01T09:00:00Z")
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert repeated(call, key="news-2").json()["id"] != first["id"]


def test_batches_without_a_key_are_all_new(call: Caller) -> None:
    ids = {call.ok("POST", "/notifications/batch", ROWS)["id"] for _ in range(2)}
    assert (len(ids), Notification.objects.count()) == (2, 10)


def test_batches_with_a_key_are_listed_newest_first_like_others(call: Caller) -> None:
    made = [repeated(call, key=key).json()["id"] for key in ("b", "a", "", "c", "d")]
    pages: list[str] = []
    cursor: Any = ""
    while cursor is not None:
        page = call.ok("GET", "/notifications/batch", query={"limit": 2, "cursor": cursor})
        pages += [batch["id"] for batch in page["items"]]
        cursor = page["next_cursor"]
    assert pages == made[::-1]


@pytest.fixture
def broken(call: Caller, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Break the acceptance after the first of three chunks; return what mends it."""
    accept = acceptance.accept_many
    accepted: list[Any] = []

    def accept_a_chunk(*args: Any, **options: Any) -> list[Answer]:
        if accepted:
            raise MemoryError
        accepted.append(args)
        return accept(*args, **options)

    monkeypatch.setattr("notifications.submission.bulk.CHUNK", 2)
    with monkeypatch.context() as crash:
        crash.setattr(acceptance, "accept_many", accept_a_chunk)
        yield crash


@pytest.mark.parametrize("row", [{}, {"idempotency_key": ""}], ids=["no key", "an empty key"])
def test_a_repeat_completes_what_a_crash_has_left_under_the_same_batch(
    call: Caller, broken: Any, row: dict[str, Any]
) -> None:
    rows = [{**one, **row} for one in (*ROWS, {**SIMULATED, "recipient": ""})]
    assert repeated(call, rows).status_code == 500
    half = Batch.objects.get()
    assert (half.accepted, half.closed_at) == (2, None)
    broken.undo()
    again = repeated(call, rows)
    made = again.json()
    assert (again.status_code, made["id"]) == (200, str(half.pk))
    assert (made["accepted"], made["refused"], made["duplicates"]) == (5, 1, 0)
    assert [error["row"] for error in made["errors"]] == [6]
    assert made["closed_at"]
    assert sorted(Notification.objects.values_list("recipient", flat=True)) == [
        row["recipient"] for row in ROWS
    ]
    assert repeated(call, rows).json() == made


@pytest.mark.parametrize("row", [{}, {"idempotency_key": ""}], ids=["no key", "an empty key"])
def test_a_batch_that_is_asked_for_by_many_at_once_is_accepted_once(
    transactional_db: None, call: Caller, monkeypatch: pytest.MonkeyPatch, row: dict[str, Any]
) -> None:
    monkeypatch.setattr("notifications.submission.bulk.CHUNK", 3)
    bad = {**SIMULATED, "recipient": ""}
    rows = [{**SIMULATED, "reference": str(n), **row} for n in range(9)] + [bad] * 4
    answers = []
    together = threading.Barrier(4)

    def ask() -> None:
        try:
            together.wait(60)
            answers.append(repeated(call, rows))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 202]
    assert len({answer.content for answer in answers}) == 1
    made = answers[0].json()
    assert (made["accepted"], made["refused"], made["duplicates"]) == (9, 4, 0)
    assert [error["row"] for error in made["errors"]] == [10, 11, 12, 13]
    assert set(Notification.objects.values_list("batch", flat=True)) == {Batch.objects.get().pk}
    assert Notification.objects.count() == 9


def test_a_batch_is_paused_resumed_and_cancelled(call: Caller) -> None:
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
    ("text", "detail"),
    [
        ("name\nAda\n", "Line 1 names the columns: recipient or to is missing."),
        ("recipient,recipient\na,b\n", "Line 1: two columns are named recipient."),
        ("recipient\n", "There is no row in it."),
        ("recipient\n" + 'x","y\n' * 20_000, "too many quotation marks"),
    ],
    ids=["no recipient", "twice", "empty", "quotes"],
)
def test_a_csv_that_cannot_be_read_says_why(call: Caller, text: str, detail: str) -> None:
    response = post_csv(call, text, channel="simulator", template="x")
    assert response.status_code == 422
    assert detail in response.json()["detail"]
    assert not Batch.objects.exists()


def test_what_is_not_an_object_in_a_list_costs_its_row(call: Caller) -> None:
    rows = [7, SIMULATED, None, [SIMULATED], {**SIMULATED, "recipient": "bob"}, "ada"]
    made = call.ok("POST", "/notifications/batch", rows, Idempotency_Key="mixed")
    assert (made["accepted"], made["refused"]) == (2, 4)
    assert [error["row"] for error in made["errors"]] == [1, 3, 4, 6]
    assert {(error["field"], error["error"]) for error in made["errors"]} == {
        ("row", "MalformedRow")
    }


def test_a_row_of_a_csv_that_cannot_be_read_stops_no_other(
    call: Caller, greeting: TemplateVersion
) -> None:
    text = b'sep=;\nrecipient;name;\nada; Ada ;\nbob\n\neve;"E"v"e";\nmia;J\xf6rg;\n;;\nzoe;"Zoe'
    made = post_csv(call, text, channel="simulator", template="greeting").json()
    assert (made["accepted"], made["refused"], made["blank"]) == (1, 4, 2)
    assert Notification.objects.get().context == {"name": "Ada"}
    assert [(error["row"], error["line"], error["field"]) for error in made["errors"]] == [
        (2, 4, "row"),
        (3, 6, "row"),
        (4, 7, "row"),
        (5, 9, "row"),
    ]


def test_a_csv_without_a_template_has_texts_of_its_own(call: Caller) -> None:
    text = (
        "recipient,subject,body,eta,reference,locale\nada,Hi,Hello,2030-01-01T09:00:00Z,r1,de-AT\n"
    )
    made = post_csv(call, text, channel="simulator").json()
    assert (made["accepted"], made["refused"]) == (1, 0)
    row = Notification.objects.get()
    assert (row.subject, row.body, row.reference, row.locale) == ("Hi", "Hello", "r1", "de-AT")
    assert row.scheduled_at.isoformat() == "2030-01-01T09:00:00+00:00"


@pytest.mark.parametrize("body", [[], {}, "x"], ids=str)
def test_json_that_is_no_list_of_rows_is_refused(
    call: Caller, body: dict[str, Any] | list[Any] | str
) -> None:
    assert call("POST", "/notifications/batch", body).status_code == 422


def test_a_batch_is_bounded(call: Caller, settings: Settings) -> None:
    settings.NOTIFICATIONS_API_BATCH_ROWS = 2
    refused = call("POST", "/notifications/batch", [SIMULATED] * 3)
    assert (refused.status_code, refused.json()["hint"]) == (413, "Send it in several parts.")
    assert post_csv(call, "recipient\na\nb\nc\n").status_code == 413
    settings.NOTIFICATIONS_API_BATCH_BYTES = 10
    assert call("POST", "/notifications/batch", [SIMULATED]).status_code == 413


def test_a_batch_may_be_larger_than_another_body(call: Caller) -> None:
    rows = [{**SIMULATED, "body": "x" * 1000}] * 3000
    assert call.ok("POST", "/notifications/batch", rows)["accepted"] == 3000


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_the_report_has_all_refused_rows(
    call: Caller, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("notifications.submission.bulk.ERRORS_KEPT", 2)
    monkeypatch.setattr("notifications.operations.refusal_report._AT_ONCE", 3)
    bad = [{**SIMULATED, "=1+1": "x"} for _ in range(7)]
    made = call.ok("POST", "/notifications/batch", [SIMULATED, *bad])
    assert (made["refused"], len(made["errors"])) == (7, 2)
    path = made["errors_url"].removeprefix("/api/v1")
    response = call("GET", path, query={"format": kind})
    text = b"".join(response.streaming_content).decode()
    if kind == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert {row["field"] for row in rows} == {"'=1+1"}  # no spreadsheet computes it
    else:
        rows = [json.loads(line) for line in text.splitlines()]
        assert {row["field"] for row in rows} == {"=1+1"}
    assert [int(row["row"]) for row in rows] == list(range(2, 9))


def test_a_cancelled_batch_answers_what_is_never_sent(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.operations.batches.CHUNK", 2)
    made = call.ok("POST", "/notifications/batch", [SIMULATED] * 9)
    claims.claim_due("simulator", "medium", 1)
    cancelled = call.ok("POST", f"/notifications/batch/{made['id']}/cancel")
    assert cancelled["progress"] == {"cancelled": 8, "sending": 1}


@pytest.mark.parametrize(
    ("charset", "codec", "name"),
    [
        ("windows-1252", "cp1252", "Zoë €"),
        ("Shift_JIS", "shift_jis", "花子"),
        ('"iso-8859-2"', "iso8859_2", "Łukasz"),
        ("utf-16", "utf-16", "Zoë"),
        ("utf-16le", "utf-16-le", "\ufeffZoë"),
        ("UTF-8", "utf-8-sig", "Zoë"),
    ],
)
def test_a_csv_is_decoded_by_the_charset_that_it_declares(
    call: Caller, db: None, charset: str, codec: str, name: str
) -> None:
    mark = "\ufeff" if name.startswith("\ufeff") else ""
    text = f"{mark}recipient,body\nada,Dear {name.removeprefix(mark)}\n"
    type_ = f"text/csv; charset={charset}"
    # The query stays UTF-8, whatever the body is in.
    response = post_csv(call, text.encode(codec), type_, channel="simulator", name="grüße")
    assert response.status_code == 202, response.content
    assert response.json()["errors"] == []
    assert Batch.objects.get().name == "grüße"
    assert Notification.objects.get().body == f"Dear {name.removeprefix(mark)}"


NO_CHARSETS = ["klingon", "idna", "unicode_escape", "utf-7", "rot13", "zip", "punycode", "hex"]


@pytest.mark.parametrize("charset", NO_CHARSETS)
def test_a_charset_that_is_none_is_refused_before_anything_is_sent(
    call: Caller, db: None, charset: str
) -> None:
    type_ = f"text/csv; charset={charset}"
    response = post_csv(call, "recipient,body\nada,Hi\n", type_, channel="simulator")
    assert response.status_code == 415
    assert response["Content-Type"] == "application/problem+json"
    assert not Batch.objects.exists()
    assert not Notification.objects.exists()


def test_what_is_not_in_the_declared_charset_is_refused(call: Caller, db: None) -> None:
    rows = b"recipient,body\nada,Hi\nbob,\xff\n"
    made = post_csv(call, rows, "text/csv; charset=us-ascii", channel="simulator").json()
    assert (made["accepted"], made["refused"]) == (1, 1)
    assert "(ascii)" in str(made["errors"])
