"""Retention: what is finished leaves, dead letters stay longer, sensitive content goes first."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from notifications.maintenance import retention
from notifications.models import (
    Attempt,
    FailedDelivery,
    Notification,
    OutboxMessage,
    Status,
    Suppression,
)


@pytest.fixture
def finished(
    accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> Callable[..., Any]:
    """A notification that ended so many days ago; keywords change it."""

    def finished(days: float, **changes: Any) -> Any:
        row = accepted(**changes)
        deliver(row)
        ended = timezone.now() - timedelta(days=days)
        Notification.objects.filter(id=row.id).update(finished_at=ended)
        FailedDelivery.objects.filter(notification_id=row.id).update(created_at=ended)
        return row

    return finished


def left() -> set[Any]:
    return set(Notification.objects.values_list("id", flat=True))


def test_finished_notifications_leave_with_their_attempts_after_a_while(
    finished: Callable[..., Any],
) -> None:
    finished(days=31)
    young = finished(days=29)
    assert retention.prune(days=30) == 1
    assert left() == {young.id}
    assert list(Attempt.objects.values_list("notification_id", flat=True)) == [young.id]


def test_what_points_at_one_that_leaves_stays_without_the_pointer(
    finished: Callable[..., Any], accepted: Callable[..., Notification], settings: Settings
) -> None:
    settings.OUTBOX = True
    old = finished(days=31, channel="email", recipient="ada@example.org")
    assert OutboxMessage.objects.filter(notification_id=old.id).exists()
    again = accepted()
    Notification.objects.filter(id=again.id).update(replay_of=old.id)
    suppression = Suppression.objects.create(
        channel="email", recipient="bob@example.org", notification_id=old.id
    )
    letter = FailedDelivery.objects.create(
        channel="email", priority="low", created_at=timezone.now(), replayed_as_id=old.id
    )
    assert retention.prune(days=30) == 1
    assert Notification.objects.get(id=again.id).replay_of_id is None
    suppression.refresh_from_db()
    letter.refresh_from_db()
    assert (suppression.notification_id, letter.replayed_as_id) == (None, None)
    assert not OutboxMessage.objects.exists()


def test_what_is_not_finished_stays(accepted: Callable[..., Notification]) -> None:
    row = accepted(countdown=3600)
    Notification.objects.update(created_at=timezone.now() - timedelta(days=999))
    assert retention.prune(days=0) == 0
    assert left() == {row.id}


def test_a_dead_letter_stays_longer_and_keeps_its_notification(
    finished: Callable[..., Any],
) -> None:
    old = finished(days=31, recipient="ada?result=permanent")
    finished(days=200, recipient="ada?result=permanent")
    retention.prune(days=30, failed_days=180)
    assert left() == {old.id}
    assert FailedDelivery.objects.get().notification_id == old.id


def test_many_leave_in_batches_and_a_limit_ends_a_round(
    finished: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        finished(days=31)
    assert retention.prune(days=30, limit=3) == 4
    assert retention.prune(days=30) == 1


def test_after_each_batch_the_deletion_rests_and_holds_no_transaction(
    finished: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(3):
        finished(days=31)
    rests: list[tuple[bool, int]] = []

    def rest(seconds: float) -> None:
        assert 0 < seconds <= retention.LONGEST_REST
        rests.append((connection.in_atomic_block, len(left())))

    assert retention.prune(days=30, rest=rest) == 3
    assert rests == [(False, 1), (False, 0)]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="about Postgres' processes")
def test_what_is_old_is_counted_by_one_process_of_postgres(finished: Callable[..., Any]) -> None:
    finished(days=31)
    with CaptureQueriesContext(connection) as queries:
        assert retention.old(days=30) == 1
    said = [query["sql"] for query in queries]
    assert said.index("SET LOCAL max_parallel_workers_per_gather = 0") < min(
        place for place, sql in enumerate(said) if "COUNT(" in sql
    )
    with connection.cursor() as cursor:
        cursor.execute("SHOW max_parallel_workers_per_gather")
        assert cursor.fetchone() != ("0",)


def test_content_can_be_forgotten_as_soon_as_it_was_sent(
    accepted: Callable[..., Notification], deliver: Callable[..., Any], set_: Callable[..., None]
) -> None:
    set_("FORGET_CONTENT", True)
    sent, failed = accepted(body="4711"), accepted(body="4712", recipient="a?result=permanent")
    deliver(sent, failed)
    sent.refresh_from_db()
    failed.refresh_from_db()
    assert (sent.status, sent.body) == (Status.SENT, "")
    assert (failed.status, failed.body) == (Status.FAILED, "4712")  # a replay needs it
