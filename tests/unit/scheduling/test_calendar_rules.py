"""Rules beyond five plain fields: against two other libraries, and what is ours as tables."""

from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from croniter import croniter
from cronsim import CronSim
from dateutil.rrule import rrulestr

from scheduling.calendar_rules import _calendar, holiday_on
from scheduling.job_schema import InvalidJob
from scheduling.recurrence import ImpossibleSchedule, Interval, Recurrence
from scheduling.rule_documents import recurrence_of
from scheduling.timetable import Timetable
from tests.unit.scheduling.due_times import BERLIN, START, at, due

EXTENDED = {
    "0 9 L * *": "FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=9;BYMINUTE=0",
    "0 9 * * 5L": "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9;BYMINUTE=0",
    "30 6 * * 6#3": "FREQ=MONTHLY;BYDAY=3SA;BYHOUR=6;BYMINUTE=30",
    "15 8 1,L 2,11 *": "FREQ=YEARLY;BYMONTH=2,11;BYMONTHDAY=1,-1;BYHOUR=8;BYMINUTE=15",
    "0 0 * * 1#1,5L": "FREQ=MONTHLY;BYDAY=1MO,-1FR;BYHOUR=0;BYMINUTE=0",
}
"""Lines, and what they mean by RFC 5545."""


@pytest.mark.parametrize("line", EXTENDED)
def test_extended_lines_agree_with_three_libraries(line: str) -> None:
    # cronsim is what reads such a line; croniter and dateutil have never seen its code.
    found = due({"cron": line}, 40)
    by_cronsim = CronSim(line, START)
    assert found == [next(by_cronsim) for _ in found]
    by_croniter = croniter(line.replace("5L", "L5"), START)
    assert found == [by_croniter.get_next(datetime) for _ in found]
    by_dateutil = rrulestr(f"{EXTENDED[line]};BYSECOND=0", dtstart=START)
    assert found == list(islice(by_dateutil, len(found)))


@pytest.mark.parametrize(
    ("line", "days", "expected"),
    [
        ("0 9 L-2 * *", {}, ["2026-01-29", "2026-02-26", "2026-03-29"]),
        ("0 9 L-30 * *", {}, ["2026-01-01", "2026-03-01", "2026-05-01"]),
        ("0 9 15W * *", {}, ["2026-01-15", "2026-02-16", "2026-03-16", "2026-04-15"]),
        ("0 9 1W * *", {}, ["2026-01-01", "2026-02-02", "2026-03-02", "2026-04-01"]),
        ("0 9 31W * *", {}, ["2026-01-30", "2026-03-31", "2026-05-29"]),
        ("0 9 3,15W * *", {}, ["2026-01-03", "2026-01-15", "2026-02-03", "2026-02-16"]),
        ("0 9 L-2 * 0", {}, ["2026-03-29", "2026-11-28"][:1]),
        ("0 9 L-2 1 0", {"days": "or"}, ["2026-01-04", "2026-01-11", "2026-01-18", "2026-01-25"]),
        ("0 9 L-2,3 1 *", {"days": "or"}, ["2026-01-03", "2026-01-29"]),
    ],
)
def test_days_before_the_months_end_and_weekdays_near_a_day(
    line: str, days: dict[str, str], expected: list[str]
) -> None:
    found = due({"cron": line, **days}, len(expected))
    assert [f"{moment:%Y-%m-%d}" for moment in found] == expected
    assert {moment.hour for moment in found} == {9}


