"""What happens next is a value: the policy as a table."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifications.core.attempt import Outcome, Result
from notifications.core.errors import InvalidRetryPolicy
from notifications.core.retry import (
    MOST_LOSSES,
    POLICIES,
    Decision,
    RetryPolicy,
    Step,
    decide,
    policy_for,
)
from notifications.tasks import send_notification

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = RetryPolicy(max_attempts=3, base=10, cap=60, deadline=3600, jitter=False)

SENT = Outcome(Result.SENT)
PERMANENT = Outcome(Result.PERMANENT, code="550")
TRANSIENT = Outcome(Result.TRANSIENT, code="451")
UNKNOWN = Outcome(Result.UNKNOWN)
LOST = Outcome(Result.UNKNOWN, reason="worker_lost", lost=True)
BUSY_FOR_A_MINUTE = Outcome(Result.TRANSIENT, retry_after=60)


def in_(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def retry_in(seconds: float, reason: str = "") -> Decision:
    return Decision(Step.RETRY, reason=reason, due_at=in_(seconds))


def dead(reason: str) -> Decision:
    return Decision(Step.DEAD_LETTER, reason=reason)


@pytest.mark.parametrize(
    ("outcome", "attempt", "changes", "decision"),
    [
        (SENT, 1, {}, Decision(Step.DONE)),
        (SENT, 9, {}, Decision(Step.DONE)),
        (PERMANENT, 1, {}, dead("rejected")),
        (Outcome(Result.PERMANENT, reason="render_error"), 1, {}, dead("render_error")),
        (TRANSIENT, 1, {}, retry_in(10)),
        (TRANSIENT, 2, {}, retry_in(20)),
        (TRANSIENT, 3, {}, dead("attempts_exhausted")),
        (UNKNOWN, 1, {}, retry_in(10)),
        (UNKNOWN, 1, {"guarantee": "at_most_once"}, dead("outcome_unknown")),
        (UNKNOWN, 3, {"guarantee": "at_most_once"}, dead("outcome_unknown")),
        (TRANSIENT, 1, {"guarantee": "at_most_once"}, retry_in(10)),
        (BUSY_FOR_A_MINUTE, 1, {}, retry_in(60)),
        (Outcome(Result.TRANSIENT, retry_after=1), 2, {}, retry_in(20)),
        (TRANSIENT, 1, {"expires_at": in_(10)}, Decision(Step.EXPIRE, "expires_before_retry")),
        (TRANSIENT, 1, {"expires_at": in_(11)}, retry_in(10)),
        # A wait that would outlast the message is cut to half of what is left to it.
        (TRANSIENT, 2, {"expires_at": in_(20)}, retry_in(10)),
        (TRANSIENT, 2, {"expires_at": in_(21)}, retry_in(20)),
        (LOST, 2, {"losses": 4, "expires_at": in_(50)}, retry_in(25, "worker_lost")),
        (TRANSIENT, 2, {"first_due_at": in_(-3588)}, retry_in(10)),
        (TRANSIENT, 2, {"expires_at": in_(9)}, Decision(Step.EXPIRE, "expires_before_retry")),
        (
            Outcome(Result.TRANSIENT, retry_after=15),
            2,
            {"expires_at": in_(20)},
            retry_in(15),
        ),
        (
            # So is a wish of the provider's.
            BUSY_FOR_A_MINUTE,
            1,
            {"expires_at": in_(30)},
            retry_in(15),
        ),
        (
            BUSY_FOR_A_MINUTE,
            1,
            {"expires_at": in_(9)},
            Decision(Step.EXPIRE, "expires_before_retry"),
        ),
        (Outcome(Result.TRANSIENT, retry_after=86_400), 1, {}, retry_in(1800)),
        (PERMANENT, 1, {"expires_at": in_(1)}, dead("rejected")),
        (TRANSIENT, 1, {"first_due_at": in_(-3595)}, dead("deadline_exceeded")),
        (TRANSIENT, 1, {"first_due_at": in_(-3590)}, retry_in(10)),
        # A death of the worker uses no attempt, whatever was tried before.
        (LOST, 0, {"losses": 1}, retry_in(10, "worker_lost")),
        (LOST, 3, {"losses": 1}, retry_in(10, "worker_lost")),
        (LOST, 2, {"losses": 3}, retry_in(40, "worker_lost")),
        (LOST, 0, {"losses": MOST_LOSSES - 1}, retry_in(60, "worker_lost")),
        (LOST, 0, {"losses": MOST_LOSSES}, dead("worker_lost")),
        (TRANSIENT, 2, {"losses": MOST_LOSSES - 1}, retry_in(20)),
        (LOST, 0, {"losses": 1, "guarantee": "at_most_once"}, dead("outcome_unknown")),
        (LOST, 0, {"losses": 1, "first_due_at": in_(-3595)}, dead("deadline_exceeded")),
        (
            LOST,
            0,
            {"losses": 1, "expires_at": in_(10)},
            Decision(Step.EXPIRE, "expires_before_retry"),
        ),
    ],
)
def test_the_decision_after_an_attempt(
    outcome: Any, attempt: int, changes: dict[str, Any], decision: Any
) -> None:
    given = {
        "policy": POLICY,
        "guarantee": "at_least_once",
        "now": NOW,
        "first_due_at": NOW,
        "expires_at": None,
        "draw": 0.5,
        **changes,
    }
    assert decide(outcome, attempt=attempt, **given) == decision


@pytest.mark.parametrize(
    ("attempt", "draw", "seconds"),
    [(1, 0.0, 5), (1, 0.999999, 10), (2, 0.0, 10), (3, 0.5, 30), (4, 0.0, 30), (999, 0.0, 30)],
)
def test_a_wait_doubles_up_to_the_cap_and_half_of_it_is_drawn(
    attempt: int, draw: float, seconds: int
) -> None:
    policy = RetryPolicy(base=10, cap=60)
    assert policy.wait(attempt, draw) == pytest.approx(seconds, rel=1e-4)


def test_a_wait_that_is_cut_is_spread_too() -> None:
    policy = RetryPolicy(base=1, cap=60)
    assert policy.wait(9, 0.0, left=40) == 10
    assert policy.wait(9, 0.5, left=40) == 15
    assert policy.wait(9, 0.0, left=61) == 30


def test_an_urgent_message_is_tried_until_it_is_of_no_use() -> None:
    """All its providers fail for all of its life: no long wait ends it early."""
    policy, now, expires_at, attempt = POLICIES["high"], NOW, in_(90), 1
    tried = [now]
    while True:
        decision = decide(
            TRANSIENT,
            policy=policy,
            guarantee="at_least_once",
            attempt=attempt,
            now=now,
            first_due_at=NOW,
            expires_at=expires_at,
            draw=0.5,
        )
        if decision.step is not Step.RETRY:
            break
        assert decision.due_at is not None
        now, attempt = decision.due_at, attempt + 1
        tried.append(now)
    assert (decision.step, decision.reason) == (Step.EXPIRE, "expires_before_retry")
    assert tried[-1] > in_(87)
    assert len(tried) < policy.max_attempts


def test_an_urgent_message_is_retried_sooner_and_given_up_earlier() -> None:
    high, medium, low = (POLICIES[p] for p in ("high", "medium", "low"))
    assert high.base < medium.base < low.base
    assert high.deadline < medium.deadline < low.deadline


def test_a_notifications_own_figures_lie_over_the_priorities() -> None:
    assert policy_for("high", {"max_attempts": 2}).max_attempts == 2
    assert policy_for("high", {"max_attempts": 2}).base == POLICIES["high"].base
    assert policy_for("low", None) is POLICIES["low"]


@pytest.mark.parametrize(
    "overrides",
    [
        {"tries": 3},
        {"max_attempts": 0},
        {"max_attempts": 2.5},
        {"max_attempts": True},
        {"base": -1},
        {"cap": float("nan")},
        {"deadline": float("inf")},
        {"base": "5"},
        {"jitter": 1},
    ],
)
def test_an_impossible_policy_is_refused(overrides: dict[str, Any]) -> None:
    with pytest.raises(InvalidRetryPolicy) as refusal:
        policy_for("medium", overrides)
    assert refusal.value.field == "retry"


def test_celerys_own_settings_agree_with_the_default_policy() -> None:
    policy = POLICIES["medium"]
    assert send_notification.max_retries == policy.max_attempts - 1
    assert send_notification.retry_backoff == policy.base
    assert send_notification.retry_backoff_max == policy.cap
    assert send_notification.retry_jitter is policy.jitter
    assert send_notification.autoretry_for
    assert send_notification.rate_limit
