"""A beat with somebody else's scheduler runs nothing of ours, and says so."""

from pathlib import Path

import pytest

from tests.servers.processes import Processes


@pytest.mark.parametrize(
    "name", ["django_celery_beat.schedulers:DatabaseScheduler", "celery.beat:PersistentScheduler"]
)
def test_a_beat_by_another_scheduler_says_that_it_runs_no_jobs(
    processes: Processes, tmp_path: Path, name: str
) -> None:
    beat = processes.beat("--scheduler", name, "--schedule", str(tmp_path / "schedule"))
    beat.wait_for_output(f"This beat runs by {name.replace(':', '.')}: it runs no jobs")
    beat.wait_for_output('Set CELERY_BEAT_SCHEDULER = "scheduling.scheduler:Scheduler"')


def test_a_beat_by_ours_says_nothing_of_it(processes: Processes) -> None:
    beat = processes.beat(LOG_LEVEL="DEBUG")
    beat.wait_for_output("beat: Waking up")
    assert "This beat runs by" not in beat.output()
