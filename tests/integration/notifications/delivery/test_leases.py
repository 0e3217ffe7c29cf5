"""Claims are leases: who may act on a row, and what happens when its worker dies."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from notifications.core.attempt import Outcome, Report, Result
from notifications.core.conf import conf
from notifications.core.retry import MOST_LOSSES, SUSPECT_AFTER
from notifications.delivery import claims, outcomes, pipeline
from notifications.maintenance import sweep
from notifications.models import FailedDelivery, Notification, Status
from notifications.providers.simulator import SimulatorProvider

SENT = Outcome(Result.SENT)


@pytest.fixture
def report() -> Callable[..., Any]:
    """Report an outcome for a claim, as its worker would."""

    def report(claim: Any, outcome: Any = SENT) -> outcomes.Recorded:
        (recorded,) = outcomes.record(
            [Report(claim, outcome, "simulator", timezone.now())], worker="test"
        )
        return recorded

    return report


def test_a_claimed_notification_is_not_claimed_twice(accepted: Callable[..., Notification]) -> None:
    row = accepted()
    assert len(claims.claim([row.id])) == 1
    assert claims.claim([row.id]) == []
    assert claims.claim_due("simulator", "medium", 10) == []


def test_a_redelivered_message_sends_nothing_twice(
    accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    row = accepted()
    assert len(deliver(row)) == 1
    assert deliver(row) == []
    assert row.attempts.count() == 1


def test_a_waiting_retry_is_not_sent_early_by_a_redelivered_message(
    accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    row = accepted(recipient="ada?result=transient")
    deliver(row)
    assert deliver(row) == []
    assert row.attempts.count() == 1


def test_a_dead_workers_lease_ends_in_a_new_attempt(
    accepted: Callable[..., Notification], age: Callable[..., None], deliver: Callable[..., Any]
) -> None:
    row = accepted()
    claims.claim([row.id])
    age(row)
    row.refresh_from_db()
    assert row.due_at is not None
    begun_at = row.due_at - timedelta(seconds=conf.lease)
    sweep.sweep()
    row.refresh_from_db()
    assert row.status == Status.SCHEDULED
    assert [(a.result, a.code, a.started_at) for a in row.attempts.all()] == [
        ("unknown", "lease_expired", begun_at)
    ]
    age(row)
    deliver(row)
    row.refresh_from_db()
    assert (row.status, row.attempt_count) == (Status.SENT, 2)


def test_a_worker_that_outlived_its_lease_does_not_overwrite_the_next_owner(
    accepted: Callable[..., Notification], age: Callable[..., None], report: Callable[..., Any]
) -> None:
    row = accepted()
    (late,) = claims.claim([row.id])
    age(row)
    sweep.sweep()
    age(row)
    (owner,) = claims.claim([row.id])
    assert report(late, Outcome(Result.PERMANENT, code="550")).stale
    assert not report(owner).stale
    row.refresh_from_db()
    assert row.status == Status.SENT
    assert [(a.number, a.result) for a in row.attempts.all()] == [(1, "unknown"), (2, "sent")]
    assert not FailedDelivery.objects.exists()


def test_two_sweeps_at_once_end_a_lease_once(
    accepted: Callable[..., Notification], age: Callable[..., None]
) -> None:
    row = accepted()
    claims.claim([row.id])
    age(row)
    ended = claims.expired(10)
    reports = [Report(c, Outcome(Result.UNKNOWN), "", timezone.now()) for c in ended]
    assert [r.stale for r in outcomes.record(reports, worker="")] == [False]
    assert [r.stale for r in outcomes.record(reports, worker="")] == [True]
    assert row.attempts.count() == 1


@pytest.fixture
def lose(age: Callable[..., None]) -> Callable[..., Any]:
    """Claim these, and let the worker be killed: their leases end, and so do their waits."""

    def lose(*rows: Any) -> Any:
        claimed = claims.claim([row.id for row in rows])
        for row in rows:
            age(row)
        sweep.sweep()
        for row in rows:
            age(row)
        return claimed

    return lose


def test_a_worker_that_dies_spends_no_attempt(
    accepted: Callable[..., Notification], lose: Callable[..., Any], deliver: Callable[..., Any]
) -> None:
    row = accepted(retry={"max_attempts": 1}, recipient="ada?result=transient")
    lose(row)
    deliver(row)
    row.refresh_from_db()
    assert (row.status, row.reason) == (Status.FAILED, "attempts_exhausted")
    assert [(a.number, a.code) for a in row.attempts.all()] == [(1, "lease_expired"), (2, "451")]


def test_a_poison_message_is_counted_and_ends_as_a_dead_letter(
    accepted: Callable[..., Notification], lose: Callable[..., Any]
) -> None:
    row = accepted(retry={"max_attempts": 3})
    for number in range(1, MOST_LOSSES + 1):
        (claim,) = lose(row)
        assert (claim.attempt, claim.losses) == (number, number - 1)
    row.refresh_from_db()
    assert row.status == Status.FAILED
    dead = row.failed_delivery
    assert dead.reason == "worker_lost"
    assert [entry["result"] for entry in dead.history] == ["unknown"] * MOST_LOSSES


def test_what_was_lost_again_and_again_is_delivered_alone_after_the_others(
    accepted: Callable[..., Notification], lose: Callable[..., Any], deliver: Callable[..., Any]
) -> None:
    suspects = [accepted(), accepted()]
    for _ in range(SUSPECT_AFTER):
        lose(*suspects)
    fresh = [accepted(), accepted()]
    recorded = deliver(*suspects, *fresh)
    assert {r.claim.id for r in recorded[:2]} == {row.id for row in fresh}
    assert recorded[2].claim.id in {row.id for row in suspects}
    [waiting] = Notification.objects.filter(status=Status.SCHEDULED)
    assert (waiting.reason, waiting.attempt_count) == ("suspect", SUSPECT_AFTER)
    assert deliver(waiting)[0].status == Status.SENT


def test_at_most_once_never_repeats_an_attempt_of_unknown_outcome(
    accepted: Callable[..., Notification], age: Callable[..., None]
) -> None:
    row = accepted(guarantee="at_most_once")
    claims.claim([row.id])
    age(row)
    sweep.sweep()
    row.refresh_from_db()
    assert (row.status, row.failed_delivery.reason) == (Status.FAILED, "outcome_unknown")


def test_at_most_once_may_try_again_what_was_refused(
    accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    row = accepted(guarantee="at_most_once", recipient="ada?result=transient")
    deliver(row)
    row.refresh_from_db()
    assert row.status == Status.SCHEDULED


def test_an_expired_notification_is_not_sent(
    accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    row = accepted(expires=60)
    Notification.objects.filter(id=row.id).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert deliver(row) == []
    row.refresh_from_db()
    assert (row.status, row.attempts.count()) == (Status.EXPIRED, 0)


def test_a_retry_that_would_start_after_the_expiry_is_not_planned(
    accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    row = accepted(recipient="ada?result=transient", expires=2)  # medium waits 2.5 s or more
    deliver(row)
    row.refresh_from_db()
    assert (row.status, row.reason) == (Status.EXPIRED, "expires_before_retry")


def test_what_a_slots_time_does_not_suffice_for_is_given_back_untried(
    accepted: Callable[..., Notification],
    set_: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SimulatorProvider, "at_once", 1)
    set_("BATCH_TIME_LIMIT", 0.2)
    rows = [accepted(recipient="ada?latency=0.15") for _ in range(5)]
    pipeline.deliver(claims.claim([r.id for r in rows]), worker="test")
    given_back = Notification.objects.filter(status=Status.SCHEDULED)
    sent = Notification.objects.filter(status=Status.SENT)
    assert sent.count() >= 1
    assert given_back.count() == 5 - sent.count() >= 1
    assert {(r.attempt_count, r.attempts.count()) for r in given_back} == {(0, 0)}
    assert claims.claim_due("simulator", "medium", 10)


def test_a_failure_inside_a_batch_touches_only_its_own_row(
    accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    rows = [accepted(), accepted(recipient="x?result=permanent"), accepted()]
    deliver(*rows)
    states = [Notification.objects.get(id=row.id).status for row in rows]
    assert states == [Status.SENT, Status.FAILED, Status.SENT]
