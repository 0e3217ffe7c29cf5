"""Which step of a chain may go: a table."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifications.core.chains import Course, Part, Turn, Verdict, brought_forward, judge

NOW = datetime(2026, 12, 24, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def part(step: int, status: str = "scheduled", **more: Any) -> Part:
    given: dict[str, Any] = {
        "key": step,
        "reason": "",
        "due_at": NOW,
        "sent_at": None,
        "read_at": None,
        "attempts": 0,
    }
    return Part(step=step, status=status, **{**given, **more})


GO, STOP = Verdict(Turn.GO), Verdict(Turn.STOP)
LEASE = timedelta(seconds=100)


def until(seconds: float) -> Verdict:
    return Verdict(Turn.WAIT, at(seconds))


@pytest.mark.parametrize(
    ("others", "stop_on", "going", "verdict"),
    [
        ([part(1, "failed")], "sent", 1, GO),
        ([part(1, "sent", sent_at=at(-90))], "sent", 1, STOP),
        ([part(1, "sent", sent_at=at(-90))], "delivered", 1, GO),
        ([part(1, "delivered", sent_at=at(-90))], "delivered", 1, STOP),
        ([part(1, "delivered", sent_at=at(-90))], "read", 1, GO),
        ([part(1, "delivered", sent_at=at(-90), read_at=at(-1))], "read", 1, STOP),
        ([part(1, "sent", sent_at=at(-90), read_at=at(-1))], "delivered", 1, STOP),
        # A later step has reached: what is left of an earlier one is not needed, either.
        ([part(3, "delivered", sent_at=at(-1))], "delivered", 3, STOP),
        # It was sent late: the wait counts from then.
        ([part(1, "sent", sent_at=at(-10))], "delivered", 1, until(50)),
        # What was sent, and came back, is waited for no longer.
        ([part(1, "failed", sent_at=at(-10))], "delivered", 1, GO),
        # One that hangs is waited for as long as its wait, from its beginning 40 seconds ago.
        ([part(1, "sending", due_at=at(60))], "sent", 1, until(20)),
        ([part(1, "scheduled", due_at=at(30), attempts=1)], "sent", 1, until(20)),
        # One that was claimed, and not let through: its worker may have died.
        ([part(1, "sending", due_at=at(90))], "sent", None, until(50)),
        ([part(1, "sending", due_at=at(10))], "sent", None, GO),
        # One that has not begun: it begins now, or when it is due.
        ([part(1, "scheduled", due_at=at(-30))], "sent", None, until(60)),
        ([part(1, "scheduled", due_at=at(30))], "sent", None, until(90)),
        ([part(1, "queued")], "sent", None, until(60)),
        # A later one has begun, too: this is a retry, which lets an answer come first.
        ([part(3, "sending", due_at=at(100))], "delivered", 3, until(0.5)),
        ([part(3, "sending", due_at=at(90))], "delivered", 3, until(10)),
        ([part(3, "sending", due_at=at(30))], "delivered", 3, until(30)),
        ([part(3, "sent", sent_at=NOW)], "delivered", 3, GO),
        ([], "sent", None, GO),
    ],
)
def test_a_step_goes_waits_or_stops_by_what_the_others_have_come_to(
    others: list[Part], stop_on: str, going: int | None, verdict: Verdict
) -> None:
    parts = [part(2, "sending"), *others]
    course = Course(stop_on, [60, 60, 0], going, at(-40) if going else None)
    assert judge(2, parts, course, now=NOW, lease=LEASE) == verdict


@pytest.mark.parametrize(
    ("before", "verdict"),
    [
        (["scheduled", "scheduled", "scheduled"], until(30)),
        (["failed", "scheduled", "failed"], until(10)),
        (["failed", "failed", "failed"], GO),
        (["suppressed", "cancelled", "scheduled"], until(10)),
    ],
)
def test_a_step_waits_for_all_before_it(before: list[str], verdict: Verdict) -> None:
    parts = [part(number, status) for number, status in enumerate(before, 1)]
    course = Course("sent", [10, 10, 10, 0])
    assert judge(4, parts, course, now=NOW, lease=LEASE) == verdict


@pytest.mark.parametrize(
    ("lease_ends", "verdict"), [(99, until(1)), (80, until(20)), (50, until(10)), (30, GO)]
)
def test_the_retry_of_the_step_before_is_waited_for_as_long_as_its_wait(
    lease_ends: float, verdict: Verdict
) -> None:
    parts = [part(1, "sending", due_at=at(lease_ends), attempts=2)]
    course = Course("sent", [60, 0], 1, at(-90))
    assert judge(2, parts, course, now=NOW, lease=LEASE) == verdict


def test_devices_of_one_step_do_not_wait_for_each_other() -> None:
    parts = [part(1, "sending", key="a"), part(1, "sent", key="b", sent_at=NOW)]
    assert judge(1, parts, Course("sent", [60], 1, NOW), now=NOW, lease=LEASE) == GO


@pytest.mark.parametrize(
    ("parts", "moved"),
    [
        ([part(1, "failed"), part(2, due_at=at(60)), part(3, due_at=at(90))], {2: 0, 3: 30}),
        ([part(1, "suppressed"), part(2, "failed"), part(3, due_at=at(90))], {3: 0}),
        ([part(1, "sent"), part(2, due_at=at(60))], {}),
        ([part(1, "sending"), part(2, due_at=at(60))], {}),
        ([part(1, "failed"), part(1, "sent", key="b"), part(2, due_at=at(60))], {}),
        ([part(1, "failed"), part(2, due_at=at(-1))], {}),
        ([part(1, "failed"), part(2, due_at=at(60), reason="window_closed")], {}),
        ([part(1, "failed"), part(2, due_at=at(60), reason="chain_waits")], {2: 0}),
        ([part(1, "failed"), part(2, due_at=at(60), attempts=1)], {}),
        ([part(1, "failed"), part(2, "cancelled"), part(3, due_at=at(5))], {3: 0}),
        ([part(1, "failed")], {}),
    ],
)
def test_the_next_step_is_due_at_once_where_those_before_have_ended(
    parts: list[Part], moved: dict[int, float]
) -> None:
    assert brought_forward(parts, NOW) == {key: at(seconds) for key, seconds in moved.items()}
