"""The promises under harm: a short run of what ``make chaos`` runs for long."""

from pathlib import Path

import pytest

from tests.chaos.run import KINDS, OF_THE_BROKER, run
from tests.servers.rabbitmq import MISSING, rabbitmq_script
from tests.thorough import THOROUGH

# What a broker has no part in is tried with one.
RABBITMQ = pytest.param(
    *(("rabbitmq", 600, 1, KINDS) if THOROUGH else ("rabbitmq", 400, 0.5, OF_THE_BROKER)),
    marks=pytest.mark.skipif(rabbitmq_script() is None, reason=MISSING),
)


@pytest.mark.parametrize(
    ("broker", "count", "minutes", "kinds"), [("redis", 600, 1, KINDS), RABBITMQ]
)
def test_nothing_is_lost_stuck_or_doubled_beyond_what_was_in_flight(
    tmp_path: Path, broker: str, count: int, minutes: float, kinds: tuple[str, ...]
) -> None:
    world, verdict = run(
        count, minutes, seed=1, chance=0.0005, folder=tmp_path, broker=broker, kinds=kinds
    )
    assert verdict.accepted == count
    assert verdict.holds, verdict
    assert all(world.kills[kind] for kind in kinds)
    assert world.raised()
