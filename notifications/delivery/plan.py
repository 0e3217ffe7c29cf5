"""What is to become of the messages of a batch, as a value: choosing writes nothing."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from notifications.channels.base import Content
from notifications.core.attempt import Claim, Outcome, Report, Result
from notifications.core.retry import policy_for
from notifications.db import clock
from notifications.models import Status
from notifications.providers.selection import Choice
from templates_engine.sms import segments


class Ready(NamedTuple):
    """A claim with its rendered content, and the name of its template if it has one."""

    claim: Claim
    content: Content
    template: str = ""

    @property
    def segments(self) -> int | None:
        """How many segments an SMS takes; None for other channels."""
        if self.claim.channel != "sms":
            return None
        return segments(str(self.content["text"]))


@dataclass(slots=True)
class Plan:
    """Which messages to send by which account, which to defer, and which to end.

    ``send`` has the messages by choice of account. ``defer`` has claims with their next due time,
    by reason. ``end`` has claims that need no attempt, by status and reason. ``record`` has the
    outcomes of attempts that ended before a provider was called. ``InHand.apply`` writes it.
    """

    send: list[tuple[Choice, list[Ready]]] = field(default_factory=list)
    defer: dict[str, list[tuple[Claim, datetime]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    end: dict[tuple[Status, str], list[Claim]] = field(default_factory=lambda: defaultdict(list))
    record: list[Report] = field(default_factory=list)

    def defer_for(self, ready: Iterable[Ready], seconds: float, why: str, detail: str) -> None:
        """Defer messages; those whose retry policy's deadline would pass get an outcome."""
        now = clock.now()
        due_at = now + timedelta(seconds=seconds)
        outcome = Outcome(Result.TRANSIENT, code=why, detail=detail, retry_after=seconds)
        for row in ready:
            claim = row.claim
            if due_at <= _deadline(claim):
                self.defer[why].append((claim, _before_expiry(claim, due_at)))
            else:
                self.record.append(Report(claim, outcome, provider="", started_at=now))


def _deadline(claim: Claim) -> datetime:
    return claim.scheduled_at + timedelta(seconds=policy_for(claim.priority, claim.retry).deadline)


def _before_expiry(claim: Claim, due_at: datetime) -> datetime:
    return due_at if claim.expires_at is None else min(due_at, claim.expires_at)
