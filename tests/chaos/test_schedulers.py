"""A short run; ``python -m tests.chaos.schedulers --minutes 10`` is the long one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import schedulers
from tests.chaos.schedulers import Chaos
from tests.servers.processes import Processes

STOPPED_SECONDS = 16.0
"""Longer than its transaction, its claimed fires, and its place among the living last."""


@pytest.mark.parametrize(
    "harm",
    [lambda chaos: chaos.play(25), lambda chaos: chaos.stop_one(STOPPED_SECONDS)],
    ids=["killed and stopped at random", "one stopped for long"],
)
def test_killed_and_stopped_schedulers_miss_and_double_nothing(
    processes: Processes, tmp_path: Path, harm: Callable[[Chaos], None]
) -> None:
    report = schedulers.run(processes, tmp_path / "runs", harm=harm, seed=4)
    assert report.expected > 0
    assert report.kills + report.stops > 0
    assert report.missed == []
    assert report.doubled == []
