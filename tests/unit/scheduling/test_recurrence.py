from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import crontab
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scheduling.recurrence import (
    Crontab,
    ImpossibleSchedule,
    Interval,
    Once,
    Recurrence,
    Solar,
    latest,
    newest,
    upcoming,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 -- a local time without a zone is meant


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    single = number.map(str)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.tuples(st.one_of(span, st.just("*")), st.integers(1, 20)).map("{0[0]}/{0[1]}".format)
    part = st.one_of(single, span, step)
    return st.one_of(st.just("*"), st.lists(part, min_size=1, max_size=3).map(",".join))


LINES = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)).map(" ".join)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(line=LINES, moment=MOMENTS, zone=st.sampled_from(["UTC", "Asia/Kathmandu", "Asia/Tokyo"]))
def test_it_agrees_with_celerys_crontab_where_clocks_do_not_change(
    line: str, moment: datetime, zone: str
) -> None:
    assert_as_celery(line, moment, ZoneInfo(zone))


@pytest.mark.slow
@settings(max_examples=700, deadline=None)
@given(line=LINES, moment=MOMENTS, zone=st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe"]))
def test_it_agrees_with_celerys_crontab_away_from_clock_changes(
    line: str, moment: datetime, zone: str
) -> None:
    ours = assert_as_celery_if(line, moment, ZoneInfo(zone))
    assume(ours is not None)


def assert_as_celery(line: str, moment: datetime, zone: ZoneInfo) -> None:
    rule, theirs = parsed(line)
    ours = Crontab.from_celery(rule, zone).after(moment)
    assert ours == celerys_answer(theirs, moment, zone)


def assert_as_celery_if(line: str, moment: datetime, zone: ZoneInfo) -> datetime | None:
    """Compare if no clock change lies between the moment and the answer, or near them."""
    rule, theirs = parsed(line)
    ours = Crontab.from_celery(rule, zone).after(moment)
    if ours is None or ours - moment > timedelta(days=60):
        return None
    probe, offsets = moment - timedelta(days=1), set()
    while probe < ours + timedelta(days=1):
        offsets.add(probe.astimezone(zone).utcoffset())
        probe += timedelta(hours=6)
    if len(offsets) > 1:
        return None
    assert ours == celerys_answer(theirs, moment, zone)
    return ours


def parsed(line: str) -> tuple[crontab, crontab]:
    try:
        rule = crontab.from_string(line)
    except ValueError:
        assume(False)
    return rule, rule


def celerys_answer(rule: crontab, moment: datetime, zone: ZoneInfo) -> datetime:
    local = moment.astimezone(zone)
    rule.nowfun = lambda: local
    try:
        last_run, delta, _ = rule.remaining_delta(local, tz=zone)
    except RuntimeError:  # it gives up on dates that are many years away
        assume(False)
    answer: datetime = last_run + delta
    return answer.astimezone(UTC)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(line=LINES, moment=MOMENTS)
def test_due_times_are_strictly_increasing(line: str, moment: datetime) -> None:
    rule, _ = parsed(line)
    due = upcoming(Crontab.from_celery(rule, ZoneInfo("Europe/Berlin")), moment, 20)
    assert all(before < after for before, after in zip([moment, *due], due, strict=False))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(line=LINES, moment=MOMENTS, length=st.integers(1, 200_000))
def test_the_latest_due_time_is_the_last_before_the_next(
    line: str, moment: datetime, length: int
) -> None:
    rule = Crontab.from_celery(parsed(line)[0], ZoneInfo("America/New_York"))
    until = moment + timedelta(minutes=length)
    found = latest(rule, moment, until)
    if found is None:
        following = rule.after(moment)
        assert following is None or following > until
    else:
        following = rule.after(found)
        assert moment < found <= until
        assert following is None or following > until


@pytest.mark.parametrize(
    ("line", "after", "expected"),
    [
        ("0 0 29 2 *", "2026-01-01", "2028-02-29T00:00"),
        ("0 0 29 2 1", "2026-01-01", "2044-02-29T00:00"),  # a Monday: both must match
        ("0 0 13 * 5", "2026-01-01", "2026-02-13T00:00"),  # Friday the 13th
        ("0 0 31 * *", "2026-02-01", "2026-03-31T00:00"),
        ("59 23 31 12 *", "2026-12-31T23:59", "2027-12-31T23:59"),
    ],
)
def test_rare_dates(line: str, after: str, expected: str) -> None:
    rule = Crontab.from_celery(crontab.from_string(line), ZoneInfo("UTC"))
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert rule.after(moment) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_a_date_that_never_comes_is_never_due() -> None:
    never = Crontab(
        minutes=frozenset({0}),
        hours=frozenset({0}),
        days_of_month=frozenset({31}),
        months=frozenset({2, 4}),
        days_of_week=frozenset(range(7)),
        zone=ZoneInfo("UTC"),
    )
    assert never.after(START) is None


def test_an_interval_counts_from_its_origin_and_does_not_drift() -> None:
    rule = Interval(timedelta(seconds=10), START)
    late = START + timedelta(seconds=23.7)
    assert rule.after(late) == START + timedelta(seconds=30)
    assert rule.after(START) == START + timedelta(seconds=10)
    assert rule.after(START - timedelta(seconds=1)) == START


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ImpossibleSchedule, match="not above zero"):
        Interval(timedelta(0), START)


def test_once_is_due_once() -> None:
    rule = Once(START)
    assert rule.after(START - timedelta(days=9)) == START
    assert rule.after(START) is None


@pytest.mark.parametrize(
    "rule", [Interval(timedelta(minutes=1), START), Crontab.from_celery(crontab(), ZoneInfo("UTC"))]
)
def test_the_newest_due_times_come_oldest_first(rule: Recurrence) -> None:
    until = START + timedelta(days=400, seconds=30)
    expected = [START + timedelta(days=400) - timedelta(minutes=ago) for ago in (2, 1, 0)]
    assert newest(rule, START, until, 3) == expected
    assert newest(rule, until - timedelta(seconds=1), until, 3) == []


def test_the_sun_sets_when_the_almanac_says() -> None:
    berlin = Solar("sunset", 52.52, 13.405)
    due = berlin.after(datetime(2026, 6, 21, 12, tzinfo=UTC))
    assert due.replace(second=0, microsecond=0) == datetime(2026, 6, 21, 19, 33, tzinfo=UTC)


@pytest.mark.parametrize("event", ["sunset", "sunrise", "solar_noon", "dawn_civil"])
def test_an_event_of_the_sun_is_due_once_however_it_was_computed(event: str) -> None:
    rule = Solar(event, 52.52, 13.405)
    for due in upcoming(rule, START, 30):
        for milliseconds in (-100, -30, -1, 0, 1, 30, 100):
            following = rule.after(due + timedelta(milliseconds=milliseconds))
            assert following - due > timedelta(hours=23)


def test_in_the_polar_night_the_next_sunrise_is_in_february() -> None:
    longyearbyen = Solar("sunrise", 78.22, 15.65)
    assert longyearbyen.after(datetime(2026, 12, 1, tzinfo=UTC)).month == 2
