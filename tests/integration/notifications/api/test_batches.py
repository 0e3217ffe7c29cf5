"""Many in one request: as JSON or CSV, with bad rows named by their lines."""

import csv
import io
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from notifications.delivery import claims
from notifications.models import Batch, Notification
from notifications.submission import acceptance
from notifications.submission.building import Answer
from tests.integration.notifications.api.conftest import SIMULATED, Caller


def test_a_list_becomes_a_batch(call: Caller) -> None:
    rows = [{**SIMULATED, "recipient": name} for name in ("ada", "bob")]
    made = call.ok("POST", "/notifications/batch", rows, query={"name": "news"})
    assert (made["accepted"], made["refused"], made["state"]) == (2, 0, "active")
    assert sorted(Notification.objects.values_list("recipient", flat=True)) == ["ada", "bob"]
    seen = call.ok("GET", f"/notifications/batch/{made['id']}")
    assert seen["progress"] == {"queued": 2}
    listed = call.ok("GET", "/notifications", query={"batch": made["id"]})
    assert len(listed["items"]) == 2


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
    headers = {"Idempotency_Key": key} if key else {}
    return call("POST", "/notifications/batch", body, query=query, **headers)


def test_a_repeated_batch_gives_the_first_back_and_sends_nothing_twice(call: Caller) -> None:
    rows = [*ROWS, {**SIMULATED, "recipient": ""}, 7]
    first, again = repeated(call, rows), repeated(call, rows)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == first.json()
    assert (again.json()["accepted"], again.json()["refused"]) == (5, 2)
    assert Notification.objects.count() == 5
    cancelled = call.ok("POST", f"/notifications/batch/{again.json()['id']}/cancel")
    assert cancelled["progress"] == {"cancelled": 5}


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
    rows = [{**base, **row} for base in (*ROWS, {**SIMULATED, "recipient": ""})]
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


def test_what_is_not_an_object_in_a_list_costs_its_row(call: Caller) -> None:
    rows = [7, SIMULATED, None, [SIMULATED], {**SIMULATED, "recipient": "bob"}, "ada"]
    made = call.ok("POST", "/notifications/batch", rows, Idempotency_Key="mixed")
    assert (made["accepted"], made["refused"]) == (2, 4)
    assert [error["row"] for error in made["errors"]] == [1, 3, 4, 6]
    assert {(error["field"], error["error"]) for error in made["errors"]} == {
        ("row", "MalformedRow")
    }


@pytest.mark.parametrize("body", [[], {}, "x"], ids=str)
def test_json_that_is_no_list_of_rows_is_refused(
    call: Caller, body: dict[str, Any] | list[Any] | str
) -> None:
    assert call("POST", "/notifications/batch", body).status_code == 422


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