@pytest.mark.parametrize("line", ["0 9 L-31 * *", "0 9 32W * *", "0 9 0W * *", "0 9 W * *"])
def test_days_that_no_month_has_are_refused(line: str) -> None:
    with pytest.raises(ImpossibleSchedule):
        due({"cron": line})


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@Yearly", "0 0 1 1 *"),
        ("0 9 * * 7", "0 9 * * 0"),
        ("0 9 * * 1,7", "0 9 * * 0,1"),
        ("0 9 * JUL WED", "0 9 * 7 3"),
        ("0 9 * * 0-7", "0 9 * * *"),
        ("0 9 * * 0-7/2", "0 9 * * 0,2,4,6"),
        ("0 9 * * 0-7/7", "0 9 * * 0"),
        ("0 9 * * 1-7", "0 9 * * *"),
        ("0 9 * * 1-7/2", "0 9 * * 1,3,5,0"),
        ("0 9 * * 5-7", "0 9 * * 5,6,0"),
        ("0 9 * * 6-7", "0 9 * * 6,0"),
        ("0 9 * * 7-7", "0 9 * * 0"),
        ("0 9 * * 2,6-7", "0 9 * * 0,2,6"),
    ],
)
def test_names_for_rules(line: str, plain: str) -> None:
    assert due({"cron": line}) == due({"cron": plain})


@pytest.mark.parametrize(
    ("days", "weekdays"),
    [("0-7", "0123456"), ("0-7/2", "0246"), ("1-7/2", "0135"), ("5-7", "056"), ("6-7", "06")],
)
@pytest.mark.parametrize(
    "rule", [{"cron": "0 0 9 * * {}", "seconds": True}, {"cron": "0 9 31 2 {}", "days": "or"}]
)
def test_seven_ends_a_range_of_days_with_sunday(
    rule: dict[str, Any], days: str, weekdays: str
) -> None:
    found = due({**rule, "cron": rule["cron"].format(days)}, 14)
    assert {str(moment.isoweekday() % 7) for moment in found} == {*weekdays}


@pytest.mark.parametrize("line", ["0 9 * * 0-7/0", "0 9 * * 7-8", "0 9 * * 7/x", "0 9 L * 7-8"])
def test_a_refused_line_is_named_as_it_was_typed(line: str) -> None:
    with pytest.raises((ImpossibleSchedule, InvalidJob)) as refused:
        due({"cron": line})
    assert str(refused.value).startswith(repr(line))
    assert "0/x" not in str(refused.value)


def test_a_field_of_seconds_is_opted_for() -> None:
    rule = {"cron": "*/20 * * * * *", "seconds": True}
    assert [moment.second for moment in due(rule, 4)] == [20, 40, 0, 20]
    with pytest.raises(InvalidJob, match="seconds"):
        due({"cron": "*/20 * * * * *"})


def test_days_must_both_match_or_one_of_them_by_a_switch() -> None:
    both = due({"cron": "0 0 13 * 5"}, 3)
    assert [(day.day, day.weekday()) for day in both] == [(13, 4)] * 3
    either = due({"cron": "0 0 13 * 5", "days": "or"}, 30)
    assert {day.day == 13 or day.weekday() == 4 for day in either} == {True}
    other = croniter("0 0 13 * 5", START, day_or=True)
    assert either == [other.get_next(datetime) for _ in either]


def test_clock_changes_are_ours_for_extended_lines_too() -> None:
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    rule = {"cron": "30 2 * * 7L", "timezone": "Europe/Berlin"}
    assert due(rule, 1, before) == [datetime(2026, 3, 29, 1, tzinfo=UTC)]  # right after the gap
    autumn = {"cron": "30 2 * * 7L", "timezone": "Europe/Berlin"}
    found = due(autumn, 2, datetime(2026, 10, 24, 12, tzinfo=UTC))
    assert found == [  # once, the first time round
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        datetime(2026, 11, 29, 1, 30, tzinfo=UTC),
    ]


def test_only_between_two_times_of_day() -> None:
    rule = {"every": 3600, "between": ["08:00", "12:00"], "timezone": "Europe/Berlin"}
    start = datetime(2026, 1, 1, tzinfo=UTC)
    hours = [moment.astimezone(BERLIN).hour for moment in due(rule, 6, start)]
    assert hours == [8, 9, 10, 11, 8, 9]
    night = {"cron": "0 */2 * * *", "between": ["22:00", "03:00"]}
    assert [moment.hour for moment in due(night, 5, start)] == [2, 22, 0, 2, 22]


