"""Which account carries what, as tables."""

from typing import Any

import pytest

from notifications.channels.base import Account
from notifications.providers.accounts import Candidate, Rule
from notifications.providers.health import Health, cooldown_after, states
from notifications.providers.selection import AccountState, Choice, choose, serving


def candidate(name: str, *rules: Any, weight: int = 100, problem: str = "") -> Candidate:
    made = tuple(Rule(*rule) for rule in rules)
    return Candidate(Account(name, "sms", "simulator"), weight, None, made, problem)


A, B, C = (candidate(name) for name in "abc")


@pytest.mark.parametrize(
    ("template", "recipient", "priority", "expected"),
    [
        ("", "+15551", "low", "everything"),
        ("", "+43664", "low", "austria"),
        ("", "+431", "low", "vienna"),
        ("", "+15551", "high", "urgent"),
        ("", "+43664", "high", "austria"),  # a country is more specific than a priority
        ("otp", "+43664", "high", "otp"),  # and a template than a country
        ("otp", "+15551", "low", "otp"),
    ],
)
def test_the_most_specific_rule_wins(
    template: str, recipient: str, priority: str, expected: str
) -> None:
    candidates = [
        candidate("everything"),
        candidate("austria", ("", "+43", "")),
        candidate("vienna", ("", "+431", "")),
        candidate("urgent", ("", "", "high")),
        candidate("otp", ("otp", "", "")),
    ]
    found = serving(candidates, template=template, recipient=recipient, priority=priority)
    assert [c.name for c in found] == [expected]


def test_an_account_of_several_rules_serves_each_and_nothing_else() -> None:
    both = candidate("both", ("otp", "", ""), ("", "+43", ""))
    for template, recipient, expected in [("otp", "+1", 1), ("", "+43", 1), ("news", "+1", 0)]:
        found = serving([both], template=template, recipient=recipient, priority="low")
        assert len(found) == expected


def chosen(*args: Any, **kwargs: Any) -> Choice:
    found = choose(*args, **kwargs)
    assert found is not None
    return found


def share(candidates: Any, health: Any = None, draws: int = 1000) -> dict[Any, Any]:
    names = [chosen(candidates, health or {}, n / draws).candidate.name for n in range(draws)]
    return {c.name: names.count(c.name) / draws for c in candidates}


def test_weights_share_the_traffic() -> None:
    assert share([candidate("a", weight=30), candidate("b", weight=10)]) == {"a": 0.75, "b": 0.25}


def test_weight_zero_is_taken_only_when_nobody_else_is_left() -> None:
    last = candidate("last", weight=0)
    assert share([A, last]) == {"a": 1.0, "last": 0.0}
    assert share([A, last], {"a": AccountState(is_open=True)}) == {"a": 0.0, "last": 1.0}


def test_a_broken_account_gets_nothing_but_one_probe() -> None:
    broken = {"a": AccountState(is_open=True)}
    assert share([A, B], broken) == {"a": 0.0, "b": 1.0}
    probe = chosen([A, B], {"a": AccountState(is_open=True, probe=True)}, 0.9)
    assert (probe.candidate.name, probe.reason) == ("a", "probe of an open circuit")


def test_when_all_rest_nobody_is_chosen() -> None:
    assert choose([A], {"a": AccountState(is_open=True)}, 0.5) is None
    assert choose([A, B], {}, 0.5, tried={"a", "b"}) is None
    assert choose([candidate("x", problem="no secret")], {}, 0.5) is None


def test_the_reason_tells_how_it_came() -> None:
    assert chosen([A], {}, 0.5).reason == "only account"
    left = chosen([A, B, C], {"c": AccountState(is_open=True)}, 0.5, tried={"a"})
    assert left.reason == "100% by weight; after a; circuit open: c"


def test_a_retry_goes_to_somebody_else_as_long_as_somebody_else_is_up() -> None:
    def share_after(*earlier: Any, health: Any = None) -> set[Any]:
        names = [
            chosen([A, B, C], health or {}, n / 100, earlier=earlier).candidate.name
            for n in range(100)
        ]
        return set(names)

    assert share_after("a") == {"b", "c"}
    assert share_after("b", "a") == {"c"}
    assert share_after("c", "b", "a") == {"a"}  # the one that failed longest ago
    is_open = {"c": AccountState(is_open=True)}
    assert share_after("b", "a", health=is_open) == {"a"}
    assert chosen([A], {}, 0.5, earlier=("a",)).candidate is A


def test_who_has_no_room_is_passed_over_and_named() -> None:
    left = chosen([A, B, C], {}, 0.5, full={"a", "b"})
    assert (left.candidate, left.reason) == (C, "100% by weight; full: a, b")
    assert choose([A, B], {}, 0.5, full={"a", "b"}) is None


def test_one_failure_moves_little_and_many_move_much() -> None:
    found = states({"a": Health(good=10, bad=1), "b": Health(good=10), "c": Health(bad=60)})
    assert found["a"].factor == pytest.approx(0.937, abs=0.001)
    assert found["b"].factor == 1.0
    assert found["c"].factor == pytest.approx(0.0625)


def test_a_slow_account_loses_weight_but_never_where_all_are_slow() -> None:
    quick, slow = Health(good=100, seconds=10), Health(good=100, seconds=100)
    assert states({"a": quick, "b": slow})["b"].factor == pytest.approx(0.3)
    assert states({"a": slow, "b": slow})["b"].factor == 1.0


@pytest.mark.parametrize(
    ("health", "seconds"),
    [
        (Health(streak=4), 0.0),
        (Health(streak=5), 2.0),
        (Health(streak=6, openings=1), 4.0),
        (Health(streak=60, openings=10), 30.0),
        (Health(streak=9, openings=1, open_until=101.0), 0.0),  # it is open already
    ],
)
def test_failures_in_a_row_bring_a_rest_that_grows(health: Any, seconds: float) -> None:
    assert cooldown_after(health, now=100.0) == seconds
