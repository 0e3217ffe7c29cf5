"""The handover of finished messages: choose an account, ask the limits, send, record, fail over.

A failover is a retry without a wait: the attempt is recorded, the row is due at once, and this
same worker claims it again for the next account. Should the worker die in between, the row is
simply due.
"""

import random
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import structlog

from notifications import accounts, claims, clock, conf, health, outcomes, rate_limits
from notifications.accounts import Candidate
from notifications.channels.base import Content, Message
from notifications.choice import Choice, Condition, choose, serving
from notifications.claims import Claim
from notifications.health import TRIP_AFTER, Tally
from notifications.models import Status
from notifications.outcomes import Recorded
from notifications.providers import provider_of
from notifications.rate_limits import Ask, Bucket, bursty, steady
from notifications.reports import Report
from notifications.retry import Outcome, Result, Step, policy_for
from templates_engine.sms import measure

log = structlog.get_logger(__name__)

RECORD_EVERY = 250  # outcomes; what a crash can double is at most what was not yet recorded
RECORD_AFTER = 0.5  # seconds
WAIT_FOR_ACCOUNT = 15.0  # seconds, where every account is disabled or misconfigured
LEASE_MARGIN = 2.0  # seconds of the lease that are left for recording
BOOKED = "rate_limited"  # the reason of a row that waits for its slot


class Ready(NamedTuple):
    """A claim with its finished content, and the name of its template if it has one."""

    claim: Claim
    content: Content
    template: str = ""

    @property
    def segments(self) -> int | None:
        """How many segments an SMS takes; None for other channels."""
        if self.claim.channel != "sms":
            return None
        return measure(str(self.content["text"])).segments


@dataclass(slots=True)
class Slot:
    """The time that one batch may hold a worker, and what came of it so far."""

    worker: str
    ends: float = field(default_factory=lambda: time.monotonic() + conf.get("HOLD"))
    tried: dict[UUID, set[str]] = field(default_factory=lambda: defaultdict(set))
    recorded: list[Recorded] = field(default_factory=list)


def hand_over(ready: list[Ready], *, worker: str) -> list[Recorded]:
    """Hand messages of one channel over, and give what was recorded."""
    slot = Slot(worker)
    for test in (False, True):
        left = [one for one in ready if one.claim.test is test]
        while left:
            again: list[Ready] = []
            for choice, chosen in _by_account(left, slot):
                again += _send(choice, chosen, slot)
            left = again
    return slot.recorded


def _by_account(ready: list[Ready], slot: Slot) -> list[tuple[Choice, list[Ready]]]:
    """Choose for each; those that nobody can take now, or that must wait, are put back."""
    candidates = _candidates(ready[0].claim)
    conditions = _conditions(candidates)
    if _only(candidates, conditions) and not slot.tried:
        # By far the commonest case, in which there is nothing to draw for each row.
        choice = _choose(ready[0], candidates, conditions, set())
        if choice is not None:
            return [(choice, _within_limits(choice.candidate, ready))]
    chosen: dict[tuple[str, str], tuple[Choice, list[Ready]]] = {}
    left: list[Ready] = []
    for one in ready:
        choice = _choose(one, candidates, conditions, slot.tried[one.claim.id])
        if choice is None:
            left.append(one)
            continue
        condition = conditions[choice.candidate.name]
        if condition.probe:  # one message probes; those after it treat the account as broken
            conditions[choice.candidate.name] = replace(condition, probe=False)
        key = (choice.candidate.name, choice.reason)
        chosen.setdefault(key, (choice, []))[1].append(one)
    _rest(left, candidates, slot)
    return [(choice, _within_limits(choice.candidate, rows)) for choice, rows in chosen.values()]


def _candidates(claim: Claim) -> tuple[Candidate, ...]:
    return (accounts.for_tests if claim.test else accounts.candidates)(claim.channel)


def _only(candidates: Sequence[Candidate], conditions: Mapping[str, Condition]) -> bool:
    return (
        len(candidates) == 1
        and not candidates[0].rules
        and not conditions[candidates[0].name].broken
    )


def _conditions(candidates: Sequence[Candidate]) -> dict[str, Condition]:
    found = health.healths([candidate.name for candidate in candidates])
    conditions = health.conditions(found)
    for name, condition in conditions.items():
        if condition.broken and health.may_probe(name, found[name]):
            conditions[name] = replace(condition, probe=True)
    return conditions


def _choose(
    one: Ready,
    candidates: Sequence[Candidate],
    conditions: Mapping[str, Condition],
    tried: set[str],
) -> Choice | None:
    able = serving(
        candidates,
        template=one.template,
        recipient=one.claim.recipient,
        priority=one.claim.priority,
    )
    return choose(able, conditions, random.random(), tried)  # noqa: S311 -- spreads, protects nothing


