"""The handover of finished messages: assign them to accounts, send, record, fail over.

A failover is a retry without a wait: the attempt is recorded, the row is due at once, and this
same worker claims it again for the next account. Should the worker die in between, the row is
simply due.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog

from notifications import claims, clock, conf, health, outcomes, receivers
from notifications.accounts import Candidate
from notifications.assignment import (
    Ready,
    assign,
    by_turns,
    failed_earlier,
    has_another,
)
from notifications.channels.base import Message
from notifications.choice import Choice
from notifications.claims import Claim
from notifications.health import TRIP_AFTER, Tally
from notifications.models import Status
from notifications.outcomes import Recorded
from notifications.providers import provider_of
from notifications.receivers import Calls, receiver_of
from notifications.reports import Report
from notifications.retry import Outcome, Result, Step

log = structlog.get_logger(__name__)

RECORD_EVERY = 250  # outcomes; what a crash can double is at most what was not yet recorded
RECORD_AFTER = 0.5  # seconds
LEASE_MARGIN = 2.0  # seconds of the lease that are left for recording


@dataclass(slots=True)
class Slot:
    """The time that one batch may hold a worker, and what came of it so far.

    ``earlier`` names the accounts that failed a message in earlier attempts, ``tried`` those
    that did in this slot; ``slow`` the receivers that may be called in turns only.
    """

    worker: str
    ends: float = field(default_factory=lambda: time.monotonic() + conf.get("HOLD"))
    tried: dict[UUID, set[str]] = field(default_factory=lambda: defaultdict(set))
    earlier: Mapping[UUID, Sequence[str]] = field(default_factory=dict)
    slow: Collection[str] = ()
    recorded: list[Recorded] = field(default_factory=list)

    def record(self, reports: list[Report]) -> list[Recorded]:
        """Write outcomes; gives and keeps what became of them."""
        recorded = outcomes.record(reports, worker=self.worker) if reports else []
        self.recorded += [r for r in recorded if r.decision.step is not Step.FAIL_OVER]
        return recorded


def hand_over(ready: list[Ready], *, worker: str) -> list[Recorded]:
    """Hand messages of one channel over, and give what was recorded."""
    slot = Slot(worker)
    if ready and ready[0].claim.channel in receivers.CHANNELS:
        ready, slot.slow, late = by_turns(ready)
        slot.record(late)
    slot.earlier = failed_earlier(ready)
    for test in (False, True):
        left = [one for one in ready if one.claim.test is test]
        while left:
            assigned = assign(left, slot.tried, slot.earlier)
            slot.record(assigned.late)
            left = [one for choice, rows in assigned.going for one in _send(choice, rows, slot)]
    return slot.recorded


def _send(choice: Choice, chosen: list[Ready], slot: Slot) -> list[Ready]:
    """Send these by one account while time lasts; gives what is to go on to another account.

    An account that fails again and again gets no more of this batch.
    """
    if not chosen:
        return []
    name = choice.candidate.name
    tally = Tally()
    sending = _sending(chosen, slot, tally)
    by_id = {one.claim.id: one for one in chosen}
    failed_over: list[Ready] = []
    reports: list[Report] = []
    record_at = time.monotonic() + RECORD_AFTER
    for message, outcome in _outcomes(choice.candidate, sending.feed()):
        one, (started, started_at) = by_id[message.id], sending.started[message.id]
        sending.ended(one, outcome, time.monotonic() - started)
        _follow(one.claim, name, outcome)
        slot.tried[message.id].add(name)
        another = outcome.result is Result.TRANSIENT and has_another(one, slot.tried[message.id])
        reports.append(
            Report(one.claim, outcome, name, started_at, choice.reason, another, one.segments)
        )
        if len(reports) >= RECORD_EVERY or time.monotonic() > record_at:
            failed_over += _record(reports, by_id, slot)
            reports = []
            record_at = time.monotonic() + RECORD_AFTER
    failed_over += _record(reports, by_id, slot)
    health.tell(name, tally)
    sending.tell()
    return failed_over + sending.left_over(name)


def _follow(claim: Claim, account: str, outcome: Outcome) -> None:
    """Log the call of a provider for whoever asked by HTTP, and can look for the request's id."""
    if claim.request_id:
        log.info(
            "provider_call",
            request_id=claim.request_id,
            notification=str(claim.id),
            account=account,
            result=outcome.result.value,
            code=outcome.code,
        )


def _record(reports: list[Report], by_id: Mapping[UUID, Ready], slot: Slot) -> list[Ready]:
    """Record outcomes, and claim those anew that go on at once to another account."""
    going_on = [
        r.claim.id
        for r in slot.record(reports)
        if r.decision.step is Step.FAIL_OVER and not r.stale
    ]
    return [by_id[claim.id]._replace(claim=claim) for claim in claims.claim(going_on)]


