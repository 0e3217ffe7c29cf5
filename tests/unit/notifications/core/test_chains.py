"""Which step of a chain may go: a table."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifications.core.chains import Part, Turn, Verdict, brought_forward, judge

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
        ([part(1, "sent", sent_at=at(-10))], "delivered", 1, Verdict(Turn.WAIT, at(50))),
        # What was sent, and came back, is waited for no longer.
        ([part(1, "failed", sent_at=at(-10))], "delivered", 1, GO),
        # One that is with a provider now is waited for, if it was let through.
        ([part(1, "sending")], "sent", 1, Verdict(Turn.WAIT, at(0.5))),
        ([part(3, "sending")], "delivered", 3, Verdict(Turn.WAIT, at(0.5))),
        ([part(1, "sending")], "sent", None, GO),
        ([part(1, "scheduled", due_at=at(30), attempts=1)], "sent", 1, GO),
        ([], "sent", None, GO),
    ],
)
def test_a_step_goes_waits_or_stops_by_what_the_others_have_come_to(
    others: list[Part], stop_on: str, going: int | None, verdict: Verdict
) -> None:
    parts = [part(2, "sending"), *others]
    found = judge(2, parts, stop_on=stop_on, waits=[60, 60, 0], going=going, now=NOW)
    assert found == verdict


def test_devices_of_one_step_do_not_wait_for_each_other() -> None:
    parts = [part(1, "sending", key="a"), part(1, "sent", key="b", sent_at=NOW)]
    assert judge(1, parts, stop_on="sent", waits=[60], going=1, now=NOW) == GO


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
        ([part(1, "failed"), part(2, due_at=at(60), attempts=1)], {}),
        ([part(1, "failed"), part(2, "cancelled"), part(3, due_at=at(5))], {3: 0}),
        ([part(1, "failed")], {}),
    ],
)
def test_the_next_step_is_due_at_once_where_those_before_have_ended(
    parts: list[Part], moved: dict[int, float]
) -> None:
    assert brought_forward(parts, NOW) == {key: at(seconds) for key, seconds in moved.items()}
