"""Places in the periods of a throttle: a table."""

from datetime import UTC, datetime, timedelta

import pytest

from notifications.core.throttles import Use, take, until

NOW = datetime(2026, 12, 24, 12, tzinfo=UTC)
DAY = 86_400


def at(days: float) -> datetime:
    return NOW + timedelta(days=days)


@pytest.mark.parametrize(
    ("use", "count", "rest", "dues", "after"),
    [
        (Use(NOW, 0), 2, "wait", [None, None], Use(NOW, 2)),
        # The fourth and later ones have places in the days that follow, three in each.
        (Use(NOW, 0), 8, "wait", [None] * 3 + [at(1)] * 3 + [at(2)] * 2, Use(NOW, 8)),
        (Use(at(-0.5), 3), 1, "wait", [at(0.5)], Use(at(-0.5), 4)),
        # Yesterday's are past; those that wait since then have today's places.
        (Use(at(-1.5), 3), 1, "wait", [None], Use(NOW, 1)),
        (Use(at(-1.5), 5), 2, "wait", [None, at(0.5)], Use(at(-0.5), 4)),
        (Use(at(-9), 5), 1, "wait", [None], Use(NOW, 1)),
        (Use(at(-0.5), 2), 3, "drop", [None, at(0.5), at(0.5)], Use(at(-0.5), 3)),
        (Use(at(-0.5), 3), 2, "digest", [at(0.5), at(0.5)], Use(at(-0.5), 3)),
    ],
)
def test_each_period_has_its_places(
    use: Use, count: int, rest: str, dues: list[datetime | None], after: Use
) -> None:
    left, places = take(use, NOW, count, limit=3, period=DAY, rest=rest)
    assert [place.due_at for place in places] == dues
    assert [place.is_free for place in places] == [due is None for due in dues]
    assert left == after


def test_a_use_is_past_with_its_last_place() -> None:
    assert until(Use(NOW, 3), limit=3, period=DAY) == at(1)
    assert until(Use(NOW, 4), limit=3, period=DAY) == at(2)
