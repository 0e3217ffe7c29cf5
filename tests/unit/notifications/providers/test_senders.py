"""The senders of an account are shared by urgency, and some are left to what may come."""

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event

import pytest

from notifications.providers.senders import Senders

HIGH, LOW = 0, 2


@dataclass(eq=False)
class Batch:
    rank: int
    leaves_some: bool = False


@pytest.fixture
def over() -> Iterator[Event]:
    """Set when the calls of a test are over."""
    event = Event()
    yield event
    event.set()


def take_all(senders: Senders, batch: Batch, over: Event) -> int:
    count = 0
    while senders.take(batch, over.wait):
        count += 1
    return count


@pytest.mark.parametrize(("limit", "left"), [(1, 0), (3, 0), (5, 1), (40, 10)])
def test_a_quarter_is_left_where_something_more_urgent_is_expected(
    limit: int, left: int, over: Event
) -> None:
    senders = Senders(limit)
    assert take_all(senders, Batch(LOW, leaves_some=True), over) == limit - left
    assert not senders.take(Batch(LOW, leaves_some=True), over.wait)
    assert take_all(senders, Batch(HIGH), over) == left


def test_all_are_taken_where_nothing_more_urgent_is_expected(over: Event) -> None:
    assert take_all(Senders(8), Batch(LOW), over) == 8


def test_what_urgent_calls_use_is_not_counted_as_taken_by_others(over: Event) -> None:
    senders = Senders(8)
    assert senders.take(Batch(HIGH), over.wait)
    assert senders.take(Batch(HIGH), over.wait)
    assert take_all(senders, Batch(LOW, leaves_some=True), over) == 6


def test_a_batch_gives_up_between_its_calls_what_it_took_before_something_was_expected(
    over: Event,
) -> None:
    senders, low = Senders(8), Batch(LOW)
    take_all(senders, low, over)
    assert not senders.is_wanted_of(low)
    low.leaves_some = True
    assert senders.is_wanted_of(low)


def test_a_batch_that_may_have_no_more_waits_for_an_answer(over: Event) -> None:
    senders, low = Senders(8), Batch(LOW, leaves_some=True)
    assert senders.take(low, over.wait)
    assert senders.silent_for() == 0
    take_all(senders, low, over)
    assert senders.silent_for() > 0
