"""How much a scheduler takes at once."""

from scheduling.pace import LEAST, MOST, SLOW, Pace


def test_a_claim_is_halved_by_a_slow_round_and_doubled_by_a_fast_one() -> None:
    pace = Pace()
    limits = []
    for seconds in (2 * SLOW, 2 * SLOW, 0.75 * SLOW, 0.0, 0.0, 0.0):
        pace.took(seconds)
        limits.append(pace.limit)
    assert limits == [125, 62, 62, 124, 248, MOST]
    for _ in range(20):
        pace.took(2 * SLOW)
    assert pace.limit == LEAST
