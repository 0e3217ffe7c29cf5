"""When a queue's weight is raised: a table, and a model of a queue that has too small a share."""

from collections import deque
from itertools import pairwise
from typing import Any

import pytest

from notifications.queueing.allocation import next_raised, raised_weight
from notifications.queueing.fair_order import FairOrder

USUAL = {"high": 16.0, "medium": 4.0, "low": 1.0}
LIMIT = 60.0


@pytest.mark.parametrize(
    ("before", "age", "after"),
    [
        (False, 0, False),
        (False, 59, False),
        (False, 61, True),
        (True, 61, True),
        (True, 31, True),
        (True, 29, False),
    ],
)
def test_a_queue_is_raised_beyond_the_limit_and_let_down_below_half_of_it(
    before: bool, age: int, after: bool
) -> None:
    raised = {"email.low"} if before else set()
    found = next_raised(raised, {"email.low": age}, raise_after=LIMIT)
    assert found == ({"email.low"} if after else set())


def test_a_raised_queue_that_became_empty_is_let_down() -> None:
    assert next_raised({"email.low"}, {}, raise_after=LIMIT) == frozenset()


@pytest.mark.parametrize(
    ("queue", "weights", "weight"),
    [
        ("email.low", USUAL, 2),
        ("email.medium", USUAL, 8),
        ("email.high", USUAL, 32),
        ("email.medium", {"high": 5.0, "medium": 4.0, "low": 1.0}, 5),
        ("email.low", {"high": 1.0, "medium": 1.0, "low": 3.0}, 3),
    ],
)
def test_a_raised_weight_does_not_pass_the_next_priority(
    queue: str, weights: Any, weight: int
) -> None:
    assert raised_weight(queue, weights) == weight


def test_a_queue_that_falls_behind_is_held_at_the_limit_without_going_up_and_down() -> None:
    """Twenty messages a second; ``high`` would take all, ``low`` gets 1.5 new ones a second."""
    raised: frozenset[str] = frozenset()
    order = FairOrder(
        weights=lambda: {"email.high": 16.0, "email.low": 2.0 if raised else 1.0},
        spent=dict,
        running=list,
        slots=lambda: 1,
        jobs_share=0.5,
        can_grow=lambda: True,
    )
    order.update(["email.high", "email.low"])
    waiting, served = deque[float](), {"email.high": 0, "email.low": 0}
    ages, changes = [], []
    for second in range(1200):
        waiting.extend(second + part / 2 for part in range(1 + second % 2))
        age = second - waiting[0] if waiting else 0.0
        after = next_raised(raised, {"email.low": age}, raise_after=LIMIT)
        if after != raised:
            changes.append(second)
        raised = after
        ages.append(age)
        for _ in range(20):
            queue = next(q for q in order.consume(2) if q == "email.high" or waiting)
            order.rotate(queue)
            served[queue] += 1
            if queue == "email.low":
                waiting.popleft()
    assert max(ages) < LIMIT + 2
    assert len(changes) > 2
    assert min(b - a for a, b in pairwise(changes)) > LIMIT / 2
    assert served["email.high"] > 20 * 1200 * 16 / 18 - 1
