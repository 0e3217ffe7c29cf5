"""Holidays of one's own, in files of iCalendar."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings

from scheduling.recurrence import ImpossibleSchedule, upcoming
from scheduling.rule_documents import recurrence_of

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
