"""Places in the periods of throttles: a table."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from notifications.core.throttles import Duration, LocalDay, Period, Place, Terms, Use, take, until

NOW = datetime(2026, 12, 24, 12, tzinfo=UTC)
DAY = Duration(86_400)
VIENNA = LocalDay(ZoneInfo("Europe/Vienna"))


def at(days: float) -> datetime:
    return NOW + timedelta(days=days)


def of_one(
    use: Use, now: datetime, count: int, *, limit: int, period: Period, rest: str
) -> tuple[Use, list[Place]]:
    """Count so many notifications under one throttle."""
    places = []
    for _ in range(count):
        (use,), place = take([use], now, [Terms(limit, period, rest)])
        places.append(place)
    return use, places


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
    left, places = of_one(use, NOW, count, limit=3, period=DAY, rest=rest)
    assert [place.due_at for place in places] == dues
    assert [place.held_by for place in places] == [None if due is None else 0 for due in dues]
    assert left == after


def test_a_use_is_past_with_its_last_place() -> None:
    assert until(Use(NOW, 3), limit=3, period=DAY) == at(1)
    assert until(Use(NOW, 4), limit=3, period=DAY) == at(2)


def test_a_day_of_the_calendar_ends_at_midnight_where_the_recipient_is() -> None:
    late = datetime(2026, 12, 24, 22, 30, tzinfo=UTC)  # half past eleven in Vienna
    midnight = datetime(2026, 12, 24, 23, tzinfo=UTC)
    use, places = of_one(Use(late, 0), late, 7, limit=3, period=VIENNA, rest="wait")
    dues = [place.due_at for place in places]
    assert dues == [None] * 3 + [midnight] * 3 + [midnight + timedelta(days=1)]
    assert until(use, limit=3, period=VIENNA) == midnight + timedelta(days=2)
    after, (place,) = of_one(use, midnight, 1, limit=3, period=VIENNA, rest="wait")
    assert (after, place.due_at) == (Use(midnight, 5), midnight + timedelta(days=1))


def test_a_day_of_the_calendar_is_as_long_as_the_clock_makes_it() -> None:
    spring = datetime(2026, 3, 28, 23, tzinfo=UTC)  # midnight; the day has 23 hours
    _, places = of_one(Use(spring, 0), spring, 2, limit=1, period=VIENNA, rest="wait")
    assert places[1].due_at == spring + timedelta(hours=23)
    gap = LocalDay(ZoneInfo("Africa/Cairo"))  # where the clock skips midnight
    before = datetime(2026, 4, 23, 12, tzinfo=UTC)
    _, places = of_one(Use(before, 0), before, 2, limit=1, period=gap, rest="wait")
    assert places[1].due_at == datetime(2026, 4, 23, 22, tzinfo=UTC)


HOUR = timedelta(hours=1)
ONE_AN_HOUR = Terms(1, Duration(3600), "wait")
THREE_A_DAY = Terms(3, DAY, "wait")


def test_a_message_has_a_place_in_the_periods_of_all() -> None:
    uses, places = [Use(NOW, 0), Use(NOW, 0)], []
    for _ in range(7):
        uses, place = take(uses, NOW, [ONE_AN_HOUR, THREE_A_DAY])
        places.append(place)
    dues = [None, NOW + HOUR, NOW + 2 * HOUR, at(1), at(1) + HOUR, at(1) + 2 * HOUR, at(2)]
    assert [place.due_at for place in places] == dues
    assert [place.held_by for place in places] == [None, 0, 0, 1, 1, 1, 1]
    # What waits has its place in the day in which it goes.
    assert uses[1] == Use(NOW, 7)
    assert take(uses, at(1) + 5 * HOUR, [ONE_AN_HOUR, THREE_A_DAY])[1].due_at == at(2) + HOUR


@pytest.mark.parametrize(
    ("limits", "count", "names"),
    [
        # The day is full, and the places of its hours are passed over.
        ((2, 3), 5, [None, None, "hour", "day", "day"]),
        # The hours of a day are full, and the places of the day are passed over.
        ((2, 100), 51, [None] * 2 + ["hour"] * 49),
    ],
)
def test_a_message_is_held_by_the_throttle_that_holds_it_longest(
    limits: tuple[int, int], count: int, names: list[str | None]
) -> None:
    terms = [Terms(limits[0], Duration(3600), "wait"), Terms(limits[1], DAY, "wait")]
    uses, held = [Use(NOW, 0), Use(NOW, 0)], []
    for _ in range(count):
        uses, place = take(uses, NOW, terms)
        held.append(None if place.held_by is None else ("hour", "day")[place.held_by])
    assert held == names


def test_what_was_passed_over_is_past_with_its_period() -> None:
    uses, terms = [Use(NOW, 0), Use(NOW, 0)], [ONE_AN_HOUR, THREE_A_DAY]
    for _ in range(4):
        uses, _ = take(uses, NOW, terms)
    assert uses == [Use(NOW, 25, passed=24), Use(NOW, 4)]
    uses, place = take(uses, at(1), terms)
    assert uses == [Use(at(1), 2), Use(at(1), 2)]
    assert place == Place(at(1) + HOUR, 0)


@pytest.mark.parametrize("rest", ["drop", "digest"])
def test_what_another_throttle_moves_is_counted_where_it_goes(rest: str) -> None:
    late = datetime(2026, 12, 24, 22, 30, tzinfo=UTC)  # half past eleven in Vienna
    terms = [ONE_AN_HOUR, Terms(2, VIENNA, rest)]
    uses, dues = [Use(late, 0), Use(late, 0)], []
    for _ in range(4):
        uses, place = take(uses, late, terms)
        dues.append((place.due_at, place.held_by))
    # Two of the next day, and the fourth has no place in it.
    assert dues[:3] == [(None, None), (late + HOUR, 0), (late + 2 * HOUR, 0)]
    assert dues[3] == (datetime(2026, 12, 25, 23, tzinfo=UTC), 1)
    assert uses[0].used == 3  # it is counted by none
