"""What happens next: a pure function from policy, outcome and time to a decision."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from notifications.core.attempt import Outcome, Result
from notifications.core.errors import InvalidRetryPolicy
from notifications.core.reasons import Reason
from notifications.core.routing import ENDPOINT_CHANNELS
from notifications.core.text import shown


class Guarantee(StrEnum):
    """How often a notification may reach its provider when an outcome is unknown."""

    AT_LEAST_ONCE = "at_least_once"
    AT_MOST_ONCE = "at_most_once"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    ``base`` and ``cap`` bound a wait and ``deadline`` bounds all attempts from the first due
    time on; all three in seconds. ``max_attempts`` counts the first attempt too.
    """

    max_attempts: int = 8
    base: float = 5
    cap: float = 3600
    deadline: float = 86_400
    jitter: bool = True

    def wait(self, attempt: int, draw: float, left: float = math.inf) -> float:
        """Seconds to wait after attempt number ``attempt`` (from 1); ``draw`` is in [0, 1).

        Half of the wait is fixed and half is drawn, so that a crowd spreads and nobody comes
        back at once. One that might outlast ``left``, the seconds in which an attempt is of any
        use, is cut to half of them, but never below ``base``.
        """
        longest = min(self.cap, self.base * 2.0 ** min(attempt - 1, 60))
        if longest >= left:
            longest = max(left / 2, self.base)
        return longest * (0.5 + 0.5 * draw) if self.jitter else longest


# An OTP is useless after minutes, a campaign can wait for hours.
# What somebody waits for is ended by its deadline, not by the number of its attempts: they are
# close together, and its providers may fail for a minute.
POLICIES: Mapping[str, RetryPolicy] = {
    "high": RetryPolicy(max_attempts=20, base=1, cap=60, deadline=900),
    "medium": RetryPolicy(max_attempts=8, base=5, cap=900, deadline=21_600),
    "low": RetryPolicy(max_attempts=10, base=30, cap=3600, deadline=172_800),
}


UNTIL_DEADLINE = 1000  # attempts: more than fit before any deadline


def policy_for(
    priority: str, overrides: Mapping[str, Any] | None = None, channel: str = ""
) -> RetryPolicy:
    """Take the priority's policy with a notification's own figures laid over it.

    What goes to an endpoint is tried until its deadline, for a deploy may take a while (Standard
    Webhooks). Raises ``InvalidRetryPolicy`` for an unknown or impossible figure.
    """
    policy = POLICIES[priority]
    if channel in ENDPOINT_CHANNELS:
        policy = replace(policy, max_attempts=UNTIL_DEADLINE)
    return replace(policy, **_checked(overrides)) if overrides else policy


LONGEST = 10_000_000  # seconds, which no policy needs
_FIGURES = {field.name for field in fields(RetryPolicy)}


def _checked(overrides: Mapping[str, Any]) -> dict[str, Any]:
    unknown = overrides.keys() - _FIGURES
    if unknown:
        raise InvalidRetryPolicy(
            f"A retry policy has no {shown(min(unknown, key=shown))}.",
            field="retry",
            hint=f"Known fields: {', '.join(sorted(_FIGURES))}.",
        )
    for name, value in overrides.items():
        if not _is_possible(name, value):
            raise InvalidRetryPolicy(f"retry.{name} cannot be {shown(value)}.", field="retry")
    return dict(overrides)


def _is_possible(name: str, value: object) -> bool:
    if name == "jitter":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if name == "max_attempts":
        return isinstance(value, int) and 1 <= value <= 1000
    return 0 <= value <= LONGEST  # also refuses NaN


MOST_LOSSES = 10  # deaths of workers after which a message is taken for their cause
SUSPECT_AFTER = 2  # deaths after which it is delivered alone, so that it takes no other along


class Step(StrEnum):
    """The kinds of decision."""

    DONE = "done"
    RETRY = "retry"
    FAIL_OVER = "fail_over"  # on to another provider at once
    DEAD_LETTER = "dead_letter"
    EXPIRE = "expire"


class Decision(NamedTuple):
    """What becomes of a notification after an attempt."""

    step: Step
    reason: str = ""
    due_at: datetime | None = None


def decide(  # noqa: PLR0913 -- all that a decision rests on, by name
    outcome: Outcome,
    *,
    policy: RetryPolicy,
    guarantee: str,
    attempt: int,
    now: datetime,
    first_due_at: datetime,
    expires_at: datetime | None,
    draw: float,
    another_provider: bool = False,
    losses: int = 0,
) -> Decision:
    """Decide after attempt number ``attempt`` (from 1), with ``draw`` in [0, 1) for the jitter.

    ``attempt`` leaves out those that went on at once to another provider; that is what
    ``another_provider`` allows after a refusal, as often as there is another one.

    ``attempt`` leaves out those that were lost with their worker, too: a death is not a word of a
    provider, and tells nothing of the message unless it comes again and again. These are
    ``losses``, this one included, and only ``MOST_LOSSES`` bounds them.

    Never plans a retry that would start past the expiry or the policy's deadline; a long wait, also
    one that the provider asks for, is cut so that the last ones come close before it. Never
    repeats an attempt of unknown outcome where at most once was asked for.
    """
    if outcome.result is Result.SENT:
        return Decision(Step.DONE)
    if outcome.result is Result.UNKNOWN and guarantee == Guarantee.AT_MOST_ONCE:
        return Decision(Step.DEAD_LETTER, reason=Reason.OUTCOME_UNKNOWN)
    deadline = first_due_at + timedelta(seconds=policy.deadline)
    if another_provider and outcome.may_go_on and now <= deadline:
        if expires_at is not None and now >= expires_at:
            return Decision(Step.EXPIRE, reason=Reason.EXPIRED)
        return Decision(Step.FAIL_OVER, due_at=now)
    if outcome.result is Result.PERMANENT:
        return Decision(Step.DEAD_LETTER, reason=outcome.reason or Reason.REJECTED)
    count, most = (losses, MOST_LOSSES) if outcome.lost else (attempt, policy.max_attempts)
    if count >= most:
        return Decision(Step.DEAD_LETTER, reason=outcome.reason or Reason.ATTEMPTS_EXHAUSTED)
    left = (min(deadline, expires_at or deadline) - now).total_seconds()
    wish = outcome.retry_after or 0.0
    wait = max(policy.wait(count, draw, left), wish if wish < left else left / 2)
    due_at = now + timedelta(seconds=wait)
    if expires_at is not None and due_at >= expires_at:
        return Decision(Step.EXPIRE, reason=Reason.EXPIRES_BEFORE_RETRY)
    if due_at > deadline:
        return Decision(Step.DEAD_LETTER, reason=Reason.DEADLINE_EXCEEDED)
    return Decision(Step.RETRY, reason=outcome.reason, due_at=due_at)
