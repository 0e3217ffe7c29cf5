"""The promises under harm: a short run of what ``make chaos`` runs for long."""

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.run import KINDS, run
from tests.servers.rabbitmq import MISSING, rabbitmq_script

RABBITMQ = pytest.param(
    "rabbitmq", marks=pytest.mark.skipif(rabbitmq_script() is None, reason=MISSING)
)


@pytest.mark.parametrize("broker", ["redis", RABBITMQ])
def test_nothing_is_lost_stuck_or_doubled_beyond_what_was_in_flight(
    tmp_path: Path, broker: Any
) -> None:
    world, verdict = run(
        count=600, minutes=1, seed=1, chance=0.0005, folder=tmp_path, broker=broker
    )
    assert verdict.accepted == 600
    assert verdict.holds, verdict
    assert all(world.kills[kind] for kind in KINDS)
    assert world.raised()
