"""The rules for a zone's clock changes, against an oracle that only reads the clock.

The oracle walks through a day's real minutes and notes what the clock shows; it knows nothing of
folds and gaps.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import crontab

from scheduling.recurrence import Crontab
from tests.thorough import THOROUGH

ZONES = (
    "America/New_York",
    "America/St_Johns",  # half an hour off
    "America/Havana",  # changes at midnight
    "America/Santiago",  # southern, changes at midnight
    "Europe/Berlin",
    "Europe/London",
    "Atlantic/Azores",  # goes back over midnight
    "Africa/Cairo",  # changes at midnight
    "Asia/Beirut",  # changes at midnight
    "Australia/Sydney",  # southern
    "Australia/Adelaide",  # southern, half an hour off
    "Australia/Lord_Howe",  # changes by half an hour
    "Pacific/Auckland",  # southern
    "Pacific/Chatham",  # southern, 45 minutes off
    "Antarctica/Troll",  # changes by two hours
)
YEARS = range(2024, 2041 if THOROUGH else 2031)

DAILY = tuple(f"{minute} {hour} * * *" for hour in (0, 1, 2, 3, 23) for minute in (0, 15, 30, 45))
SEVERAL_A_DAY = ("*/20 2 * * *", "30 1,2,3 * * *", "0 */2 * * *", "10 0-12 * * *")
HOURLY = ("0 * * * *", "30 * * * *", "*/20 * * * *", "5,50 * * * *")


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("line", [*DAILY, *SEVERAL_A_DAY, *HOURLY])
def test_a_rule_is_due_as_the_clock_shows_on_each_day_of_change(zone: str, line: str) -> None:
    rule = Crontab.from_celery(crontab.from_string(line), ZoneInfo(zone))
    for day in days_of_change(zone):
        start, end = whole_day(day, ZoneInfo(zone))
        assert due_between(rule, start, end) == oracle(rule, start, end), f"{zone} {day} {line}"


ODD_ZONES = {
    "Africa/Casablanca": range(2024, 2031),  # an hour back for Ramadan, by the moon
    "Asia/Tehran": range(2015, 2024),  # changed at midnight, half an hour off, until 2022
    "Australia/Lord_Howe": range(2024, 2028),
    "America/Caracas": range(2007, 2017),  # changed its offset by half an hour, twice
}


@pytest.mark.parametrize("zone", ODD_ZONES)
def test_rules_are_due_as_the_clock_shows_in_zones_with_odd_rules(zone: str) -> None:
    days = days_of_change(zone, ODD_ZONES[zone])
    assert len(days) >= 2
    for line in (*DAILY[:12], *SEVERAL_A_DAY, *HOURLY):
        rule = Crontab.from_celery(crontab.from_string(line), ZoneInfo(zone))
        for day in days:
            start, end = whole_day(day, ZoneInfo(zone))
            assert due_between(rule, start, end) == oracle(rule, start, end), f"{day} {line}"


@pytest.mark.parametrize("zone", [*ODD_ZONES, "Pacific/Chatham", "UTC"])
def test_a_rule_for_the_leap_day_is_due_on_it_and_in_no_other_year(zone: str) -> None:
    rule = Crontab.from_celery(crontab.from_string("30 2 29 2 *"), ZoneInfo(zone))
    due = due_between(
        rule, datetime(2021, 1, 1, tzinfo=UTC), datetime(2033, 1, 1, tzinfo=UTC)
    ) + due_between(rule, datetime(2097, 1, 1, tzinfo=UTC), datetime(2106, 1, 1, tzinfo=UTC))
    shown = [moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for moment in due]
    assert shown == [datetime(year, 2, 29, 2, 30) for year in (2024, 2028, 2032, 2104)]  # noqa: DTZ001 -- a local time without a zone is meant


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/Havana"])
def test_a_rule_for_every_minute_is_due_in_every_real_minute(zone: str) -> None:
    rule = Crontab.from_celery(crontab(), ZoneInfo(zone))
    for day in [day for day in days_of_change(zone) if day.year == 2026]:
        start, end = whole_day(day, ZoneInfo(zone))
        minutes = (end - start) // timedelta(minutes=1)
        assert due_between(rule, start, end) == [
            start + timedelta(minutes=number) for number in range(1, minutes + 1)
        ]


@pytest.mark.slow
def test_each_zone_changes_its_clock_twice_in_nearly_every_year() -> None:
    for zone in ZONES:
        assert len(days_of_change(zone)) >= 2 * len(YEARS) - 2, zone


@pytest.mark.parametrize(
    ("zone", "line", "day", "expected"),
    [
        ("Europe/Berlin", "30 2 * * *", date(2026, 3, 29), ["03:00+02:00"]),
        ("Europe/Berlin", "30 2 * * *", date(2026, 10, 25), ["02:30+02:00"]),
        ("Europe/Berlin", "0,30 2 * * *", date(2026, 3, 29), ["03:00+02:00"]),
        ("Australia/Lord_Howe", "15 2 * * *", date(2026, 10, 4), ["02:30+11:00"]),
        ("Pacific/Chatham", "0 3 * * *", date(2026, 9, 27), ["03:45+13:45"]),
        ("America/Havana", "0 0 * * *", date(2026, 3, 8), ["01:00-04:00"]),
    ],
)
def test_well_known_cases(zone: str, line: str, day: date, expected: list[str]) -> None:
    rule = Crontab.from_celery(crontab.from_string(line), ZoneInfo(zone))
    start, end = whole_day(day, ZoneInfo(zone))
    moments = [moment.astimezone(ZoneInfo(zone)) for moment in due_between(rule, start, end)]
    local = [moment.isoformat("T", "minutes") for moment in moments if moment.date() == day]
    assert [text.partition("T")[2] for text in local] == expected


@pytest.mark.parametrize(("day", "count"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25)])
def test_an_hourly_rule_runs_as_often_as_the_day_has_hours(day: date, count: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    rule = Crontab.from_celery(crontab.from_string("0 * * * *"), zone)
    start, end = whole_day(day, zone)
    local_day = [m for m in due_between(rule, start, end) if m.astimezone(zone).date() == day]
    assert len(local_day) == count


def due_between(rule: Crontab, start: datetime, end: datetime) -> list[datetime]:
    due = []
    moment = rule.after(start)
    while moment is not None and moment <= end:
        due.append(moment)
        moment = rule.after(moment)
    return due


@cache
def days_of_change(zone: str, years: range = YEARS) -> tuple[date, ...]:
    """Find the local days on which the offset from UTC changes."""
    found = []
    moment = datetime(years[0], 1, 1, 12, tzinfo=UTC)
    while moment.year in years:
        following = moment + timedelta(hours=6)
        zoned, later = moment.astimezone(ZoneInfo(zone)), following.astimezone(ZoneInfo(zone))
        if zoned.utcoffset() != later.utcoffset():
            found += [zoned.date(), later.date()]
        moment = following
    return tuple(dict.fromkeys(found))


def whole_day(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the span in which a local day surely lies, with an hour to spare on each side."""
    middle = datetime.combine(day, time(12), tzinfo=zone).astimezone(UTC)
    return middle - timedelta(hours=15), middle + timedelta(hours=15)