@pytest.mark.parametrize(
    ("roll", "days"),
    [
        # 1 May 2026 is a holiday in Germany, a Friday.
        ("skip", ["04-30", "05-04", "05-05"]),
        ("next", ["04-30", "05-04", "05-05"]),
        ("previous", ["04-30", "05-04", "05-05"]),
    ],
)
def test_holidays_and_weekends_are_left_out(roll: str, days: list[str]) -> None:
    rule = {"cron": "0 9 * * *", "holidays": "DE", "business_days": True, "on_holiday": roll}
    found = due(rule, 3, datetime(2026, 4, 30, tzinfo=UTC))
    assert [f"{moment:%m-%d}" for moment in found] == days


@pytest.mark.parametrize(("roll", "day"), [("next", "05-04"), ("previous", "04-30")])
def test_a_due_time_on_a_holiday_is_rolled(roll: str, day: str) -> None:
    rule = {"cron": "0 9 1 5 *", "holidays": "DE", "business_days": True, "on_holiday": roll}
    (found,) = due(rule, 1, datetime(2026, 4, 2, tzinfo=UTC))
    assert f"{found:%m-%d %H:%M}" == f"{day} 09:00"


@pytest.mark.parametrize(
    ("rule", "left_out", "notes"),
    [
        # Christmas Day 2026 is a Friday, Second Christmas Day a Saturday.
        (
            {"on_holiday": "skip"},
            ["12-25 09:00 Christmas Day", "12-26 09:00 Second Day of Christmas"],
            {},
        ),
        (
            {"cron": "0 * * * *", "between": ["10:00", "12:00"]},
            ["12-25 10:00 Christmas Day", "12-26 10:00 Second Day of Christmas"],
            {},
        ),
        (
            {"on_holiday": "next", "business_days": True},
            [],
            {
                28: "moved from 2026-12-27 (weekend), 2026-12-26 (Second Day of Christmas), "
                "2026-12-25 (Christmas Day)"
            },
        ),
        (
            {"cron": "0 9 25 12 *", "on_holiday": "previous"},
            [],
            {24: "moved from 2026-12-25 (Christmas Day)"},
        ),
    ],
)
def test_what_a_holiday_left_out_or_moved_is_told(
    rule: dict[str, Any], left_out: list[str], notes: dict[int, str]
) -> None:
    start = datetime(2026, 12, 23, 12, tzinfo=UTC)
    found = recurrence_of({"cron": "0 9 * * *", "holidays": "DE", **rule}, start)
    timetable = Timetable(found)
    until = datetime(2026, 12, 29, 9, tzinfo=UTC)
    told = timetable.left_out(start, until)
    assert [f"{moment:%m-%d %H:%M} {name}" for moment, name in told] == left_out
    noted = {moment.day: timetable.note(moment) for moment in timetable.newest(start, until, 50)}
    assert {day: note for day, note in noted.items() if note} == notes


