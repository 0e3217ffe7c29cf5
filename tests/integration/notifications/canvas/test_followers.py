"""A follower that faults costs itself, and none is called twice."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery import chord
from celery.result import AsyncResult
from django.db import connection
from django_celery_results.models import ChordCounter, TaskResult
from kombu.exceptions import OperationalError

from notifications import submission
from notifications.canvas import followers
from notifications.canvas.deliveries import deliver_one
from notifications.delivery import claims, pipeline
from notifications.models import FailedDelivery, Notification, QuarantinedRow, Status
from notifications.tasks import deliver_due, send_notification
from tests.integration.notifications.canvas.tasks import unpublishable

SIMULATED: Any = {"channel": "simulator", "recipient": "ada", "body": "Hello"}


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A follower that cannot be published: what it raises is not an outage."""
    error = UnicodeEncodeError("ascii", "ü", 0, 1, "on purpose")
    monkeypatch.setattr(unpublishable, "error", error)
    return unpublishable.s()


def send(**changes: Any) -> Any:
    return send_notification.s(**SIMULATED, **changes)


def accept(**options: Any) -> Any:
    return send_notification.apply_async(kwargs=SIMULATED, **options).notification


def deliver_without_followers(*rows: Any) -> None:
    """Deliver, and die before what follows is called."""
    pipeline.deliver(claims.claim([row.id for row in rows]), worker="test")


def sent(reference: Any) -> int:
    return Notification.objects.filter(reference=reference).count()


def test_a_follower_that_faults_costs_itself_only(
    transactional_db: None, broken: Any, set_: Callable[..., None]
) -> None:
    set_("PICKUP_GRACE", 0.0)
    row = accept(link=[send(reference="before"), broken, send(reference="after")])
    deliver_one(row.id, worker="test")
    assert (sent("before"), sent("after")) == (1, 1)
    row.refresh_from_db()
    assert [link["task"] for link in row.continuation["link"]] == ["canvas.unpublishable"]
    fault = QuarantinedRow.objects.get()
    assert (fault.loop, fault.key, fault.reason) == ("followers", str(row.id), "UnicodeEncodeError")
    # It rests, and is quarantined with the third fault; its neighbours are called meanwhile.
    for _ in range(3):
        QuarantinedRow.objects.update(retry_at=None)
        others = accept(link=send(reference="neighbour"))
        deliver_without_followers(others)
        followers.call_overdue(10)
    assert sent("neighbour") == 3
    assert QuarantinedRow.objects.get().quarantined_at
    assert followers.call_overdue(10) == 0


def test_a_batch_goes_on_after_a_follower_that_faults(transactional_db: None, broken: Any) -> None:
    accept(link=broken)
    for number in range(3):
        accept(link=send(reference=f"batch {number}"))
    Notification.objects.update(due_at="2020-01-01T00:00:00Z")
    assert deliver_due("simulator", "medium", 10) == 4
    assert [sent(f"batch {number}") for number in range(3)] == [1, 1, 1]


def test_what_a_dead_worker_left_is_called_by_the_sweep_and_once(
    transactional_db: None, set_: Callable[..., None]
) -> None:
    set_("PICKUP_GRACE", 0.0)
    row = accept(link=[send(reference="one"), send(reference="two")])
    deliver_without_followers(row)

    def sweep(_: Any) -> None:
        try:
            followers.call_overdue(10)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(sweep, range(4)))
    followers.call_overdue(10)
    assert (sent("one"), sent("two")) == (1, 1)
    row.refresh_from_db()
    assert row.continuation is None


@pytest.mark.parametrize("end", ["expired", "suppressed", "cancelled"])
def test_what_ends_without_a_provider_call_fails_its_chord(
    transactional_db: None, set_: Callable[..., None], end: str
) -> None:
    set_("PICKUP_GRACE", 0.0)
    result = chord([send(), send(reference="other")])(send(reference="body"))
    first, other = Notification.objects.order_by("reference")
    if end == "cancelled":
        submission.cancel(first.id)
    else:
        Notification.objects.filter(id=first.id).update(
            status=end, finished_at=first.created_at, reason=end
        )
    deliver_one(other.id, worker="test")
    followers.call_overdue(10)
    assert AsyncResult(result.id).state == "FAILURE"
    assert not ChordCounter.objects.exists()
    assert sent("body") == 0


