"""Chains while workers and schedulers are killed: no run is lost, and one step alone is sent."""

import random
import time
from collections import defaultdict
from pathlib import Path

import psycopg
import pytest

from tests.chaos.world import World, wait_for
from tests.servers.processes import RunningProcess

RUNS = 40
HARM = 6

START = f"""
import time
import django; django.setup()
from notifications.chains import send_chain
for n in range({RUNS}):
    odd = "?error_rate=0.6" if n % 2 else ""
    send_chain(
        {{
            "stop_on": "sent",
            "steps": [
                {{"channel": "simulator", "recipient": f"a{{n}}{{odd}}", "body": "B", "wait": 2}},
                {{"channel": "simulator", "recipient": f"b{{n}}{{odd}}", "body": "B", "wait": 2}},
                {{"channel": "simulator", "recipient": f"c{{n}}", "body": "B"}},
            ],
        }},
        priority=("high", "medium", "low")[n % 3],
        retry={{"base": 1, "cap": 1, "max_attempts": 3}},
        idempotency_key=f"run-{{n}}",
    )
    time.sleep(0.2)
"""
STEPS = """SELECT r.id::text, n.chain_step, n.status, n.id::text
           FROM notifications_chainrun r JOIN notifications_notification n ON n.chain_run = r.id"""


class Chains(World):
    """A world whose submitter starts chains; started anew it says what it has said before."""

    def _submitter(self) -> RunningProcess:
        return self.processes.start(
            "submitter", "python", "-c", START, DJANGO_SETTINGS_MODULE="config.settings"
        )

    def _environment(self, folder: Path) -> dict[str, str]:
        return super()._environment(folder) | {"CHAOS_RAISE": "0"}


@pytest.mark.timeout(400)
def test_of_each_run_exactly_one_step_is_sent_whoever_dies(tmp_path: Path) -> None:
    world = Chains(tmp_path, chance=0.002)
    try:
        world.submit(0, 0, tmp_path / "unused")
        for _ in range(HARM):
            time.sleep(random.uniform(0.5, 2))
            world.tend()
            world.disturb(random.choice(["worker", "child", "child", "scheduler"]))
        assert wait_for(world.has_submitted, 120, world.tend), world.submitter.output()[-3000:]
        assert wait_for(world.is_settled, 180, world.tend)
        with psycopg.connect(world.postgres.url) as connection:
            steps = connection.execute(STEPS).fetchall()
        runs: dict[str, list[str]] = defaultdict(list)
        run_of: dict[str, str] = {}
        for run, _, status, id_ in steps:
            runs[run].append(status)
            run_of[id_] = run
        assert len(runs) == RUNS
        assert all(len(of_run) == 3 for of_run in runs.values())
        reached = {run for run, of_run in runs.items() if "sent" in of_run}
        assert [run for run in reached if runs[run].count("sent") != 1] == []
        # Where nobody was reached every step has been tried to its end.
        assert {status for run in runs.keys() - reached for status in runs[run]} <= {"failed"}
        arrived: dict[str, set[str]] = defaultdict(set)
        for id_ in world.simulated.read_text().split():
            arrived[run_of[id_]].add(id_)
        assert reached <= arrived.keys()
        # By two steps it came only where nobody knew any more what became of the first.
        lost = {run_of[id_] for id_ in world.lost_with_a_process() if id_ in run_of}
        assert {run for run, ids in arrived.items() if len(ids) > 1} <= lost
        assert sum(world.kills.values()) == HARM
    finally:
        world.close()
