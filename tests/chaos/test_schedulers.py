"""A short run; ``python -m tests.chaos.schedulers --minutes 10`` is the long one."""

from pathlib import Path

import pytest

from tests.chaos import schedulers
from tests.servers.processes import Processes


@pytest.mark.timeout(240)
def test_killed_and_stopped_schedulers_miss_and_double_nothing(
    processes: Processes, tmp_path: Path
) -> None:
    report = schedulers.run(processes, tmp_path / "runs", seconds=25, seed=4)
    assert report.expected > 0
    assert report.kills + report.stops > 0
    assert report.missed == []
    assert report.doubled == []