def _outcomes(
    candidate: Candidate, messages: Iterable[Message]
) -> Iterator[tuple[Message, Outcome]]:
    try:
        provider = provider_of(candidate.account)
    except Exception as error:  # noqa: BLE001 -- an account that cannot be used must not stop the others
        outcome = Outcome(
            Result.TRANSIENT, code="bad_account", detail=f"{type(error).__name__}: {error}"
        )
        for message in messages:
            yield message, outcome
        return
    yield from provider.send_many(messages)


def _sending(chosen: list[Ready], slot: Slot, tally: Tally) -> "_Sending":
    claim = chosen[0].claim
    calls = claim.channel in receivers.CHANNELS and not claim.test
    return (_Calling if calls else _Sending)(chosen, slot, tally)


class _Sending:
    """What of a batch was fed to a provider, and what was not."""

    def __init__(self, chosen: list[Ready], slot: Slot, tally: Tally) -> None:
        self.chosen = chosen
        self.order: Iterable[Ready] = chosen
        self.longest: float = conf.get("PROVIDER_TIMEOUT")
        self.slot = slot
        self.tally = tally
        self.started: dict[UUID, tuple[float, datetime]] = {}
        self.late: list[Claim] = []

    def feed(self) -> Iterator[Message]:
        """Give the messages while there is time, each with what is left of its own."""
        for one in self.order:
            if self.started and time.monotonic() > self.slot.ends:
                return
            if self.tally.trailing >= TRIP_AFTER:
                return
            now = clock.now()
            left = _seconds_left(one.claim, now)
            if left <= 0:
                self.late.append(one.claim)
                continue
            self.started[one.claim.id] = (time.monotonic(), now)
            yield _message(one, now, min(self.longest, left))

    def ended(self, one: Ready, outcome: Outcome, seconds: float) -> None:
        """Count how one attempt ended, unless it tells nothing of the provider."""
        if not outcome.local:
            well = outcome.result in (Result.SENT, Result.PERMANENT)
            self.tally.add(well=well, seconds=seconds)

    def tell(self) -> None:
        """Tell what was learned of others than the provider."""

    def left_over(self, account: str) -> list[Ready]:
        """End what expired meanwhile, put back what there was no time for; give the rest.

        The rest was kept from an account that keeps failing, and goes on to another one.
        """
        now = clock.now()
        expired = [c for c in self.late if c.expires_at is not None and c.expires_at <= now]
        outcomes.finish(expired, Status.EXPIRED, "expired")
        late = {claim.id for claim in expired}
        unsent = [
            one
            for one in self.chosen
            if one.claim.id not in self.started and one.claim.id not in late
        ]
        if unsent and time.monotonic() > self.slot.ends:
            outcomes.put_back([(one.claim, now) for one in unsent], "slot_time_over")
            return []
        for one in unsent:
            self.slot.tried[one.claim.id].add(account)
        return unsent


class _Calling(_Sending):
    """The same for a channel whose receivers have a server each."""

    def __init__(self, chosen: list[Ready], slot: Slot, tally: Tally) -> None:
        super().__init__(chosen, slot, tally)
        self._calls = Calls([(_receiver(one), one) for one in chosen], known=slot.slow)
        self.order = self._calls
        # Whoever asks for it is no provider: a call holds a slot no longer than a batch may.
        self.longest = min(self.longest, conf.get("HOLD"))

    def ended(self, one: Ready, outcome: Outcome, seconds: float) -> None:
        super().ended(one, outcome, seconds)
        answered = outcome.result is not Result.UNKNOWN
        self._calls.ended(_receiver(one), seconds, answered=answered)

    def tell(self) -> None:
        self._calls.tell()


def _receiver(one: Ready) -> str:
    return receiver_of(one.claim.channel, one.claim.recipient)


def _seconds_left(claim: Claim, now: datetime) -> float:
    """Seconds that an attempt may take: until the expiry, and within the lease."""
    left = (claim.lease_until - now).total_seconds() - LEASE_MARGIN
    if claim.expires_at is not None:
        left = min(left, (claim.expires_at - now).total_seconds())
    return left


def _message(one: Ready, now: datetime, timeout: float) -> Message:
    claim = one.claim
    expires_at = claim.expires_at
    return Message(
        id=claim.id,
        channel=claim.channel,
        recipient=claim.recipient,
        content=one.content,
        attempt=claim.attempt,
        timeout=timeout,
        expires_at=expires_at,
        ttl=None if expires_at is None else max(1, int((expires_at - now).total_seconds())),
        metadata=claim.metadata,
    )
