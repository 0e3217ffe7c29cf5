"""Bulk submission and the batch: many accepted as one, watched, paused, resumed, cancelled."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from notifications.core import errors
from notifications.models import Batch, Notification, Status
from notifications.operations import batches
from notifications.submission import send_many
from tests.integration.notifications.conftest import SIMULATED


def states() -> list[str]:
    return sorted(Notification.objects.values_list("status", flat=True))


def test_many_are_accepted_and_a_bad_row_is_reported_with_its_index(transactional_db: None) -> None:
    rows = [{"recipient": "a"}, {"recipient": "b", "priority": "urgent"}, {"recipient": "c"}]
    submitted = send_many(rows, channel="simulator", body="Hello", name="greetings")
    assert isinstance(submitted.errors[1], errors.UnknownPriority)
    assert list(submitted.errors) == [1]
    recipients = Notification.objects.filter(id__in=submitted.ids).order_by("id")
    assert [n.recipient for n in recipients] == ["a", "c"]
    batch = submitted.batch
    assert (batch.name, batch.accepted, batch.refused) == ("greetings", 2, 1)
    assert batch.errors[0]["index"] == 1
    assert batch.errors[0]["field"] == "priority"


def test_a_stream_of_rows_is_taken_in_chunks(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.submission.bulk.CHUNK", 10)
    taken = send_many({**SIMULATED, "reference": str(n)} for n in range(35))
    assert (taken.accepted, Notification.objects.count()) == (35, 35)


def test_rows_with_a_key_that_is_taken_are_counted_as_duplicates(transactional_db: None) -> None:
    rows = [{**SIMULATED, "idempotency_key": f"k{n}"} for n in range(3)]
    send_many(rows)
    again = send_many([*rows, {**SIMULATED, "idempotency_key": "new"}])
    assert (again.accepted, again.duplicates) == (1, 3)
    assert Notification.objects.count() == 4


def test_what_was_written_by_the_bulk_door_equals_what_the_single_one_writes(
    accepted: Callable[..., Notification],
) -> None:
    fields = {"context": {"ä": [1, None, "\\N \t"]}, "metadata": {"a": 1}, "reference": "r\n\\."}
    fields["category"] = "product"  # a digest of its throttle might take the context
    single = Notification.objects.get(id=accepted(**fields, expires=60, retry={"base": 1}).id)
    send_many([{**SIMULATED, **fields, "expires": 60, "retry": {"base": 1}}])
    many = Notification.objects.exclude(id=single.id).get()
    names = {f.attname for f in Notification._meta.concrete_fields}
    names -= {"id", "batch_id", "created_at", "due_at", "scheduled_at", "expires_at"}
    assert {n: getattr(many, n) for n in names} == {n: getattr(single, n) for n in names}


def test_a_committed_batch_is_rung_for(
    transactional_db: None, messages_on_the_broker: Callable[..., list[dict[str, Any]]]
) -> None:
    send_many([SIMULATED] * 250)
    assert len(messages_on_the_broker("simulator.medium")) == 3  # a hundred rows each


@pytest.fixture
def batch(
    transactional_db: None, set_: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Batch:
    """Five notifications, which follow their batch two at a time."""
    monkeypatch.setattr(batches, "CHUNK", 2)
    return send_many([SIMULATED] * 5).batch


def follow() -> None:
    while batches.tick() == batches.BUSY:
        pass


def test_a_paused_batch_waits_and_a_resumed_one_goes_on(
    batch: Batch, deliver: Callable[..., Any]
) -> None:
    first, *others = Notification.objects.order_by("id")
    deliver(first)
    assert batches.pause(batch)
    follow()
    assert batches.progress(batch) == {"sent": 1, "paused": 4}
    assert deliver(*others) == []
    assert not batches.pause(batch)
    assert batches.resume(batch)
    follow()
    assert len(deliver(*others)) == 4
    assert batches.progress(batch) == {"sent": 5}


def test_a_batch_cancelled_half_way_keeps_what_was_sent(
    batch: Batch, deliver: Callable[..., Any]
) -> None:
    deliver(Notification.objects.order_by("id")[0])
    assert batches.cancel(batch)
    follow()
    assert states() == [Status.CANCELLED] * 4 + [Status.SENT]
    batch.refresh_from_db()
    assert batch.settled
    assert not batches.cancel(batch)
    assert not batches.resume(batch)


@pytest.mark.parametrize("turn", ["pause", "cancel"])
def test_rows_that_arrive_after_the_turn_of_their_batch_follow_it(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, turn: str
) -> None:
    monkeypatch.setattr("notifications.submission.bulk.CHUNK", 2)

    def rows() -> Iterator[dict[Any, Any]]:
        for number in range(6):
            if number == 3:
                getattr(batches, turn)(Batch.objects.get())
            yield {"recipient": f"ada{number}"}

    submitted = send_many(rows(), channel="simulator", body="x")
    follow()
    state = {"pause": "paused", "cancel": "cancelled"}[turn]
    assert batches.progress(submitted.batch) == {state: 6}


def test_a_paused_batch_can_be_cancelled(batch: Batch) -> None:
    batches.pause(batch)
    assert batches.cancel(batch)
    follow()
    assert states() == [Status.CANCELLED] * 5
