"""The assignment of finished messages to accounts: by rules, weight and health, within limits.

It writes nothing: it gives a plan. A message that cannot be sent now is to be deferred, which
uses no attempt and frees the worker.
"""

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from notifications.channels import CHANNELS, allowed_senders, kinds
from notifications.channels.base import Content
from notifications.core.attempt import Claim, Outcome, Report, Result
from notifications.core.retry import policy_for
from notifications.db import clock, shared_state
from notifications.models import Attempt
from notifications.providers import accounts, endpoints, health, rate_limits, senders
from notifications.providers.accounts import Candidate
from notifications.providers.endpoints import Allowance
from notifications.providers.rate_limits import Ask, Bucket, bursty, steady
from notifications.providers.selection import AccountState, Choice, choose, serving, suited
from notifications.recipients import suppressions
from templates_engine.sms import segments

WAIT_FOR_ACCOUNT = 15.0  # seconds, where every account is disabled or misconfigured
BOOKED = "rate_limited"  # the reason of a row that waits for its slot

Names = Mapping[UUID, Collection[str]]  # of accounts, by message


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
        return segments(str(self.content["text"]))


@dataclass(slots=True)
class Plan:
    """What is to become of some messages: by which account they go, or why they do not.

    ``deferred`` holds claims with the time when each is due again, by the reason; ``stale`` those
    that would have expired by then; ``late`` reports of those whose deadline would be over, and of
    those that no account could ever reach.
    """

    going: list[tuple[Choice, list[Ready]]] = field(default_factory=list)
    deferred: dict[str, list[tuple[Claim, datetime]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    stale: list[Claim] = field(default_factory=list)
    late: list[Report] = field(default_factory=list)

    def wait(self, ready: list[Ready], seconds: float, why: str, detail: str) -> None:
        """Defer these for so long; those whose deadline would be over by then are late."""
        now = clock.now()
        due_at = now + timedelta(seconds=seconds)
        outcome = Outcome(Result.TRANSIENT, code=why, detail=detail, retry_after=seconds)
        for one in ready:
            claim = one.claim
            if due_at <= _deadline(claim):
                self.deferred[why].append((claim, _before_expiry(claim, due_at)))
            else:
                self.late.append(Report(claim, outcome, provider="", started_at=now))

    def within_limits(self, choice: Choice, ready: list[Ready]) -> None:
        """Ask the limits for all at once; what must wait is due again at the time it is given."""
        waits = _waits(choice.candidate, ready)
        if not any(waits):
            self.going.append((choice, ready))
            return
        now = clock.now()
        going = []
        for one, wait in zip(ready, waits, strict=True):
            due_at = now + timedelta(seconds=wait)
            expires_at = one.claim.expires_at
            if not wait:
                going.append(one)
            elif expires_at is not None and due_at >= expires_at:
                self.stale.append(one.claim)
            else:
                self.deferred[BOOKED].append((one.claim, due_at))
        self.going.append((choice, going))


def assign(ready: list[Ready], tried: Names, earlier: Mapping[UUID, Sequence[str]]) -> Plan:
    """Plan by which account each goes; ``tried`` and ``earlier`` name those that failed it."""
    candidates = candidates_of(ready[0].claim)
    plan = Plan()
    ready = _without_misfits(ready, plan)
    if not ready:
        return plan
    states = _states(candidates)
    if _only(candidates, states) and not tried:
        # By far the commonest case, in which there is nothing to draw for each row.
        choice = _choose(ready[0], candidates, states)
        if choice is not None:
            plan.within_limits(choice, ready)
            return plan
    drawing = _Drawing(candidates, states, tried, earlier)
    if len(candidates) > 1 and any(candidate.rate for candidate in candidates):
        plan.going, ready = drawing.with_room(ready)
    chosen, left = drawing.draw(ready)
    for choice, rows in chosen:
        plan.within_limits(choice, rows)
    _rest(left, candidates, plan)
    return plan


def _without_misfits(ready: list[Ready], plan: Plan) -> list[Ready]:
    """Keep what some account could reach; what none of this channel ever could ends."""
    claim = ready[0].claim
    if claim.test or not CHANNELS[claim.channel].is_mixed:
        return ready
    kept = []
    for one in ready:
        if accounts.takers(claim.channel, one.claim.recipient):
            kept.append(one)
        else:
            plan.late.append(Report(one.claim, _NO_ACCOUNT, provider="", started_at=clock.now()))
    return kept


_NO_ACCOUNT = Outcome(
    Result.PERMANENT,
    code="no_account",
    detail="No account of this channel takes recipients of this kind.",
    local=True,
)


def has_another(one: Ready, tried: Collection[str]) -> bool:
    """Return whether another account could take this message at once."""
    candidates = candidates_of(one.claim)
    if len(candidates) == 1:
        return False
    states = health.states(health.healths([c.name for c in candidates]))
    return _choose(one, candidates, states, tried) is not None


def failed_earlier(ready: Iterable[Ready]) -> dict[UUID, Sequence[str]]:
    """Return the accounts that failed each of these before, the latest first.

    Asks nothing where all are new, or where there is no choice.
    """
    again = [one.claim for one in ready if one.claim.attempt > 1]
    if not again or len(candidates_of(again[0])) == 1:
        return {}
    found: dict[UUID, dict[str, None]] = defaultdict(dict)
    attempts = Attempt.objects.filter(notification_id__in=[claim.id for claim in again])
    for id_, name in attempts.order_by("-number").values_list("notification_id", "provider"):
        if name:  # none where the worker died
            found[id_][name] = None
    return {id_: tuple(names) for id_, names in found.items()}


def candidates_of(claim: Claim) -> tuple[Candidate, ...]:
    """Return the accounts of a claim's channel; of a test, what serves tests."""
    candidates = (accounts.for_tests if claim.test else accounts.candidates)(claim.channel)
    if not claim.held_accounts:
        return candidates
    names = claim.held_accounts.split("\n")
    return tuple(
        replace(one, problem=accounts.HELD) if one.name in names else one for one in candidates
    )


def within_allowances(ready: list[Ready]) -> tuple[list[Ready], dict[str, Allowance], Plan]:
    """Return the messages whose endpoint may be called now, and a plan that defers the others.

    The second value holds the allowances of the endpoints that are known to be slow.
    """
    kept = [one for one in ready if one.claim.test]  # a test calls nobody
    by_endpoint: dict[str, list[Ready]] = defaultdict(list)
    for one in (one for one in ready if not one.claim.test):
        by_endpoint[endpoints.endpoint_of(one.claim.channel, one.claim.recipient)].append(one)
    allowances = endpoints.allowances(by_endpoint)
    plan = Plan()
    for endpoint, rows in by_endpoint.items():
        allowance = allowances.get(endpoint)
        if allowance is None:
            kept += rows
            continue
        kept += rows[: allowance.most]
        detail = "The endpoint is slow, or does not answer."
        plan.wait(rows[allowance.most :], allowance.wait, "endpoint_backoff", detail)
    return kept, allowances, plan


class _Drawing:
    """The draw of an account for each message of a batch."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        states: dict[str, AccountState],
        tried: Names,
        earlier: Mapping[UUID, Sequence[str]],
    ) -> None:
        self._candidates = candidates
        self._states = states
        self._tried = tried
        self._earlier = earlier
        self._full: dict[UUID, set[str]] = defaultdict(set)

    def draw(self, ready: list[Ready]) -> tuple[list[tuple[Choice, list[Ready]]], list[Ready]]:
        """Return those that go by each account, and those that no account can take."""
        chosen: dict[tuple[str, str], tuple[Choice, list[Ready]]] = {}
        left: list[Ready] = []
        for one in ready:
            id_ = one.claim.id
            choice = _choose(
                one,
                self._candidates,
                self._states,
                self._tried.get(id_, ()),
                full=self._full.get(id_, ()),
                earlier=self._earlier.get(id_, ()),
            )
            if choice is None:
                left.append(one)
                continue
            self._probed(choice)
            key = (choice.candidate.name, choice.reason)
            chosen.setdefault(key, (choice, []))[1].append(one)
        return list(chosen.values()), left

    def with_room(self, ready: list[Ready]) -> tuple[list[tuple[Choice, list[Ready]]], list[Ready]]:
        """Return those that some account can send at once, and those that none has room for."""
        going = []
        waiting: list[Ready] = []
        while ready:
            chosen, none = self.draw(ready)
            waiting += none
            ready = []
            for choice, rows in chosen:
                waits = _waits(choice.candidate, rows, looks=True)
                going.append((choice, [o for o, w in zip(rows, waits, strict=True) if not w]))
                for one in (o for o, w in zip(rows, waits, strict=True) if w):
                    self._full[one.claim.id].add(choice.candidate.name)
                    ready.append(one)
        self._full.clear()  # where all are full, one is waited for
        return going, waiting

    def _probed(self, choice: Choice) -> None:
        """Let one message probe; those after it treat the account as broken."""
        name = choice.candidate.name
        if self._states[name].probe:
            self._states[name] = replace(self._states[name], probe=False)


def _only(candidates: Sequence[Candidate], states: Mapping[str, AccountState]) -> bool:
    return (
        len(candidates) == 1
        and not CHANNELS[candidates[0].account.channel].is_mixed
        and not candidates[0].rules
        and not states[candidates[0].name].is_open
    )


def _states(candidates: Sequence[Candidate]) -> dict[str, AccountState]:
    found = health.healths([candidate.name for candidate in candidates])
    states = health.states(found)
    for name, state in states.items():
        if senders.is_stuck(name):
            states[name] = replace(state, is_open=True)
            continue
        if state.is_open and health.may_probe(name, found[name]):
            states[name] = replace(state, probe=True)
    return states


def _choose(
    one: Ready,
    candidates: Sequence[Candidate],
    states: Mapping[str, AccountState],
    tried: Collection[str] = (),
    *,
    full: Collection[str] = (),
    earlier: Sequence[str] = (),
) -> Choice | None:
    if CHANNELS[one.claim.channel].is_mixed:
        candidates = suited(candidates, one.claim.recipient, kinds.fit)
    if sender := one.content.get("from_email"):
        # Where none allows it any more, one refuses it and says so.
        allowing = [c for c in candidates if allowed_senders.allows(c.account.settings, sender)]
        candidates = allowing or candidates
    able = serving(
        candidates,
        template=one.template,
        recipient=one.claim.recipient,
        priority=one.claim.priority,
    )
    draw = random.random()  # noqa: S311 -- spreads, protects nothing
    return choose(able, states, draw, tried, full=full, earlier=earlier)


def _rest(left: list[Ready], candidates: Sequence[Candidate], plan: Plan) -> None:
    """Defer what no account can take now; it is looked at again when one may be back."""
    if not left:
        return
    now = clock.now().timestamp()
    until = [h.open_until for h in health.healths([c.name for c in candidates]).values()]
    waits = [max(u - now, health.COOLDOWN / 2) for u in until if u]
    if not waits and any(not c.problem for c in candidates):
        waits = [health.COOLDOWN]
    detail = "; ".join(c.problem for c in candidates if c.problem)
    is_held = bool(candidates) and all(c.problem == accounts.HELD for c in candidates)
    plan.wait(
        left,
        accounts.HELD_WAIT if is_held else min(waits, default=WAIT_FOR_ACCOUNT),
        accounts.HELD if is_held else "no_provider",
        detail or "Every account is disabled, or its circuit is open after failures.",
    )


def _deadline(claim: Claim) -> datetime:
    return claim.scheduled_at + timedelta(seconds=policy_for(claim.priority, claim.retry).deadline)


def _before_expiry(claim: Claim, due_at: datetime) -> datetime:
    return due_at if claim.expires_at is None else min(due_at, claim.expires_at)


def _waits(candidate: Candidate, rows: list[Ready], *, looks: bool = False) -> list[float]:
    """Ask how many seconds each has to wait; ``looks``: those that had to would go elsewhere."""
    if not rows or not (candidate.rate or accounts.limits(rows[0].claim.channel)):
        return [0.0] * len(rows)
    return rate_limits.ask(
        [
            Ask(_buckets(candidate, one), booked=one.claim.reason == BOOKED, looks=looks)
            for one in rows
        ]
    )


def _buckets(candidate: Candidate, one: Ready) -> tuple[Bucket, ...]:
    claim = one.claim
    found = []
    if candidate.rate:
        key = shared_state.key_of(f"rate:account:{candidate.name}")
        found.append(steady(key, candidate.rate))
        if claim.priority != "high":
            found.append(steady(f"{key}:shared", candidate.rate, 1 - rate_limits.HIGH_SHARE))
    for limit in accounts.limits(claim.channel):
        if limit.template not in ("", one.template):
            continue
        key = shared_state.key_of(f"rate:{limit.scope}:{claim.channel}:{limit.template}")
        if limit.scope == "recipient":
            recipient = suppressions.comparable(claim.channel, claim.recipient)
            key += f":{rate_limits.digest(recipient)}"
        found.append(bursty(key, limit.rate))
    return tuple(found)
