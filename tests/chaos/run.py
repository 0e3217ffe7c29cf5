"""``make chaos``: real processes under random harm.

N=, MINUTES= and SEED= set its size, CHANCE= how often a process kills itself at a boundary,
and BROKER= is redis or rabbitmq.
"""

import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.outages import SECONDS
from tests.chaos.verdict import Verdict, judge
from tests.chaos.world import LEASE, World, wait_for

KINDS = (
    *("worker", "child", "pause", "scheduler", "flush", "broker", "postgres"),
    *("partition", "redis silent", "postgres silent", "table locked"),
    *("oom", "redis read-only", "postgres read-only", "disk full"),
)
OF_THE_BROKER = ("worker", "child", "pause", "scheduler", "flush", "broker", "partition")
OF_ALL_KINDS = 2 * (LEASE + 2) + 7 * SECONDS + 4  # seconds that one harm of each kind takes


def run(
    count: int,
    minutes: float,
    seed: int,
    chance: float,
    folder: Path,
    broker: str = "redis",
    kinds: Sequence[str] = KINDS,
) -> tuple[World, Verdict]:
    """Submit ``count`` notifications over ``minutes`` while things die, and judge the end.

    ``chance`` is that of a worker killing itself at each boundary of a delivery.
    """
    random.seed(seed)
    world = World(folder, chance=chance, broker=broker)
    accepted = folder / "accepted.log"
    seconds = minutes * 60
    try:
        world.submit(count, count / seconds, accepted)
        # Nearly two thirds of the time something is harmed, so that all of it meets work.
        times = max(1, round(seconds / OF_ALL_KINDS / 1.6))
        harm = list(kinds) * times
        random.shuffle(harm)
        pause = max(0.5, (seconds - times * OF_ALL_KINDS) / len(harm))
        for kind in harm:
            time.sleep(random.uniform(0.5, 1.5) * pause)
            world.tend()
            world.disturb(kind)
        if not wait_for(world.has_submitted, 600, world.tend):
            raise TimeoutError(f"Not all was submitted: {world.submitter.output()[-4000:]}")
        wait_for(world.is_settled, 120 + count / 50, world.tend)
        return world, judge(world, accepted)
    finally:
        world.close()


def main() -> None:
    count = int(os.environ.get("N") or 20_000)
    minutes = float(os.environ.get("MINUTES") or 10)
    seed = int(os.environ.get("SEED") or time.time())
    chance = float(os.environ.get("CHANCE") or 0.0005)
    broker = os.environ.get("BROKER") or "redis"
    with tempfile.TemporaryDirectory() as folder:
        world, verdict = run(count, minutes, seed, chance, Path(folder), broker)
        table = Table(title=f"{count} notifications, {minutes:g} minutes, seed {seed}, {broker}")
        table.add_column("figure")
        table.add_column("count", justify="right")
        for name, value in asdict(verdict).items():
            table.add_row(name.replace("_", " "), str(value))
        for kind, times in sorted((world.kills + world.trapped()).items()):
            table.add_row(f"killed: {kind}", str(times))
        for stage, times in sorted(world.raised().items()):
            table.add_row(f"raised: {stage}", str(times))
        Console().print(table)
    sys.exit(0 if verdict.holds else 1)


if __name__ == "__main__":
    main()
