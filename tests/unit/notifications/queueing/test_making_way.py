"""Less urgent calls give way to a notification that is more urgent, and go on meanwhile."""

from collections.abc import Iterator
from threading import Thread

import pytest

from notifications.core.routing import JOBS_QUEUE
from notifications.queueing import making_way

HIGH, MEDIUM, LOW = range(3)
A_DAY = 86_400.0  # seconds


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a worker that has just started sees; what it saw does not grow old."""
    monkeypatch.setattr(making_way, "RECENT", A_DAY)
    monkeypatch.setattr(making_way, "LATELY", A_DAY)
    before = making_way._memory[:]
    making_way._memory[:] = bytes(len(before))
    yield
    making_way._memory[:] = before


@pytest.mark.parametrize(
    ("queues", "gives_way"),
    [
        ((), []),
        (["sms.high"], [MEDIUM, LOW]),
        (["email.medium"], [LOW]),
        (["email.low"], []),
        (["email.low", "email.medium"], [LOW]),
        ([JOBS_QUEUE], []),  # what a job's time goes to is its own affair
    ],
)
def test_who_gives_way_to_what_is_in_hand(queues: list[str], gives_way: list[int]) -> None:
    making_way.hold(queues)
    assert [rank for rank in range(3) if making_way.has_more_urgent(rank)] == gives_way


def test_what_is_in_hand_for_long_waits_for_something_else_than_the_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    making_way.hold(["sms.high"])
    monkeypatch.setattr(making_way, "RECENT", 0.0)
    assert not making_way.has_more_urgent(LOW)


def test_less_urgent_calls_wait_until_the_urgent_one_is_handed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(making_way, "PAUSE", A_DAY)
    making_way.hold(["sms.high"])
    threads = [Thread(target=making_way.give_way, args=(LOW,), daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    making_way.give_way(HIGH)  # it waits for nobody
    assert all(thread.is_alive() for thread in threads)
    making_way.hold(())
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_less_urgent_calls_go_on_while_urgent_messages_never_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(making_way, "PAUSE", 0.0)
    making_way.hold(["sms.high"])
    making_way.give_way(LOW)
    assert making_way.has_more_urgent(LOW)


def test_a_few_are_prepared_at_once_as_long_as_something_more_urgent_is_expected() -> None:
    assert making_way.at_once(500, LOW) == 500
    making_way.hold(["email.low", JOBS_QUEUE])
    assert making_way.at_once(500, LOW) == 500
    making_way.hold(["sms.medium"])
    making_way.hold(())
    assert making_way.at_once(500, LOW) == making_way.FEW
    assert making_way.at_once(7, LOW) == 7
    assert making_way.at_once(100, MEDIUM) == 100
    making_way.hold(["webhook.high"])
    assert making_way.at_once(100, MEDIUM) == making_way.FEW
    assert making_way.at_once(100, HIGH) == 100


def test_no_message_is_expected_long_after_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    making_way.hold(["sms.high"])
    monkeypatch.setattr(making_way, "LATELY", 0.0)
    assert making_way.at_once(500, LOW) == 500


def test_something_is_expected_of_the_channel_it_came_by(monkeypatch: pytest.MonkeyPatch) -> None:
    making_way.hold(["sms.high"])
    assert [rank for rank in range(3) if making_way.is_expected(rank, "sms")] == [MEDIUM, LOW]
    assert making_way.is_expected(LOW)
    assert not making_way.is_expected(LOW, "email")
    monkeypatch.setattr(making_way, "LATELY", 0.0)
    assert not making_way.is_expected(LOW, "sms")