@pytest.mark.parametrize("language", [None, "", "C", "C.UTF-8", "de_DE.UTF-8", "uk_UA.UTF-8"])
@pytest.mark.parametrize(
    ("country", "name"), [("DE", "Christmas Day"), ("FR", "Christmas Day"), ("NZ", "Christmas Day")]
)
def test_a_holidays_name_is_english_in_every_process(
    country: str, name: str, language: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(variable, raising=False)
    if language is not None:
        monkeypatch.setenv("LANG", language)
    _calendar.cache_clear()
    try:
        assert holiday_on(date(2026, 12, 25), country) == name
    finally:
        _calendar.cache_clear()


@pytest.mark.parametrize(
    ("country", "roll", "expected"),
    [
        # 4 June 2026 is a Thursday.
        ("SA", "skip", ["06-04", "06-07", "06-08"]),
        ("IL", "skip", ["06-04", "06-07", "06-08"]),
        ("DE-BE", "skip", ["06-04", "06-05", "06-08"]),
        ("", "skip", ["06-04", "06-05", "06-08"]),
        ("SA", "next", ["06-04", "06-07", "06-08"]),
        ("SA", "previous", ["06-04", "06-07", "06-08"]),
    ],
)
def test_a_weekend_is_the_countrys(country: str, roll: str, expected: list[str]) -> None:
    rule = {"cron": "0 9 * * *", "business_days": True, "on_holiday": roll}
    found = due({**rule, **({"holidays": country} if country else {})}, 3, at("2026-06-04"))
    assert [f"{moment:%m-%d}" for moment in found] == expected


@pytest.mark.parametrize(
    ("country", "day", "roll", "expected"),
    [
        ("SA", 5, "next", "06-07"),  # a Friday
        ("SA", 6, "previous", "06-04"),
        ("SA", 7, "next", "06-07"),
        ("DE-BE", 6, "next", "06-08"),
        ("DE-BE", 7, "previous", "06-05"),
        ("IR", 12, "next", "06-13"),  # of Iran's weekend, Friday alone
    ],
)
def test_a_due_time_on_the_countrys_weekend_is_rolled(
    country: str, day: int, roll: str, expected: str
) -> None:
    rule = {"cron": f"0 9 {day} 6 *", "business_days": True, "on_holiday": roll}
    (found,) = due({**rule, "holidays": country}, 1, at("2026-05-20"))
    assert f"{found:%m-%d}" == expected


def test_a_weekend_day_that_a_country_works_on_is_a_business_day() -> None:
    rule = {"cron": "0 9 * * 6", "business_days": True, "holidays": "CN"}
    # In 2026 China works on the Saturdays 14 and 28 February, around the Spring Festival.
    found = due(rule, 2, at("2026-01-31"))
    assert [f"{moment:%m-%d}" for moment in found] == ["02-14", "02-28"]


@pytest.mark.parametrize(
    "zone",
    ["localtime", "Factory", "posixrules", "right/Europe/Berlin", "posix/UTC", "Mars/Base"],
)
def test_a_zone_that_is_not_ianas_is_refused_at_its_field(zone: str) -> None:
    with pytest.raises(InvalidJob, match=zone) as refused:
        due({"cron": "0 9 * * *", "timezone": zone})
    assert refused.value.field == "schedule.timezone"


def test_a_country_without_holidays_is_refused() -> None:
    with pytest.raises(ImpossibleSchedule, match="Atlantis"):
        due({"cron": "0 9 * * *", "holidays": "Atlantis"})


def test_a_rule_that_its_window_never_lets_through_is_never_due() -> None:
    assert due({"cron": "0 9 * * *", "between": ["10:00", "11:00"]}) == []


def test_minutes_that_a_long_weekend_leaves_out_are_due_after_it() -> None:
    rule = {"every": 60, "holidays": "DE", "business_days": True}
    start = datetime(2026, 12, 24, 23, 59, tzinfo=UTC)  # then holidays and a weekend: 3 days
    assert due(rule, 1, start) == [datetime(2026, 12, 28, tzinfo=UTC)]


def test_a_window_looks_at_few_due_times_however_short_the_interval_is() -> None:
    asked: list[datetime] = []

    class Watched(Interval):
        def after(self, moment: datetime) -> datetime:
            asked.append(moment)
            return super().after(moment)

    from scheduling.calendar_rules import Window  # noqa: PLC0415 -- of this test alone

    rule: Recurrence = Watched(timedelta(seconds=1), START)
    begin, end = datetime(2026, 1, 1, 8).time(), datetime(2026, 1, 1, 9).time()  # noqa: DTZ001 -- a local time without a zone is meant
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert Window(rule, begin, end, UTC).after(noon) == datetime(2026, 1, 2, 8, 0, 0, 0, UTC)
    assert len(asked) < 5
