"""The rate limits that a message has to pass: its account's, its template's, its recipient's."""

from collections.abc import Sequence
from datetime import timedelta

from notifications.core.reasons import Reason
from notifications.db import clock, shared_state
from notifications.delivery.plan import Plan, Ready
from notifications.models import Status
from notifications.providers import accounts, rate_limits
from notifications.providers.accounts import Candidate
from notifications.providers.rate_limits import Bucket, LimitRequest, bursty, steady
from notifications.providers.selection import Choice
from notifications.recipients import suppressions


def send_within(plan: Plan, choice: Choice, ready: list[Ready]) -> None:
    """Plan to send what the limits allow now; each of the others is deferred to its reserved time.

    A message that would have expired by then ends.
    """
    waits = waits_of(choice.candidate, ready)
    if not any(waits):
        plan.send.append((choice, ready))
        return
    now = clock.now()
    allowed = []
    for row, wait in zip(ready, waits, strict=True):
        due_at = now + timedelta(seconds=wait)
        if not wait:
            allowed.append(row)
        elif row.claim.expires_by(due_at):
            plan.end[Status.EXPIRED, Reason.EXPIRES_BEFORE_SLOT].append(row.claim)
        else:
            plan.defer[Reason.RATE_LIMITED].append((row.claim, due_at))
    plan.send.append((choice, allowed))


def waits_of(candidate: Candidate, rows: Sequence[Ready], *, peek: bool = False) -> list[float]:
    """Return how many seconds each message has to wait; ``peek`` reserves nothing for it."""
    if not rows or not (candidate.rate or accounts.limits(rows[0].claim.channel)):
        return [0.0] * len(rows)
    return rate_limits.ask(
        [
            LimitRequest(
                _buckets(candidate, row),
                reserved=row.claim.reason == Reason.RATE_LIMITED,
                peek=peek,
            )
            for row in rows
        ]
    )


def _buckets(candidate: Candidate, ready: Ready) -> tuple[Bucket, ...]:
    claim = ready.claim
    found = []
    if candidate.rate:
        key = shared_state.key_of(f"rate:account:{candidate.name}")
        found.append(steady(key, candidate.rate))
        if claim.priority != "high":
            found.append(steady(f"{key}:shared", candidate.rate, 1 - rate_limits.HIGH_SHARE))
    for limit in accounts.limits(claim.channel):
        if limit.template not in ("", ready.template):
            continue
        key = shared_state.key_of(f"rate:{limit.scope}:{claim.channel}:{limit.template}")
        if limit.scope == "recipient":
            recipient = suppressions.comparable(claim.channel, claim.recipient)
            key += f":{rate_limits.digest(recipient)}"
        found.append(bursty(key, limit.rate))
    return tuple(found)
