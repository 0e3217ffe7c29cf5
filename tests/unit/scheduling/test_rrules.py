"""Rules by RFC 5545: which times are due, and what ends them."""

from datetime import UTC, datetime
from itertools import islice

import pytest
from dateutil.rrule import rrulestr

from scheduling.occurrences import Occurrences
from scheduling.recurrence import ImpossibleSchedule
from tests.unit.scheduling.due_times import BERLIN, START, at, due


def test_an_rrule_is_read_in_its_zone() -> None:
    rule = {"rrule": "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9;BYMINUTE=0", "timezone": "Europe/Berlin"}
    found = due(rule, 4)
    assert [f"{moment.astimezone(BERLIN):%m-%d %H:%M %a}" for moment in found] == [
        "01-30 09:00 Fri",
        "02-27 09:00 Fri",
        "03-27 09:00 Fri",
        "04-24 09:00 Fri",
    ]
    counted = due({"rrule": "FREQ=DAILY;COUNT=3", "from": "2026-02-01T10:00:00+00:00"})
    assert [moment.day for moment in counted] == [1, 2, 3]


def test_an_rrule_is_due_at_its_begin_in_whole_seconds() -> None:
    rule = {"rrule": "FREQ=DAILY;COUNT=1", "from": "2026-02-01T10:00:07.9+00:00"}
    assert due(rule) == [datetime(2026, 2, 1, 10, 0, 7, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("zone", "text", "start", "expected"),
    [
        # The last due time is the moment of UNTIL itself, or the one before.
        (
            "Europe/Berlin",
            "FREQ=DAILY;BYHOUR=9;UNTIL=20270201T080000Z",
            "2027-01-31",
            ["31T08", "01T08"],
        ),
        ("Europe/Berlin", "freq=daily;byhour=9;until=20270201t075959z", "2027-01-31", ["31T08"]),
        (
            "UTC",
            "RRULE:UNTIL=20270201T080000Z;FREQ=DAILY;BYHOUR=8",
            "2027-01-31",
            ["31T08", "01T08"],
        ),
        ("Asia/Tokyo", "FREQ=DAILY;BYHOUR=9;UNTIL=20270201T000000Z", "2027-01-31", ["01T00"]),
        ("Etc/GMT-14", "FREQ=DAILY;BYHOUR=9;UNTIL=20270130T190000Z", "2027-01-30", ["30T19"]),
        ("Etc/GMT+12", "FREQ=DAILY;BYHOUR=9;UNTIL=20270130T210000Z", "2027-01-30", ["30T21"]),
        (
            "UTC",
            "FREQ=DAILY;BYHOUR=8;UNTIL=20270201T090000+0100",
            "2027-01-31",
            ["31T08", "01T08"],
        ),
        # Without a zone it is a local time.
        ("Asia/Tokyo", "FREQ=DAILY;BYHOUR=9;UNTIL=20270201T090000", "2027-01-31", ["01T00"]),
        # The clock shows 02:45 twice on 31 October 2027, and UNTIL is between the two.
        (
            "Europe/Berlin",
            "FREQ=DAILY;BYHOUR=2;BYMINUTE=45;UNTIL=20271031T011500Z",
            "2027-10-31",
            ["31T00"],
        ),
        (
            "Europe/Berlin",
            "FREQ=HOURLY;BYMINUTE=45;UNTIL=20271031T011500Z",
            "2027-10-31",
            ["31T00"],
        ),
        (
            "Europe/Berlin",
            "FREQ=HOURLY;BYMINUTE=45;UNTIL=20271031T014500Z",
            "2027-10-31",
            ["31T00", "31T01"],
        ),
        # It skips 02:30 on 28 March 2027, which is due at 03:00, 01:00 in UTC.
        (
            "Europe/Berlin",
            "FREQ=DAILY;BYHOUR=2;BYMINUTE=30;UNTIL=20270328T010000Z",
            "2027-03-28",
            ["28T01"],
        ),
        (
            "Europe/Berlin",
            "FREQ=DAILY;BYHOUR=2;BYMINUTE=30;UNTIL=20270328T005900Z",
            "2027-03-28",
            [],
        ),
    ],
)
def test_until_in_utc_is_a_moment_and_the_last_that_may_be_due(
    zone: str, text: str, start: str, expected: list[str]
) -> None:
    rule = {"rrule": text, "timezone": zone, "from": "2026-11-01T00:00:00+00:00"}
    assert [f"{moment:%dT%H}" for moment in due(rule, 5, at(start))] == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "America/New_York"])
