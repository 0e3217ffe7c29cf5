"""A loop that hangs is seen as such, one that rests is not."""

from datetime import timedelta

from scheduling.liveness import Pulse


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_round_that_does_not_end_makes_its_loop_stuck() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.begin("fires")
    pulse.begin("sweep")
    clock.now += 40
    pulse.pause("sweep", 1.0)
    assert pulse.stuck_for() == timedelta(seconds=40)
    pulse.pause("fires", 0.5)
    assert pulse.stuck_for() == timedelta()


def test_a_loop_that_rests_as_long_as_it_said_is_not_stuck() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.begin("archive")
    pulse.pause("archive", 300.0)
    clock.now += 299
    assert pulse.stuck_for() == timedelta()
    clock.now += 61
    assert pulse.stuck_for() == timedelta(seconds=60)


def test_a_process_without_loops_is_not_stuck() -> None:
    assert Pulse().stuck_for() == timedelta()