def oracle(rule: Crontab, start: datetime, end: datetime) -> list[datetime]:
    shown = clock_of_the_day(str(rule.zone), start, end)
    due: set[datetime] = set()
    for local in local_times(rule, min(shown), max(shown)):
        if local not in shown:  # skipped: right after the gap
            due.add(min(shown[after][0] for after in shown if after > local))
        elif len(rule.hours) == 24:
            due.update(shown[local])
        else:
            due.add(shown[local][0])
    return sorted(moment for moment in due if start < moment <= end)


@cache
def clock_of_the_day(
    zone: str, start: datetime, end: datetime
) -> dict[datetime, tuple[datetime, ...]]:
    """Return the real minutes at which the clock shows each local time."""
    shown: dict[datetime, tuple[datetime, ...]] = {}
    moment = start - timedelta(hours=4)
    while moment <= end:
        local = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        shown[local] = (*shown.get(local, ()), moment)
        moment += timedelta(minutes=1)
    return shown


def local_times(rule: Crontab, first: datetime, last: datetime) -> Iterator[datetime]:
    for day in range((last.date() - first.date()).days + 1):
        for hour, minute in product(rule.hours, rule.minutes):
            local = datetime.combine(first.date() + timedelta(days=day), time(hour, minute))
            if first <= local <= last:
                yield local
