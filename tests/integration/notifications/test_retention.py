"""Retention: what is finished leaves, dead letters stay longer, sensitive content goes first."""

from datetime import timedelta

import pytest
from django.utils import timezone

from notifications import retention
from notifications.models import Attempt, FailedDelivery, Notification, Status


@pytest.fixture
def finished(accepted, deliver):
    """A notification that ended so many days ago; keywords change it."""

    def finished(days: float, **changes):
        row = accepted(**changes)
        deliver(row)
        ended = timezone.now() - timedelta(days=days)
        Notification.objects.filter(id=row.id).update(finished_at=ended)
        FailedDelivery.objects.filter(notification_id=row.id).update(created_at=ended)
        return row

    return finished


def left():
    return set(Notification.objects.values_list("id", flat=True))


def test_finished_notifications_leave_with_their_attempts_after_a_while(finished):
    finished(days=31)
    young = finished(days=29)
    assert retention.prune(days=30) == 1
    assert left() == {young.id}
    assert list(Attempt.objects.values_list("notification_id", flat=True)) == [young.id]


def test_what_is_not_finished_stays(accepted):
    row = accepted(countdown=3600)
    Notification.objects.update(created_at=timezone.now() - timedelta(days=999))
    assert retention.prune(days=0) == 0
    assert left() == {row.id}


def test_a_dead_letter_stays_longer_and_keeps_its_notification(finished):
    old = finished(days=31, recipient="ada?result=permanent")
    finished(days=200, recipient="ada?result=permanent")
    retention.prune(days=30, failed_days=180)
    assert left() == {old.id}
    assert FailedDelivery.objects.get().notification_id == old.id


def test_many_leave_in_batches_and_a_limit_ends_a_round(finished, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        finished(days=31)
    assert retention.prune(days=30, limit=3) == 4
    assert retention.prune(days=30) == 1


def test_content_can_be_forgotten_as_soon_as_it_was_sent(accepted, deliver, set_):
    set_("FORGET_CONTENT", True)
    sent, failed = accepted(body="4711"), accepted(body="4712", recipient="a?result=permanent")
    deliver(sent, failed)
    sent.refresh_from_db()
    failed.refresh_from_db()
    assert (sent.status, sent.body) == (Status.SENT, "")
    assert (failed.status, failed.body) == (Status.FAILED, "4712")  # a replay needs it
