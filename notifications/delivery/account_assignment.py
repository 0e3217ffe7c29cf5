"""Assigns rendered messages to accounts: by rules, weight and health, within limits.

It writes nothing, but returns a plan. A message that cannot be sent now is to be deferred, which
uses no attempt and frees the worker.
"""

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from notifications.channels import CHANNELS, allowed_senders, kinds
from notifications.core.attempt import Claim, Outcome, Report, Result
from notifications.core.reasons import Reason
from notifications.db import clock
from notifications.delivery import account_limits
from notifications.delivery.plan import Plan, Ready
from notifications.models import Attempt
from notifications.providers import accounts, endpoints, health, senders
from notifications.providers.accounts import Candidate
from notifications.providers.endpoints import Allowance
from notifications.providers.selection import AccountState, Choice, choose, serving, suited

WAIT_FOR_ACCOUNT = 15.0  # seconds, where every account is disabled or misconfigured

Names = Mapping[UUID, Collection[str]]  # of accounts, by message


def assign(ready: list[Ready], tried: Names, earlier: Mapping[UUID, Sequence[str]]) -> Plan:
    """Plan by which account each message goes: all are tests, or none is.

    ``tried`` and ``earlier`` name the accounts that failed it in this batch and before.
    """
    plan = Plan()
    by_name: dict[str, list[Ready]] = defaultdict(list)
    for row in ready:
        by_name[row.claim.account].append(row)
    for some in by_name.values():
        _assign(some, tried, earlier, plan)
    return plan


def _assign(
    ready: list[Ready], tried: Names, earlier: Mapping[UUID, Sequence[str]], plan: Plan
) -> None:
    """Plan by which account messages go that name the same account, or none."""
    if not _is_there(ready, plan):
        return
    ready = _without_misfits(ready, plan)
    if not ready:
        return
    candidates = candidates_of(ready[0].claim)
    states = _states(candidates)
    if _only(candidates, states) and not tried:
        # By far the commonest case, in which there is nothing to draw for each row.
        choice = _choose(ready[0], candidates, states)
        if choice is not None:
            account_limits.send_within(plan, choice, ready)
            return
    drawing = _WeightedDraw(candidates, states, tried, earlier)
    if len(candidates) > 1 and any(candidate.rate for candidate in candidates):
        with_room, ready = drawing.with_room(ready)
        plan.send += with_room
    chosen, left = drawing.draw(ready)
    for choice, rows in chosen:
        account_limits.send_within(plan, choice, rows)
    _defer(left, candidates, plan)


def _is_there(ready: list[Ready], plan: Plan) -> bool:
    """Return whether the account that messages name is there; if not, they get their outcome.

    A process that has not heard of the account yet reads the accounts again first.
    """
    claim = ready[0].claim
    if claim.test or not claim.account or accounts.is_known(claim.channel, claim.account):
        return True
    accounts.forget()
    if accounts.is_known(claim.channel, claim.account):
        return True
    outcome = Outcome(
        Result.PERMANENT,
        code=Reason.UNKNOWN_ACCOUNT,
        detail=f"The account {claim.account}, which alone may send it, was deleted.",
        reason=Reason.UNKNOWN_ACCOUNT,
        local=True,
    )
    now = clock.now()
    plan.record += [Report(row.claim, outcome, provider="", started_at=now) for row in ready]
    return False


def _without_misfits(ready: list[Ready], plan: Plan) -> list[Ready]:
    """Return what some account could reach; what no account ever could gets its outcome."""
    claim = ready[0].claim
    if claim.test or not CHANNELS[claim.channel].is_mixed:
        return ready
    kept = []
    for row in ready:
        if accounts.takers(claim.channel, row.claim.recipient, claim.account):
            kept.append(row)
        else:
            plan.record.append(Report(row.claim, _NO_ACCOUNT, provider="", started_at=clock.now()))
    return kept


_NO_ACCOUNT = Outcome(
    Result.PERMANENT,
    code="no_account",
    detail="No account of this channel takes recipients of this kind.",
    local=True,
)


def has_another(ready: Ready, tried: Collection[str]) -> bool:
    """Return whether another account could take this message at once."""
    candidates = candidates_of(ready.claim)
    if len(candidates) == 1:
        return False
    states = health.states(health.healths([c.name for c in candidates]))
    return _choose(ready, candidates, states, tried) is not None