def test_error_links_hear_of_an_expired_one(
    transactional_db: None, set_: Callable[..., None]
) -> None:
    set_("PICKUP_GRACE", 0.0)
    row = accept(link_error=send(reference="told"), link=send(reference="never"))
    Notification.objects.filter(id=row.id).update(
        status=Status.EXPIRED, finished_at=row.created_at, reason="expired"
    )
    followers.call_overdue(10)
    assert (sent("told"), sent("never")) == (1, 0)


def test_a_part_that_is_noted_twice_counts_once(
    transactional_db: None, set_: Callable[..., None]
) -> None:
    set_("PICKUP_GRACE", 0.0)
    chord([send(), send(), send()])(send(reference="body"))
    first, second, third = Notification.objects.all()
    for row in (first, second):
        deliver_one(row.id, worker="test")
        followers.call(row.id)
        followers.call_overdue(10)
    assert sent("body") == 0
    deliver_one(third.id, worker="test")
    followers.call_overdue(10)
    assert sent("body") == 1


def test_a_send_that_cannot_be_accepted_any_more_is_a_dead_letter(transactional_db: None) -> None:
    row = accept(chain=[send(reference="last").set(task_id="last"), send().set(task_id="middle")])
    (last, middle) = row.continuation["chain"]
    middle["kwargs"]["channel"] = "pigeon"
    Notification.objects.update(continuation={"chain": [last, middle]})
    deliver_one(row.id, worker="test")
    dead = FailedDelivery.objects.get()
    assert (dead.message_id, dead.error_class) == ("middle", "UnknownChannel")
    assert AsyncResult("last").state == "FAILURE"
    assert not QuarantinedRow.objects.exists()


def test_followers_wait_for_a_broker_that_is_away(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = accept(link=[unpublishable.s()])
    with monkeypatch.context() as patch:
        patch.setattr(unpublishable, "error", OperationalError("away"))
        deliver_one(row.id, worker="test")
        row.refresh_from_db()
        assert row.status == Status.SENT
        assert row.continuation["link"]
        assert row.due_at > row.finished_at
    assert not QuarantinedRow.objects.exists()
    followers.call(row.id)
    row.refresh_from_db()
    assert row.continuation is None


def test_a_round_ends_with_the_first_that_meets_an_outage(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, set_: Callable[..., None]
) -> None:
    set_("PICKUP_GRACE", 0.0)
    rows = [accept(link=[unpublishable.s()]) for _ in range(3)]
    deliver_without_followers(*rows)
    monkeypatch.setattr(unpublishable, "error", OperationalError("away"))
    assert followers.call_overdue(10) == 0
    assert Notification.objects.filter(due_at__isnull=False).count() == 1
    monkeypatch.setattr(unpublishable, "error", None)
    assert followers.call_overdue(10) == 2


def test_a_row_of_an_earlier_version_has_one_link_alone(transactional_db: None) -> None:
    row = accept(link=send(reference="alone"))
    (link,) = row.continuation["link"]
    Notification.objects.filter(id=row.id).update(continuation={"link": link})
    deliver_one(row.id, worker="test")
    assert sent("alone") == 1


def test_the_content_of_a_send_is_in_no_result(transactional_db: None) -> None:
    row = accept(chain=[send(reference="secret").set(task_id="never")])
    Notification.objects.filter(id=row.id).update(status=Status.FAILED, finished_at=row.created_at)
    followers.call(row.id)
    kept = TaskResult.objects.get(task_id="never")
    assert kept.status == "FAILURE"
    assert "Hello" not in str(vars(kept))