def _rest(left: list[Ready], candidates: Sequence[Candidate], slot: Slot) -> None:
    """Put back what no account can take now; it is looked at again when one may be back."""
    if not left:
        return
    now = clock.now()
    until = [h.resting_until for h in health.healths([c.name for c in candidates]).values()]
    rests = [max(u - now.timestamp(), health.REST / 2) for u in until if u]
    if not rests and any(not c.problem for c in candidates):
        rests = [health.REST]
    wait = min(rests, default=WAIT_FOR_ACCOUNT)
    due_at = now + timedelta(seconds=wait)
    late = [one.claim for one in left if due_at > _deadline(one.claim)]
    waiting = [one.claim for one in left if due_at <= _deadline(one.claim)]
    outcomes.put_back([(claim, _before_expiry(claim, due_at)) for claim in waiting], "no_provider")
    outcome = Outcome(
        Result.TRANSIENT,
        code="no_provider",
        detail="; ".join(c.problem for c in candidates if c.problem)
        or "Every account rests after failures, or is disabled.",
        retry_after=wait,
    )
    if late:
        reports = [Report(claim, outcome, provider="", started_at=now) for claim in late]
        slot.recorded += outcomes.record(reports, worker=slot.worker)


def _deadline(claim: Claim) -> datetime:
    return claim.scheduled_at + timedelta(seconds=policy_for(claim.priority, claim.retry).deadline)


def _before_expiry(claim: Claim, due_at: datetime) -> datetime:
    return due_at if claim.expires_at is None else min(due_at, claim.expires_at)


def _within_limits(candidate: Candidate, rows: list[Ready]) -> list[Ready]:
    """Ask the limits for all at once; who has to wait is put back at the slot it was given."""
    if not rows or not (candidate.rate or accounts.limits(rows[0].claim.channel)):
        return rows
    asks = [Ask(_buckets(candidate, one), one.claim.reason == BOOKED) for one in rows]
    waits = rate_limits.ask(asks)
    if not any(waits):
        return rows
    now = clock.now()
    slots = [
        (one.claim, now + timedelta(seconds=wait))
        for one, wait in zip(rows, waits, strict=True)
        if wait
    ]
    stale = [c for c, slot in slots if c.expires_at is not None and slot >= c.expires_at]
    outcomes.finish(stale, Status.EXPIRED, "expires_before_slot")
    stale_ids = {claim.id for claim in stale}
    outcomes.put_back([(c, slot) for c, slot in slots if c.id not in stale_ids], BOOKED)
    return [one for one, wait in zip(rows, waits, strict=True) if not wait]


def _buckets(candidate: Candidate, one: Ready) -> tuple[Bucket, ...]:
    claim = one.claim
    found = []
    if candidate.rate:
        key = f"notifications:rate:account:{candidate.name}"
        found.append(steady(key, candidate.rate))
        if claim.priority != "high":
            found.append(steady(f"{key}:shared", candidate.rate, 1 - rate_limits.HIGH_SHARE))
    for limit in accounts.limits(claim.channel):
        if limit.template not in ("", one.template):
            continue
        key = f"notifications:rate:{limit.scope}:{claim.channel}:{limit.template}"
        if limit.scope == "recipient":
            key += f":{rate_limits.digest(claim.recipient)}"
        found.append(bursty(key, limit.rate))
    return tuple(found)


def _send(choice: Choice, chosen: list[Ready], slot: Slot) -> list[Ready]:
    """Send these by one account while time lasts; gives what is to go on to another account.

    An account that fails again and again gets no more of this batch.
    """
    if not chosen:
        return []
    name = choice.candidate.name
    tally = Tally()
    sending = _Sending(chosen, slot, tally)
    by_id = {one.claim.id: one for one in chosen}
    failed_over: list[Ready] = []
    reports: list[Report] = []
    record_at = time.monotonic() + RECORD_AFTER
    for message, outcome in _outcomes(choice.candidate, sending.feed()):
        one, (started, started_at) = by_id[message.id], sending.started[message.id]
        if not outcome.local:
            well = outcome.result in (Result.SENT, Result.PERMANENT)
            tally.add(well=well, seconds=time.monotonic() - started)
        _follow(one.claim, name, outcome)
        slot.tried[message.id].add(name)
        another = outcome.result is Result.TRANSIENT and _has_another(one, slot)
        reports.append(
            Report(one.claim, outcome, name, started_at, choice.reason, another, one.segments)
        )
        if len(reports) >= RECORD_EVERY or time.monotonic() > record_at:
            failed_over += _record(reports, by_id, slot)
            reports = []
            record_at = time.monotonic() + RECORD_AFTER
    failed_over += _record(reports, by_id, slot)
    health.tell(name, tally)
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
    if not reports:
        return []
    recorded = outcomes.record(reports, worker=slot.worker)
    going_on = [r.claim.id for r in recorded if r.decision.step is Step.FAIL_OVER and not r.stale]
    slot.recorded += [r for r in recorded if r.decision.step is not Step.FAIL_OVER]
    return [by_id[claim.id]._replace(claim=claim) for claim in claims.claim(going_on)]


def _has_another(one: Ready, slot: Slot) -> bool:
    candidates = _candidates(one.claim)
    if len(candidates) == 1:
        return False
    conditions = health.conditions(health.healths([c.name for c in candidates]))
    return _choose(one, candidates, conditions, slot.tried[one.claim.id]) is not None


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


class _Sending:
    """What of a batch was fed to a provider, and what was not."""

    def __init__(self, chosen: list[Ready], slot: Slot, tally: Tally) -> None:
        self.chosen = chosen
        self.slot = slot
        self.tally = tally
        self.started: dict[UUID, tuple[float, datetime]] = {}
        self.late: list[Claim] = []

    def feed(self) -> Iterator[Message]:
        """Give the messages while there is time, each with what is left of its own."""
        longest = conf.get("PROVIDER_TIMEOUT")
        for one in self.chosen:
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
            yield _message(one, now, min(longest, left))

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
