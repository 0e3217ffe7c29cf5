"""A short run of all harms; ``python -m tests.chaos.schedulers --minutes 10`` is the long one."""

from pathlib import Path

from tests.chaos import schedulers
from tests.servers.processes import Processes
from tests.servers.redis import RedisServer
from tests.thorough import THOROUGH

STOPPED_SECONDS = 16.0
"""Longer than its transaction, its claimed fires, and its place among the living last."""
HARMS = ("clock", "kill", "rows", "read-only", "worker", "redis", "clock")
"""The clock jumps a minute ahead first, and a minute back last. One scheduler is stopped meanwhile.
"""

# Each has a minute to catch up with at once, and each run of it costs.
SCHEDULES, SLOWER = (schedulers.SCHEDULES, 1) if THOROUGH else (3, 2)


def test_harmed_schedulers_miss_and_double_nothing(
    processes: Processes, redis_server: RedisServer, tmp_path: Path
) -> None:
    processes.env["BROKER_URL"] = redis_server.url  # of its own: it will be full

    def harm(chaos: schedulers.Chaos) -> None:
        chaos.do_each(HARMS, STOPPED_SECONDS)

    report = schedulers.run(
        processes, tmp_path / "runs", harm=harm, seed=4, schedules=SCHEDULES, slower=SLOWER
    )
    assert report.expected > 0
    assert set(report.harms) == set(schedulers.HARMS)
    assert report.missed == []
    assert report.doubled == []
    assert report.broken
    assert report.unseen == []
