"""The database's clock was an hour ahead, and is set back: nothing waits for that hour."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from notifications.core.attempt import Outcome, Report, Result
from notifications.core.conf import conf
from notifications.core.reasons import Reason
from notifications.db import clock
from notifications.delivery import claims, outcomes
from notifications.maintenance import sweep
from notifications.models import Notification, Status
from scheduling.clock import database_now

HOUR = timedelta(hours=1)


@pytest.fixture
def _an_hour_ahead(accepted: Callable[..., Notification], monkeypatch: pytest.MonkeyPatch) -> None:
    connection.ensure_connection()
    clock.now()
    monkeypatch.setattr(clock, "_anchor", (time.monotonic(), database_now() + HOUR))


def set_back() -> None:
    """Have this process connect anew, as it does to a standby that was promoted."""
    connection.close()
    for _ in range(2):  # the second finds nothing more to put right
        sweep.sweep()


def waits(row: Any) -> Any:
    row.refresh_from_db()
    return (row.due_at - database_now()).total_seconds()


@pytest.mark.usefixtures("_an_hour_ahead")
def test_what_was_planned_meanwhile_waits_as_long_as_it_was_to(
    accepted: Callable[..., Notification],
) -> None:
    retried, limited, lost, later, called = (accepted() for _ in range(5))
    ids = [retried.id, limited.id, lost.id]
    found = {claim.id: claim for claim in claims.claim(ids)}
    refused = Outcome(Result.TRANSIENT, code="451", retry_after=300)
    report = Report(found[retried.id], refused, provider="mail", started_at=clock.now())
    outcomes.record([report], worker="")
    slot = clock.now() + timedelta(seconds=20)
    outcomes.defer([(found[limited.id], slot)], Reason.RATE_LIMITED)
    in_two_hours = database_now() + 2 * HOUR
    Notification.objects.filter(id=later.id).update(
        status=Status.SCHEDULED, due_at=in_two_hours, scheduled_at=in_two_hours
    )
    assert min(waits(row) for row in (retried, limited, lost, later)) > 3000
    set_back()
    assert 200 < waits(retried) < 3000
    assert waits(limited) <= 0
    assert waits(lost) <= conf.lease
    assert waits(later) > 2 * 3000
    assert waits(called) <= conf.pickup_grace


@pytest.mark.usefixtures("_an_hour_ahead")
def test_a_countdown_begins_anew_and_a_named_time_stays(
    accepted: Callable[..., Notification], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.maintenance.set_back.AT_A_TIME", 2)
    named = clock.now().replace(microsecond=123) + timedelta(seconds=90)
    counted = [accepted(countdown=60.5, expires=90) for _ in range(5)]
    at_a_time = accepted(eta=named)
    assert min(waits(row) for row in counted) > 3600
    set_back()
    for row in counted:
        assert row.expires_at is not None
        assert row.due_at is not None
        assert 0 < waits(row) <= 60.5
        assert (row.scheduled_at, row.expires_at - row.due_at) == (
            row.due_at,
            timedelta(seconds=29.5),
        )
        assert row.created_at <= database_now()
    assert waits(at_a_time) > 3600
    assert at_a_time.due_at == named


def test_a_clock_that_is_right_changes_nothing(accepted: Callable[..., Notification]) -> None:
    lost = accepted()
    claims.claim([lost.id])
    before = clock.times_set_back
    set_back()
    assert clock.times_set_back == before
    assert 0 < waits(lost) <= conf.lease