@pytest.mark.parametrize("until", ["99991231T235959Z", "99991231", "99991231T235959"])
def test_until_the_last_day_of_the_calendar_is_taken(zone: str, until: str) -> None:
    rule = {"rrule": f"FREQ=DAILY;UNTIL={until}", "timezone": zone}
    assert due(rule, 2) == [START.replace(day=day, second=0) for day in (2, 3)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FREQ=DAILY", ["31T01:30", "01T01:30"]),
        ("FREQ=DAILY;COUNT=1", ["31T01:30"]),
        ("FREQ=HOURLY", ["31T01:30", "31T02:30"]),
        ("FREQ=MINUTELY;INTERVAL=15", ["31T01:30", "31T01:45", "31T02:00"]),
        ("FREQ=DAILY;BYHOUR=2;BYMINUTE=15,45", ["31T01:45", "01T01:15"]),
    ],
)
@pytest.mark.parametrize("asked", ["2027-10-30T12:00", "2027-10-31T00:45", "2027-10-31T01:29"])
def test_nothing_is_due_before_a_begin_in_the_second_of_two_equal_hours(
    text: str, expected: list[str], asked: str
) -> None:
    # 02:30 in Berlin, the second time round.
    rule = {"rrule": text, "timezone": "Europe/Berlin", "from": "2027-10-31T01:30:00+00:00"}
    found = due(rule, len(expected), at(asked))
    assert [f"{moment:%dT%H:%M}" for moment in found] == expected


@pytest.mark.parametrize(
    "text",
    [
        *("FREQ=NEVER", "nonsense", "FREQ=SECONDLY", "DTSTART:20260101T000000\nRRULE:FREQ=DAILY"),
        *("FREQ=DAILY;INTERVAL=0", "RRULE:INTERVAL=-1;FREQ=DAILY", "FREQ=DAILY;COUNT=1000000"),
        "FREQ=MINUTELY;BYSECOND=0,30",
        # Never due, or not within the steps of a search.
        "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MINUTELY;BYSETPOS=2",
        "FREQ=HOURLY;INTERVAL=24;BYHOUR=13",
    ],
)
def test_an_rrule_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(ImpossibleSchedule):
        due({"rrule": text, "from": "2026-02-01T10:00:00+00:00"})


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=MINUTELY;INTERVAL=7",
        "FREQ=HOURLY;INTERVAL=5;BYDAY=MO,TU",
        "FREQ=DAILY;INTERVAL=3;BYHOUR=6,18",
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU",
        "FREQ=MONTHLY;INTERVAL=5;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
        "FREQ=YEARLY;INTERVAL=2;BYMONTH=2,11",
        "FREQ=WEEKLY;COUNT=200",
    ],
)
@pytest.mark.parametrize("begin", [datetime(2020, 2, 28, 5), datetime(2020, 1, 31)])  # noqa: DTZ001 -- local times
def test_an_rrule_that_began_long_ago_is_due_when_dateutil_says(text: str, begin: datetime) -> None:
    start = datetime(2023, 10, 4, 7)  # noqa: DTZ001 -- a local time
    expected = list(islice(rrulestr(text, dtstart=begin).xafter(start, inc=True), 5))
    assert list(islice(Occurrences(text, begin).since(start), 5)) == expected
