"""Which account carries a notification, and why: pure functions of rules, weights and health."""

import bisect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from notifications.channels.base import Fit
from notifications.providers.accounts import Candidate, Rule


@dataclass(frozen=True, slots=True)
class AccountState:
    """How an account is doing: ``factor`` (0 to 1) scales its weight.

    An account whose circuit ``is_open`` gets no messages; ``probe`` allows it one, which finds out
    whether it works again.
    """

    factor: float = 1.0
    is_open: bool = False
    probe: bool = False


HEALTHY = AccountState()


@dataclass(frozen=True, slots=True)
class Choice:
    """The account that was chosen, with the reason that goes into the attempt."""

    candidate: Candidate
    reason: str


def serving(
    candidates: Sequence[Candidate], *, template: str, recipient: str, priority: str
) -> Sequence[Candidate]:
    """Keep the accounts that the most specific matching rule names.

    An account without rules matches everything, less specifically than any rule does.
    """
    if not any(candidate.rules for candidate in candidates):
        return candidates
    ranked = [
        (rank, candidate)
        for candidate in candidates
        if (rank := _rank(candidate.rules, template, recipient, priority)) is not None
    ]
    best = max((rank for rank, _ in ranked), default=None)
    return [candidate for rank, candidate in ranked if rank == best]


def suited(
    candidates: Sequence[Candidate], recipient: str, fit: Callable[[str, str], Fit]
) -> Sequence[Candidate]:
    """Keep the accounts whose kind suits a recipient best; none where it suits no kind."""
    fits = [(fit(candidate.account.kind, recipient), candidate) for candidate in candidates]
    best = max((fit for fit, _ in fits), default=Fit.NO)
    return [candidate for fit, candidate in fits if fit is best and best is not Fit.NO]


def choose(
    serving: Sequence[Candidate],
    states: Mapping[str, AccountState],
    draw: float,
    tried: Collection[str] = (),
    *,
    full: Collection[str] = (),
    earlier: Sequence[str] = (),
) -> Choice | None:
    """Draw an account by weight and health; ``draw`` is in [0, 1). None if none can be used.

    Leaves out the accounts that were ``tried`` just now and those that are ``full``: their limit
    makes this message wait. Those that failed it ``earlier``, the latest first, come last: a retry
    goes to another account as long as another account works.
    """
    for count in range(len(earlier), -1, -1):
        failed = {*tried, *earlier[:count]}
        drawn = _drawn(serving, states, draw, failed, full)
        if drawn:
            return drawn
    return None


def _drawn(
    serving: Sequence[Candidate],
    states: Mapping[str, AccountState],
    draw: float,
    failed: Collection[str],
    full: Collection[str],
) -> Choice | None:
    """Draw an account; one that is to be probed goes first: one message finds out for all."""
    usable = [c for c in serving if not (c.problem or c.name in failed or c.name in full)]
    for candidate in usable:
        if states.get(candidate.name, HEALTHY).probe:
            return Choice(candidate, "probe of an open circuit")
    up = [c for c in usable if not states.get(c.name, HEALTHY).is_open]
    if not up:
        return None
    weights = [_weight(c, states) for c in up]
    if not any(weights):  # only accounts of weight 0 are left
        weights = [1.0] * len(up)
    sums = list(accumulate(weights))
    chosen = up[min(bisect.bisect_right(sums, draw * sums[-1]), len(up) - 1)]
    return Choice(chosen, _reason(chosen, up, weights, serving, failed=failed, full=full))


def _weight(candidate: Candidate, states: Mapping[str, AccountState]) -> float:
    return candidate.weight * states.get(candidate.name, HEALTHY).factor


def _rank(
    rules: tuple[Rule, ...], template: str, recipient: str, priority: str
) -> tuple[bool, int, bool] | None:
    if not rules:
        return (False, 0, False)
    return max(
        (
            (bool(rule.template), len(rule.country_prefix), bool(rule.priority))
            for rule in rules
            if rule.template in ("", template)
            and recipient.startswith(rule.country_prefix)
            and rule.priority in ("", priority)
        ),
        default=None,
    )


def _reason(
    chosen: Candidate,
    up: Sequence[Candidate],
    weights: Sequence[float],
    serving: Sequence[Candidate],
    *,
    failed: Collection[str],
    full: Collection[str],
) -> str:
    if chosen.is_named:
        return "named"
    if len(serving) == 1:
        return "rule" if chosen.rules else "only account"
    share = weights[up.index(chosen)] / sum(weights)
    words = [f"{share:.0%} by weight"]
    if chosen.rules:
        words.append("rule")
    if failed:
        words.append(f"after {', '.join(sorted(failed))}")
    if full:
        words.append(f"full: {', '.join(sorted(full))}")
    names = [c.name for c in serving if c not in up]
    open_ones = [name for name in names if name not in failed and name not in full]
    if open_ones:
        words.append(f"circuit open: {', '.join(open_ones)}")
    return "; ".join(words)[:100]
