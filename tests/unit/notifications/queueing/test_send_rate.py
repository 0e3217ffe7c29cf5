"""The rate that a worker's processes keep together."""

import os
from typing import Any

import pytest

from notifications.queueing.send_rate import SharedRate


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shared(clock: Clock) -> SharedRate:
    return SharedRate(clock)


def test_without_a_rate_all_may_go(shared: SharedRate) -> None:
    assert shared.take(500) == 500


@pytest.mark.parametrize(
    ("per_second", "at_once", "after_a_second"),
    [(5.0, 1, 1), (100.0, 10, 10), (100_000.0, 500, 500), (0.5, 1, 0)],
)
def test_so_many_go_at_once_and_again_after_a_second(
    shared: SharedRate, clock: Clock, per_second: float, at_once: int, after_a_second: int
) -> None:
    shared.set(per_second)
    assert shared.take(500) == at_once
    assert shared.take(500) == (500 if per_second == 100_000.0 else 0)
    clock.now += 1.0
    assert shared.take(500) == after_a_second


@pytest.mark.parametrize("per_second", [5.0, 30.0, 1000.0, 1 / 60])
def test_over_a_long_time_the_rate_is_met_and_not_passed(
    shared: SharedRate, clock: Clock, per_second: Any
) -> None:
    shared.set(per_second)
    went = 0
    for _ in range(36_000):
        clock.now += 0.1
        went += shared.take(3) + shared.take(500)
    assert per_second * 3600 * 0.99 <= went <= per_second * 3600 + max(1, per_second * 0.1)


def test_urgent_ones_run_ahead_and_the_others_wait_for_it(shared: SharedRate, clock: Clock) -> None:
    shared.set(10.0)
    assert shared.take(500) == 1
    assert shared.take(500, urgent=True) == 10
    clock.now += 0.9
    assert shared.take(500) == 0
    clock.now += 0.2
    assert shared.take(500) == 1


def test_what_did_not_go_is_given_back(shared: SharedRate) -> None:
    shared.set(100.0)
    assert shared.take(500) == 10
    shared.give_back(4)
    assert shared.take(500) == 4


def test_a_change_counts_at_once(shared: SharedRate) -> None:
    shared.set(1 / 3600)
    assert shared.take(1) == 1
    shared.set(50.0)
    assert shared.take(500) == 5


def test_children_share_it_and_one_that_is_killed_blocks_nobody() -> None:
    shared = SharedRate(lambda: 1000.0)
    shared.set(1000.0)
    children = []
    for _ in range(4):
        if not (child := os.fork()):
            with shared._lock():
                os._exit(0)  # dies with the lock in its hands
        children.append(child)
        if not (child := os.fork()):
            os._exit(sum(shared.take(1) for _ in range(50)))
        children.append(child)
    went = sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
    assert went == 100
    assert shared.take(1) == 0
