"""What a throttle counts of a replay."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from notifications.models import (
    FailedDelivery,
    Notification,
    ThrottleUse,
)
from notifications.operations.replays import replay, resend
from notifications.submission import send
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.submission.throttled_news import DAY, NEWS, fresh, throttle

__all__ = ["fresh"]

pytestmark = pytest.mark.django_db(transaction=True)


def fail(row: Notification) -> FailedDelivery:
    Notification.objects.filter(pk=row.pk).update(status="failed", due_at=None)
    return FailedDelivery.objects.create(
        notification=row,
        reason="attempts_exhausted",
        channel=row.channel,
        created_at=row.created_at,
    )


@pytest.mark.parametrize("rest", ["wait", "drop"])
def test_a_replay_has_the_place_of_what_failed_until_its_period_is_over(rest: str) -> None:
    throttle(rest, limit=2)
    first, _ = (send(**NEWS) for _ in range(2))
    again = replay(fail(first))
    assert (again.status, again.throttle) == ("queued", "")
    again = replay(fail(again))
    assert again.status == "queued"
    assert ThrottleUse.objects.get().used == 2
    ThrottleUse.objects.update(since=F("since") - timedelta(days=1))
    Notification.objects.update(created_at=F("created_at") - timedelta(days=1))
    assert replay(fail(again)).status == "queued"
    assert ThrottleUse.objects.get().used == 1


def test_a_replay_needs_a_place_in_the_periods_that_are_over(deliver: Callable[..., Any]) -> None:
    throttle(limit=1, period=3600)
    throttle(limit=1)
    first = send(**NEWS)
    day = ThrottleUse.objects.get(throttle__period=DAY)
    ThrottleUse.objects.update(since=F("since") - timedelta(hours=2))
    Notification.objects.update(created_at=F("created_at") - timedelta(hours=2))
    first.refresh_from_db()
    assert replay(fail(first)).status == "queued"
    day.refresh_from_db()
    assert day.used == 1
    assert send(**NEWS).throttle == "1 in 1d"


def test_what_is_sent_once_more_is_counted_once_more() -> None:
    throttle(limit=1)
    first = send(**NEWS)
    Notification.objects.filter(pk=first.pk).update(status="sent", due_at=None)
    assert resend(first).reason == "throttled"


def test_the_replay_of_a_digest_is_not_counted(deliver: Callable[..., Any]) -> None:
    made = Template.objects.create(name="all-news", channel="simulator")
    publish(create_version(made, {"body": "{{ count }} news"}))
    throttle("digest", limit=1, template="all-news")
    rows = [send(**NEWS) for _ in range(3)]
    digest = Notification.objects.get(pk=F("digest_id"))
    Notification.objects.filter(pk=digest.pk).update(due_at=rows[0].created_at)
    deliver(digest)
    digest.refresh_from_db()
    assert digest.status == "sent"
    again = replay(fail(digest))
    assert (again.status, again.throttle) == ("queued", "")
    assert ThrottleUse.objects.get().used == 1
