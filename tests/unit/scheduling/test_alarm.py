"""Code that hangs is broken off, and somebody else's alarm still rings."""

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from scheduling import alarm


@pytest.fixture
def rung() -> Iterator[list[int]]:
    """Have an alarm of one's own; the fixture returns what it has received."""
    received: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: received.append(number))
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    yield received
    signal.signal(signal.SIGALRM, before)
    signal.setitimer(signal.ITIMER_REAL, left, interval)


def test_what_hangs_is_broken_off_by_name(rung: list[int]) -> None:
    told = pytest.raises(alarm.TookTooLong, match=r"The check took longer than 0\.01 s")
    with told, alarm.within(0.01, "The check"):
        time.sleep(600)
    assert rung == []


def test_what_ends_in_time_is_left_alone(rung: list[int]) -> None:
    with alarm.within(60, "The check"):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_another_alarm_that_is_set_rings_when_it_should_have(rung: list[int]) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    with alarm.within(60, "The check"):
        time.sleep(0.05)
    while not rung:
        time.sleep(0.001)


def test_another_thread_has_no_limit(rung: list[int]) -> None:
    done: list[bool] = []

    def work() -> None:
        with alarm.within(0.001, "The check"):
            time.sleep(0.02)
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert (done, rung) == ([True], [])
