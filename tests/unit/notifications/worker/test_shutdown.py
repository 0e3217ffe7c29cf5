"""For how long a worker that is told to stop goes on."""

import pytest

from notifications.worker.shutdown import grace


@pytest.mark.parametrize(
    ("jobs_left", "seconds"),
    [
        ([], 25),
        ([3], 25),
        ([40], 40),
        ([40, 3, 70], 70),
        ([600], 120),
        ([None], 120),
        ([40, None], 120),
        ([-1], 25),
    ],
)
def test_a_worker_waits_for_each_job_until_its_timeout(
    jobs_left: list[float | None], seconds: float
) -> None:
    assert grace(jobs_left, floor=25, cap=120) == seconds


def test_the_floor_holds_where_the_cap_is_below_it() -> None:
    assert grace([None, 10], floor=25, cap=5) == 25
