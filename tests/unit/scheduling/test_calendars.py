"""Holidays of one's own, in files of iCalendar."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from django.conf import settings

from scheduling import calendar_moves, calendars
from scheduling.recurrence import ImpossibleSchedule, upcoming
from scheduling.rule_documents import recurrence_of
from scheduling.timetable import Timetable

START = datetime(2026, 1, 1, tzinfo=UTC)
COMPANY = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:test
BEGIN:VEVENT
UID:1
DTSTART;VALUE=DATE:20260103
DTEND;VALUE=DATE:20260105
SUMMARY:Inventory
END:VEVENT
BEGIN:VEVENT
UID:2
DTSTART;VALUE=DATE:20200108
RRULE:FREQ=YEARLY
SUMMARY:Founders' day
END:VEVENT
END:VCALENDAR
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "SCHEDULING_CALENDARS", str(tmp_path))
    (tmp_path / "company.ics").write_text(COMPANY.replace("\n", "\r\n"))
    return tmp_path


def days(count: int, **rule: str) -> list[int]:
    found = recurrence_of({"cron": "0 9 * * *", "calendar": "company", **rule}, START)
    return [moment.day for moment in upcoming(found, START, count)]


@pytest.mark.parametrize(
    ("roll", "expected"),
    [
        ("skip", [1, 2, 5, 6, 7, 9]),
        ("next", [1, 2, 5, 6, 7, 9]),
        ("previous", [1, 2, 5, 6, 7, 9]),
    ],
)
def test_the_days_of_a_file_are_holidays_once_or_each_year(
    folder: Path, roll: str, expected: list[int]
) -> None:
    assert days(6, on_holiday=roll) == expected


def test_a_changed_file_counts_at_once(folder: Path) -> None:
    assert days(3) == [1, 2, 5]
    (folder / "company.ics").write_text(COMPANY.replace("20260103", "20260104"))
    assert days(3) == [1, 2, 3]


def test_a_file_that_is_missing_or_no_calendar_is_named(folder: Path) -> None:
    (folder / "broken.ics").write_text("no calendar")
    (folder / "endless.ics").write_text(COMPANY.replace("FREQ=YEARLY", "FREQ=DAILY;INTERVAL=0"))
    (folder / "barren.ics").write_text(
        COMPANY.replace("FREQ=YEARLY", "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30")
    )
    for name in ("missing", "broken", "endless", "barren"):
        with pytest.raises(ImpossibleSchedule, match=name):
            days(1, calendar=name)


def calendar(*events: str, head: str = "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:test\n") -> str:
    bodies = "".join(
        f"BEGIN:VEVENT\nUID:1\n{event.replace(' ', chr(10))}\nEND:VEVENT\n" for event in events
    )
    return f"{head}{bodies}END:VCALENDAR\n"


def days_off(folder: Path, text: str) -> list[int]:
    """Return the days of June 2026 that are holidays by a calendar."""
    (folder / "off.ics").write_text(text.replace("\n", "\r\n"))
    found = calendars.read("off")
    return [day for day in range(1, 31) if found.get(date(2026, 6, day))]


DAILY = "DTSTART;VALUE=DATE:20260608 RRULE:FREQ=DAILY;COUNT=4"
TIMED = "DTSTART;TZID=Europe/Berlin:20260608T100000 RRULE:FREQ=DAILY;COUNT=4"
WEEKLY = "DTSTART;VALUE=DATE:20260602 RRULE:FREQ=WEEKLY;COUNT=3"
WEEKLY_AT_TEN = "DTSTART;TZID=Europe/Berlin:20260602T100000 RRULE:FREQ=WEEKLY;COUNT=3"
NINTH = "RECURRENCE-ID;VALUE=DATE:20260609"
NINTH_AT_TEN = "RECURRENCE-ID;TZID=Europe/Berlin:20260609T100000"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([f"{DAILY} EXDATE;VALUE=DATE:20260610"], [8, 9, 11]),
        ([f"{DAILY} EXDATE;VALUE=DATE:20260608,20260609 EXDATE;VALUE=DATE:20260611"], [10]),
        ([f"{DAILY} EXDATE:20260610T000000Z"], [8, 9, 11]),
        ([f"{TIMED} EXDATE;TZID=Europe/Berlin:20260610T100000"], [8, 9, 11]),
        ([f"{TIMED} EXDATE:20260610T080000Z"], [8, 9, 11]),
        ([f"{TIMED} EXDATE;VALUE=DATE:20260610"], [8, 9, 11]),
        ([f"{TIMED} EXDATE:20260610T100000Z"], [8, 9, 10, 11]),  # no occurrence of the event
        (["DTSTART;VALUE=DATE:20260608 DURATION:P3D"], [8, 9, 10]),
        (["DTSTART:20260608T200000Z DURATION:PT5H"], [8, 9]),
        (["DTSTART:20260608T200000Z DURATION:PT4H"], [8]),
        (["DTSTART:20260608T200000Z"], [8]),
        (["DTSTART;VALUE=DATE:20260608 RDATE;VALUE=DATE:20260610,20260612"], [8, 10, 12]),
        ([f"{DAILY} RDATE;VALUE=DATE:20260620 EXDATE;VALUE=DATE:20260609"], [8, 10, 11, 20]),
        ([f"{DAILY} STATUS:CANCELLED"], []),
        (["DTSTART;VALUE=DATE:20260608 STATUS:CANCELLED"], []),
        ([WEEKLY, f"DTSTART;VALUE=DATE:20260611 {NINTH}"], [2, 11, 16]),
        ([f"DTSTART;VALUE=DATE:20260611 {NINTH}", WEEKLY], [2, 11, 16]),
        ([WEEKLY, f"DTSTART;VALUE=DATE:20260609 {NINTH} STATUS:CANCELLED"], [2, 16]),
        ([WEEKLY_AT_TEN, f"DTSTART:20260611T080000Z {NINTH_AT_TEN}"], [2, 11, 16]),
        ([WEEKLY_AT_TEN, f"DTSTART:20260609T080000Z {NINTH_AT_TEN} STATUS:CANCELLED"], [2, 16]),
        (["DTSTART;VALUE=DATE:20260608 RRULE:FREQ=DAILY;UNTIL=20260610T220000Z"], [8, 9, 10]),
        ([TIMED.replace("COUNT=4", "UNTIL=20260610T080000Z")], [8, 9, 10]),
        ([TIMED.replace("COUNT=4", "UNTIL=20260610T075959Z")], [8, 9]),
        ([TIMED.replace("COUNT=4", "UNTIL=20260610")], [8, 9, 10]),
        ([TIMED.replace("COUNT=4", "UNTIL=99991231T235959Z")], [*range(8, 31)]),
    ],
)
def test_days_are_those_of_the_occurrences_that_take_place(
    folder: Path, events: list[str], expected: list[int]
) -> None:
    assert days_off(folder, calendar(*events)) == expected


OWN_ZONE = """BEGIN:VTIMEZONE
TZID:Venus/Maxwell
BEGIN:STANDARD
DTSTART:19700101T000000
TZOFFSETFROM:+0200
TZOFFSETTO:+0200
END:STANDARD
END:VTIMEZONE
"""


def test_a_zone_that_the_file_defines_is_known(folder: Path) -> None:
    text = calendar("DTSTART;TZID=Venus/Maxwell:20260608T233000 DTEND:20260608T223000Z")
    assert days_off(folder, text.replace("BEGIN:VEVENT", f"{OWN_ZONE}BEGIN:VEVENT")) == [8, 9]


def test_a_calendar_without_an_event_says_so() -> None:
    cancelled = calendar("DTSTART;VALUE=DATE:20260608 STATUS:CANCELLED")
    for text, is_empty in ((calendar(), True), (cancelled, True), (COMPANY, False)):
        assert calendars.parse("off", text.encode()).is_empty is is_empty


def test_a_file_may_have_several_calendars(folder: Path) -> None:
    first, second = (calendar(f"DTSTART;VALUE=DATE:2026060{day}") for day in (3, 5))
    assert days_off(folder, first + second) == [3, 5]


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (f"DTSTART;VALUE=DATE:20260611 {NINTH.replace(';', ';RANGE=THISANDFUTURE;')}", "RANGE"),
        (f"{WEEKLY} EXRULE:FREQ=DAILY;COUNT=2", "EXRULE"),
        (f"{WEEKLY} RRULE:FREQ=DAILY;COUNT=2", "RRULE"),
        (f"{WEEKLY} RDATE;VALUE=PERIOD:20260610T100000Z/PT1H", "RDATE"),
        ("DTSTART;VALUE=DATE:20260608 DTEND;VALUE=DATE:20260609 DURATION:P1D", "DURATION"),
        ("DTSTART;VALUE=DATE:20260231", "DTSTART: Wrong date format 20260231"),
        (f"{WEEKLY} EXDATE;VALUE=DATE:20260631", "EXDATE"),
        (f"{WEEKLY} {NINTH}", "RECURRENCE-ID"),
        ("DESCRIPTION:secret", "DTSTART"),
        ("DTSTART;TZID=Mars/Olympus:20260608T100000", "DTSTART: there is no time zone 'Mars/Oly"),
        (f"{WEEKLY_AT_TEN} EXDATE;TZID=Mars/X:20260609T100000", "EXDATE: there is no time zone"),
        ("DTSTART;VALUE=DATE:20260608 DTEND;VALUE=DATE:20260607", "ends before it begins"),
        ("DTSTART:20260608T100000Z DTEND:20260608T095959Z", "ends before it begins"),
        ("DTSTART:20260608T100000Z DURATION:-PT1H", "ends before it begins"),
        ("DTSTART;VALUE=DATE:20260601 DTEND;VALUE=DATE:20270603", "367 days"),
        ("DTSTART;VALUE=DATE:20260608 RRULE:FREQ=DAILY;INTERVAL=0", "INTERVAL"),
    ],
)
def test_what_cannot_be_read_in_an_event_is_named_with_its_line(
    folder: Path, event: str, named: str
) -> None:
    with pytest.raises(ImpossibleSchedule, match=f"'off': The event in line 8: .*{named}"):
        days_off(folder, calendar("DTSTART;VALUE=DATE:20260601", f"{event} SUMMARY:secret"))


def moved(rule: dict[str, str], days: int = 30) -> list[tuple[int, int]]:
    """Return the days of January that fires move from and to; 0 where there is none."""
    found = recurrence_of({"cron": "0 9 * * *", "calendar": "company", **rule}, START)
    other = calendars.parse("company", COMPANY.replace("20260105", "20260104").encode())
    moves = calendar_moves.moves(Timetable(found), "company", other, START, days)
    return [
        (move.before.day if move.before else 0, move.after.day if move.after else 0)
        for move in moves
    ]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, [(0, 4)]),  # the 4th is a holiday no longer
        ({"cron": "0 9 4 * *"}, [(0, 4)]),
        ({"cron": "0 9 4 * *", "on_holiday": "next"}, [(5, 4)]),
        ({"cron": "0 9 4 * *", "on_holiday": "previous"}, [(2, 4)]),
        ({"cron": "0 9 3,4 * *", "on_holiday": "next"}, [(5, 4)]),  # of both, at one moment
        ({"cron": "0 9 4,5 * *", "on_holiday": "next"}, [(0, 4)]),  # the 5th fires as before
        ({"cron": "0 9 8 * *"}, []),  # a holiday of both
        ({"cron": "0 9 6 * *"}, []),
    ],
)
def test_a_new_file_is_compared_with_the_one_in_place(
    folder: Path, rule: dict[str, str], expected: list[tuple[int, int]]
) -> None:
    assert moved(rule) == expected
    assert moved(rule, days=2) == [move for move in expected if any(0 < d <= 2 for d in move)]
    assert days(3, **rule) == days(3, **rule)  # the file in place is read again


def test_what_another_file_leaves_out_has_no_second_moment(folder: Path) -> None:
    found = recurrence_of({"cron": "0 9 * * *", "calendar": "company"}, START)
    other = calendars.parse("company", COMPANY.replace("20260105", "20260107").encode())
    moves = calendar_moves.moves(Timetable(found), "company", other, START, 30)
    assert [(move.before and move.before.day, move.after) for move in moves] == [
        (5, None),
        (6, None),
    ]


def test_changed_files_are_noticed_and_told_again_where_that_failed(folder: Path) -> None:
    watch = calendars.Watch()
    told: list[set[str]] = []
    watch.look(told.append)
    watch.look(told.append)
    assert told == [{"company"}]
    (folder / "company.ics").write_text(COMPANY)
    (folder / "new.ics").write_text(COMPANY)

    def fail(_: set[str]) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        watch.look(fail)
    watch.look(told.append)
    assert told[1:] == [{"company", "new"}]