def failed_earlier(ready: Iterable[Ready]) -> dict[UUID, Sequence[str]]:
    """Return the accounts that failed each of these before, the latest first.

    Asks nothing where all are new, or where there is no choice.
    """
    again = [row.claim for row in ready if row.claim.attempt > 1]
    if all(len(candidates_of(claim)) == 1 for claim in again):
        return {}
    found: dict[UUID, dict[str, None]] = defaultdict(dict)
    attempts = Attempt.objects.filter(notification_id__in=[claim.id for claim in again])
    for id_, name in attempts.order_by("-number").values_list("notification_id", "provider"):
        if name:  # none where the worker died
            found[id_][name] = None
    return {id_: tuple(names) for id_, names in found.items()}


def candidates_of(claim: Claim) -> tuple[Candidate, ...]:
    """Return the accounts that may send a claim; of a test, what serves tests."""
    if claim.test:
        candidates = accounts.for_tests(claim.channel)
    else:
        candidates = accounts.candidates(claim.channel, claim.account)
    if not claim.held_accounts:
        return candidates
    names = claim.held_accounts.split("\n")
    return tuple(
        replace(candidate, problem=accounts.HELD) if candidate.name in names else candidate
        for candidate in candidates
    )


def within_allowances(ready: list[Ready]) -> tuple[list[Ready], dict[str, Allowance], Plan]:
    """Return the messages whose endpoint may be called now, and a plan that defers the others.

    The second value holds the allowances of the endpoints that are known to be slow.
    """
    kept = [row for row in ready if row.claim.test]  # a test calls nobody
    by_endpoint: dict[str, list[Ready]] = defaultdict(list)
    for row in (row for row in ready if not row.claim.test):
        by_endpoint[endpoints.endpoint_of(row.claim.channel, row.claim.recipient)].append(row)
    allowances = endpoints.allowances(by_endpoint)
    plan = Plan()
    for endpoint, rows in by_endpoint.items():
        allowance = allowances.get(endpoint)
        if allowance is None:
            kept += rows
            continue
        kept += rows[: allowance.most]
        detail = "The endpoint is slow, or does not answer."
        plan.defer_for(rows[allowance.most :], allowance.wait, Reason.ENDPOINT_BACKOFF, detail)
    return kept, allowances, plan


class _WeightedDraw:
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
        for row in ready:
            id_ = row.claim.id
            choice = _choose(
                row,
                self._candidates,
                self._states,
                self._tried.get(id_, ()),
                full=self._full.get(id_, ()),
                earlier=self._earlier.get(id_, ()),
            )
            if choice is None:
                left.append(row)
                continue
            self._probed(choice)
            key = (choice.candidate.name, choice.reason)
            chosen.setdefault(key, (choice, []))[1].append(row)
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
                waits = account_limits.waits_of(choice.candidate, rows, peek=True)
                going.append((choice, [o for o, w in zip(rows, waits, strict=True) if not w]))
                for row in (o for o, w in zip(rows, waits, strict=True) if w):
                    self._full[row.claim.id].add(choice.candidate.name)
                    ready.append(row)
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
    ready: Ready,
    candidates: Sequence[Candidate],
    states: Mapping[str, AccountState],
    tried: Collection[str] = (),
    *,
    full: Collection[str] = (),
    earlier: Sequence[str] = (),
) -> Choice | None:
    if CHANNELS[ready.claim.channel].is_mixed:
        candidates = suited(candidates, ready.claim.recipient, kinds.fit)
    if sender := ready.content.get("from_email"):
        # Where none allows it any more, one refuses it and says so.
        allowing = [c for c in candidates if allowed_senders.allows(c.account.settings, sender)]
        candidates = allowing or candidates
    able = serving(
        candidates,
        template=ready.template,
        recipient=ready.claim.recipient,
        priority=ready.claim.priority,
    )
    draw = random.random()  # noqa: S311 -- spreads, protects nothing
    return choose(able, states, draw, tried, full=full, earlier=earlier)


def _defer(left: list[Ready], candidates: Sequence[Candidate], plan: Plan) -> None:
    """Defer what no account can take now, until an account may work again."""
    if not left:
        return
    now = clock.now().timestamp()
    until = [h.open_until for h in health.healths([c.name for c in candidates]).values()]
    waits = [max(u - now, health.COOLDOWN / 2) for u in until if u]
    if not waits and any(not c.problem for c in candidates):
        waits = [health.COOLDOWN]
    detail = "; ".join(c.problem for c in candidates if c.problem)
    name = left[0].claim.account
    subject = f"The account {name}, which alone may send it," if name else "Every account"
    is_held = bool(candidates) and all(c.problem == accounts.HELD for c in candidates)
    plan.defer_for(
        left,
        accounts.HELD_WAIT if is_held else min(waits, default=WAIT_FOR_ACCOUNT),
        Reason.ACCOUNT_HELD if is_held else Reason.NO_PROVIDER,
        detail or f"{subject} is disabled, or its circuit is open after failures.",
    )
