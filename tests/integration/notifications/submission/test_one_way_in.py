"""One request and many go the same way: the same checks, the same answers, the same rows."""

import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Never

import psycopg
import pytest
from django.db import DataError, connection, transaction

from notifications.core import errors
from notifications.models import Batch, Notification, RefusedRow, Suppression
from notifications.recipients import suppressions
from notifications.submission import acceptance, bulk, grouping, send, send_many
from notifications.submission.building import Asked
from tests.integration.notifications.conftest import SIMULATED
from tests.servers.process import wait_until

KEYED: dict[str, Any] = {**SIMULATED, "idempotency_key": "order-7"}


def by_one(fields: Any) -> errors.InvalidNotification | None:
    """Send it by itself, and give what refused it."""
    try:
        send(**fields)
    except errors.InvalidNotification as error:
        return error
    return None


def by_many(fields: Any) -> errors.InvalidNotification | None:
    """Send it among others, and give what refused it."""
    rows = [{**SIMULATED, "reference": "before"}, fields, {**SIMULATED, "reference": "after"}]
    submitted = send_many(rows)
    assert submitted.accepted + submitted.duplicates + submitted.refused == 3
    assert {"before", "after"} <= set(Notification.objects.values_list("reference", flat=True))
    return submitted.errors.get(1)


@pytest.fixture(params=[by_one, by_many])
def sent(request: pytest.FixtureRequest, transactional_db: None) -> Any:
    return request.param


def test_a_key_with_another_content_is_a_conflict(sent: Any) -> None:
    send(**KEYED)
    error = sent({**KEYED, "body": "Something else"})
    assert isinstance(error, errors.IdempotencyConflict)
    assert error.field == "idempotency_key"
    assert Notification.objects.filter(idempotency_key="order-7").count() == 1


def test_a_key_with_the_same_content_is_a_duplicate(sent: Any) -> None:
    send(**KEYED)
    assert sent(KEYED) is None
    assert Notification.objects.filter(idempotency_key="order-7").count() == 1


def test_a_suppressed_recipient_gets_a_finished_row(sent: Any) -> None:
    suppressions.suppress("simulator", "eve", Suppression.Reason.OPERATOR)
    assert sent({**SIMULATED, "recipient": "eve"}) is None
    row = Notification.objects.get(recipient="eve")
    assert (row.status, row.reason, row.due_at) == ("suppressed", "operator", None)
    assert row.finished_at is not None


def test_within_one_upload_a_key_counts_once_and_its_conflict_is_named(
    transactional_db: None,
) -> None:
    submitted = send_many([KEYED, KEYED, {**KEYED, "body": "Something else"}, SIMULATED])
    assert (submitted.accepted, submitted.duplicates, submitted.refused) == (2, 1, 1)
    assert isinstance(submitted.errors[2], errors.IdempotencyConflict)


class Unreadable(dict[str, str]):
    """Fields that raise when they are read."""

    def __init__(self, error: Any) -> None:
        super().__init__()
        self.error = error

    def keys(self) -> Never:
        raise self.error


@pytest.mark.parametrize(
    "error", [RecursionError, MemoryError, TypeError, UnicodeError, errors.NotificationError]
)
def test_whatever_reading_a_row_raises_costs_that_row(transactional_db: None, error: Any) -> None:
    rows = [SIMULATED, Unreadable(error("for ada@example.org")), SIMULATED]
    submitted = send_many(rows)
    assert (submitted.accepted, submitted.refused) == (2, 1)
    assert error.__name__ in str(submitted.errors[1])
    assert "ada@example.org" not in str(submitted.errors[1])


@pytest.mark.parametrize(
    "row", [None, 5, ["recipient"], {"recipient": 5}, {1: 2}, {"\ud800\x00": 1}]
)
def test_a_row_of_the_wrong_kind_costs_that_row(transactional_db: None, row: Any) -> None:
    submitted = send_many([SIMULATED, row, SIMULATED])
    assert (submitted.accepted, submitted.refused) == (2, 1)


