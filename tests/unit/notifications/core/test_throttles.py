"""Places in the periods of a throttle: a table."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from notifications.core.throttles import Duration, LocalDay, Use, take, until

NOW = datetime(2026, 12, 24, 12, tzinfo=UTC)
DAY = Duration(86_400)
VIENNA = LocalDay(ZoneInfo("Europe/Vienna"))


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


def test_a_day_of_the_calendar_ends_at_midnight_where_the_recipient_is() -> None:
    late = datetime(2026, 12, 24, 22, 30, tzinfo=UTC)  # half past eleven in Vienna
    midnight = datetime(2026, 12, 24, 23, tzinfo=UTC)
    use, places = take(Use(late, 0), late, 7, limit=3, period=VIENNA, rest="wait")
    dues = [place.due_at for place in places]
    assert dues == [None] * 3 + [midnight] * 3 + [midnight + timedelta(days=1)]
    assert until(use, limit=3, period=VIENNA) == midnight + timedelta(days=2)
    after, (place,) = take(use, midnight, 1, limit=3, period=VIENNA, rest="wait")
    assert (after, place.due_at) == (Use(midnight, 5), midnight + timedelta(days=1))


def test_a_day_of_the_calendar_is_as_long_as_the_clock_makes_it() -> None:
    spring = datetime(2026, 3, 28, 23, tzinfo=UTC)  # midnight; the day has 23 hours
    _, places = take(Use(spring, 0), spring, 2, limit=1, period=VIENNA, rest="wait")
    assert places[1].due_at == spring + timedelta(hours=23)
    gap = LocalDay(ZoneInfo("Africa/Cairo"))  # where the clock skips midnight
    before = datetime(2026, 4, 23, 12, tzinfo=UTC)
    _, places = take(Use(before, 0), before, 2, limit=1, period=gap, rest="wait")
    assert places[1].due_at == datetime(2026, 4, 23, 22, tzinfo=UTC)
