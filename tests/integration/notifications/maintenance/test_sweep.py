"""The sweep: due rows are rung, a backlog is not rung again, and a loss is noticed."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from notifications.core.attempt import Claim
from notifications.db import clock
from notifications.delivery import claims
from notifications.maintenance import sweep
from notifications.models import Notification, Status
from notifications.queueing import publisher
from tests.multiply import multiply


def backlog_of(count: int, **changes: Any) -> None:
    """Have that many due rows, as a large batch would leave them."""
    now = clock.now()
    first = Notification.objects.create(
        channel="simulator",
        recipient="ada",
        body="Hello",
        status=Status.QUEUED,
        due_at=now,
        scheduled_at=now,
        **{"priority": "low", **changes},
    )
    multiply(first, count - 1)


def test_a_future_notification_is_rung_when_it_is_due(
    accepted: Callable[..., Notification],
    age: Callable[..., None],
    messages_on_the_broker: Callable[..., list[dict[str, Any]]],
) -> None:
    row = accepted(countdown=3600)
    sweep.sweep()
    assert messages_on_the_broker("simulator.medium") == []
    age(row, 3601)
    sweep.sweep()
    (message,) = messages_on_the_broker("simulator.medium")
    assert "deliver_due" in message["headers"]["task"]


def test_a_backlog_leaves_at_most_the_window_on_the_broker(
    transactional_db: None, messages_on_the_broker: Callable[..., list[dict[str, Any]]]
) -> None:
    backlog_of(200_000)
    sweep.sweep()
    released = len(messages_on_the_broker("simulator.low"))
    assert 1 <= released <= 8
    sweep.sweep()
    assert len(messages_on_the_broker("simulator.low")) == released


def test_calls_without_a_worker_leave_at_most_the_window_on_the_broker(
    accepted: Callable[..., Notification],
    set_: Callable[..., None],
    messages_on_the_broker: Callable[..., list[dict[str, Any]]],
) -> None:
    set_("QUEUE_WINDOW", 20)
    for _ in range(100):
        accepted()
    assert len(messages_on_the_broker("simulator.medium")) <= 20
    assert Notification.objects.filter(status=Status.QUEUED).count() == 100
    sweep.sweep()
    sweep.sweep()
    assert len(messages_on_the_broker("simulator.medium")) <= 20


def test_a_new_notification_waits_behind_those_that_wait_already(
    transactional_db: None,
    accepted: Callable[..., Notification],
    messages_on_the_broker: Callable[..., list[dict[str, Any]]],
) -> None:
    backlog_of(3, priority="medium")
    for _ in range(3):
        accepted()
    # One message for all that is due, and none that names a new one.
    (message,) = messages_on_the_broker("simulator.medium")
    assert message["headers"]["task"] == publisher.DELIVER_DUE_TASK
    assert len(claims.claim_due("simulator", "medium", 10)) == 6


def test_a_flushed_broker_is_refilled_by_the_next_sweep(
    accepted: Callable[..., Notification],
    age: Callable[..., None],
    redis_client: redis.Redis,
    messages_on_the_broker: Callable[..., list[dict[str, Any]]],
) -> None:
    rows = [accepted() for _ in range(3)]
    redis_client.flushdb()
    for row in rows:
        age(row)  # their grace went by
    sweep.sweep()
    assert len(messages_on_the_broker("simulator.medium")) == 1
    assert len(claims.claim_due("simulator", "medium", 10)) == 3


def test_the_oldest_are_taken_first_and_never_twice(transactional_db: None) -> None:
    backlog_of(300)
    taken: list[list[Claim]] = []

    def take() -> None:
        try:
            taken.extend(claims.claim_due("simulator", "low", 20) for _ in range(5))
        finally:
            connection.close()

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [claim.id for batch in taken for claim in batch]
    assert len(ids) == len(set(ids)) == 300


@pytest.mark.skipif(connection.vendor != "postgresql", reason="about Postgres' plans")
def test_no_more_are_taken_than_asked_for_whatever_the_database_plans(
    transactional_db: None,
) -> None:
    # What it may choose where a table grew since it was last analyzed: to run the subquery again
    # for each row, which passes over what it has locked itself, and so takes the whole backlog.
    backlog_of(50)
    with transaction.atomic(), connection.cursor() as cursor:
        for way in ("hashagg", "sort", "hashjoin", "mergejoin", "material"):
            cursor.execute(f"SET LOCAL enable_{way} TO off")
        assert len(claims.claim_due("simulator", "low", 7)) == 7


def test_a_broker_that_is_away_costs_the_sweep_nothing(
    accepted: Callable[..., Notification], age: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = accepted(countdown=3600)
    age(row, 3601)
    monkeypatch.setattr(settings, "CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(publisher, "_away_until", float("inf"))
    assert sweep.sweep() == sweep.BUSY
    row.refresh_from_db()
    assert row.status == Status.SCHEDULED


def test_an_idle_sweep_wakes_for_what_falls_due_next(accepted: Callable[..., Notification]) -> None:
    assert sweep.sweep() == sweep.IDLE
    Notification.objects.filter(id=accepted(countdown=60).id).update(
        due_at=timezone.now() + timedelta(seconds=0.2)
    )
    assert sweep.sweep() < 0.21