def test_a_row_that_the_database_refuses_costs_that_row(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a check lets through by mistake, here a text longer than its column, is found."""
    monkeypatch.setattr(
        "notifications.submission.validation.text_of", lambda fields, name, _: getattr(fields, name)
    )
    rows = [{**SIMULATED, "reference": str(n)} for n in range(40)]
    rows[7]["reference"] = "r" * 300
    rows[33] = {**KEYED, "reference": "r" * 300}
    submitted = send_many(rows)
    assert (submitted.accepted, sorted(submitted.errors)) == (38, [7, 33])
    assert RefusedRow.objects.get(place=7).error == "FaultyRow"


def test_the_report_has_every_refused_row_and_the_answer_the_first(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "ERRORS_KEPT", 3)
    monkeypatch.setattr(bulk, "CHUNK", 4)
    submitted = send_many([{"recipient": ""}] * 10, channel="simulator", body="x")
    assert (submitted.refused, sorted(submitted.errors)) == (10, [0, 1, 2])
    batch = Batch.objects.get()
    assert [error["index"] for error in batch.errors] == [0, 1, 2]
    kept = RefusedRow.objects.filter(batch=batch)
    assert [row.place for row in kept] == list(range(10))
    assert {(row.field, row.error) for row in kept} == {("recipient", "InvalidField")}


def test_refused_rows_hold_no_memory(transactional_db: None) -> None:
    """A kept exception has a traceback, and that the frames with the whole chunk."""

    def peak(rows: int) -> int:
        tracemalloc.start()
        submitted = send_many(({"recipient": ""} for _ in range(rows)), channel="simulator")
        held, top = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert submitted.refused == rows
        assert held < 4_000_000
        return top

    few, many = peak(10_000), peak(30_000)
    assert many < few * 1.3


def test_many_of_their_own_ids_are_told_apart(transactional_db: None) -> None:
    first = send(**SIMULATED)
    again, other = acceptance.accept_many(
        [Asked(SIMULATED, id=first.id), Asked({**SIMULATED, "body": "Else"}, id=first.id)]
    )
    # The first was made without an id of its own, so it has nothing to compare by.
    assert not again.created
    assert not other.created
    assert Notification.objects.count() == 1


@contextmanager
def table_held() -> Iterator[None]:
    """Keep every insert waiting, as a writer that is slow does, and let them go at the end."""
    parameters: Any = connection.get_connection_params()
    with psycopg.connect(**parameters) as other:
        other.execute("LOCK TABLE notifications_notification IN SHARE MODE")
        yield


def sent_by_threads(
    rows: list[dict[str, Any]], during: AbstractContextManager[None]
) -> list[Exception | None]:
    """Send each row by a thread of its own, all of them before ``during`` ends; give the errors."""

    def send_it(fields: Any) -> Exception | None:
        try:
            send(**fields)
        except Exception as error:  # noqa: BLE001 -- returned, for the test to look at
            return error
        finally:
            connection.close()
        return None

    with ThreadPoolExecutor(len(rows)) as threads:
        with during:
            sending = [threads.submit(send_it, rows[0])]
            wait_until(grouping_is_busy)
            sending += [threads.submit(send_it, fields) for fields in rows[1:]]
            wait_until(lambda: waiting_in_groups() == len(rows) - 1)
        return [future.result() for future in sending]


def grouping_is_busy() -> bool:
    return acceptance._groups._is_busy


def waiting_in_groups() -> int:
    return len(acceptance._groups._waiting)


def transactions() -> int:
    """Return how many transactions have written the notifications that there are."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT xmin::text) FROM notifications_notification")
        return int(cursor.fetchone()[0])


@pytest.fixture
def patient(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have threads gather for as long as a test's first one writes."""
    monkeypatch.setattr(grouping, "PATIENCE", 100.0)


def test_what_threads_send_at_the_same_time_is_one_transaction(patient: None) -> None:
    rows = [{**SIMULATED, "reference": str(n)} for n in range(12)]
    rows[3] |= {"idempotency_key": "order-7"}
    assert sent_by_threads(rows, table_held()) == [None] * 12
    assert Notification.objects.count() == 12
    assert transactions() == 2  # the first one's, and that of those that came meanwhile


def test_a_row_that_cannot_be_written_costs_those_beside_it_nothing(
    patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "notifications.submission.validation.text_of", lambda fields, name, _: getattr(fields, name)
    )
    rows = [{**SIMULATED, "reference": str(n)} for n in range(6)]
    rows[4]["reference"] = "r" * 300
    found = sent_by_threads(rows, table_held())
    assert isinstance(found.pop(4), DataError)
    assert found == [None] * 5
    assert set(Notification.objects.values_list("reference", flat=True)) == set("01235")


def test_one_key_used_by_threads_at_the_same_time_is_one_notification(patient: None) -> None:
    found = sent_by_threads([KEYED, KEYED, KEYED, {**KEYED, "body": "Else"}], table_held())
    assert found[:3] == [None] * 3
    assert isinstance(found[3], errors.IdempotencyConflict)
    assert Notification.objects.count() == 1


def test_a_key_in_an_open_transaction_is_waited_for_by_who_uses_it_alone(
    transactional_db: None,
) -> None:
    rows = [{**SIMULATED, "idempotency_key": str(n)} for n in range(4)]
    with ThreadPoolExecutor(5) as threads:
        with transaction.atomic():
            send(**KEYED)
            same = threads.submit(send_and_close, KEYED)
            wait_until(grouping_is_busy)
            for future in [threads.submit(send_and_close, fields) for fields in rows]:
                future.result(timeout=100)
            assert not same.done()
        same.result(timeout=100)
    assert Notification.objects.count() == 5


def send_and_close(fields: Any) -> None:
    send(**fields)
    connection.close()
