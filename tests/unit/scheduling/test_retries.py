"""The retry strategies' decisions as tables."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from scheduling import jobs, retries


class ProviderError(ConnectionError):
    pass


def waits(
    policy: dict[str, Any] | None,
    attempts: int = 4,
    error: BaseException | None = None,
    **given: Any,
) -> list[float | None]:
    found = [
        retries.wait_after(
            attempt, error or ValueError(), policy=policy, **{"retries": 9, "backoff": 10, **given}
        )
        for attempt in range(1, attempts + 1)
    ]
    return [None if wait is None else wait.total_seconds() for wait in found]


@pytest.mark.parametrize(
    ("policy", "seconds"),
    [
        (None, [10, 20, 40, 80]),
        ({}, [10, 20, 40, 80]),
        ({"strategy": "exponential", "wait": 1, "longest": 3}, [1, 2, 3, 3]),
        ({"strategy": "fixed", "wait": 7}, [7, 7, 7, 7]),
        ({"strategy": "fixed"}, [10, 10, 10, 10]),
        ({"strategy": "linear", "wait": 5}, [5, 10, 15, 20]),
        ({"strategy": "waits", "waits": [1, 9]}, [1, 9, 9, 9]),
        ({"strategy": "never"}, [None, None, None, None]),
    ],
)
def test_the_wait_of_each_strategy(policy: dict[str, Any] | None, seconds: list[Any]) -> None:
    assert waits(policy) == seconds


def test_no_run_is_tried_more_often_than_retries_say() -> None:
    assert waits(None, retries=2) == [10, 20, None, None]
    assert waits({"strategy": "fixed"}, retries=0) == [None] * 4


def test_a_wait_is_an_hour_at_most_unless_the_policy_says_otherwise() -> None:
    assert retries.wait_after(40, ValueError(), retries=99, backoff=10) == timedelta(hours=1)
    policy = {"strategy": "fixed", "wait": 9000, "longest": 86400}
    assert waits(policy, 1) == [9000]


@pytest.mark.parametrize(("share", "seconds"), [(0.0, [5, 10, 20, 40]), (0.5, [7.5, 15, 30, 60])])
def test_jitter_spreads_over_the_second_half_of_the_wait(
    share: float, seconds: list[float]
) -> None:
    assert waits({"strategy": "jitter"}, share=share) == seconds


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (ProviderError(), [1, 1]),  # by the nearest class that it derives from
        (ConnectionResetError(), [1, 1]),
        (OSError(), [60, 120]),
        (KeyError(), [None, None]),
        (ValueError(), [10, 20]),
    ],
)
def test_a_strategy_by_the_errors_class(error: Exception, seconds: list[Any]) -> None:
    policy = {
        "strategy": "linear",
        "errors": {
            "ConnectionError": {"strategy": "fixed", "wait": 1},
            "builtins.OSError": {"wait": 60},
            "LookupError": {"strategy": "never"},
        },
    }
    assert waits(policy, 2, error) == seconds


@pytest.fixture
def mine() -> Iterator[None]:
    @jobs.retry_strategy("mine")
    def give_up_after_a_minute(
        attempt: int, error: BaseException, elapsed: float
    ) -> timedelta | None:
        return timedelta(seconds=attempt) if elapsed < 60 else None

    yield
    del retries._own["mine"]


def test_a_strategy_of_ones_own_by_name(mine: None) -> None:
    assert waits({"strategy": "mine"}, 2) == [1, 2]
    assert waits({"strategy": "mine"}, 1, elapsed=61) == [None]


def test_a_strategy_that_is_not_there_is_named() -> None:
    with pytest.raises(retries.UnknownStrategy, match="lost"):
        waits({"strategy": "lost"})
    with pytest.raises(ValueError, match="fixed"):
        jobs.retry_strategy("fixed")
