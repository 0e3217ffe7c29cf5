"""Planned statements: what is answered at once, later, in parts, with an error, or not at all."""

import signal
from collections.abc import Iterator
from types import FrameType

import pytest
from django.db import DatabaseError, connection

from notifications.db import planned

pytestmark = pytest.mark.django_db(transaction=True)

ECHO = planned.Statement("SELECT %s::text")


@pytest.fixture(autouse=True)
def _usable_afterwards() -> Iterator[None]:
    yield
    assert ECHO.rows("still here") == [("still here",)]


def test_an_answer_may_take_longer_than_most() -> None:
    slow = planned.Statement("SELECT %s::text FROM pg_sleep(0.3)")
    assert slow.rows("late") == [("late",)]


def test_an_answer_may_come_in_many_parts() -> None:
    large = planned.Statement("SELECT repeat(%s, 1000) FROM generate_series(1, 20000)")
    rows = large.rows("ä")
    assert len(rows) == 20_000
    assert {*rows} == {("ä" * 1000,)}


def test_an_error_is_djangos_and_the_connection_stays() -> None:
    assert ECHO.rows("before") == [("before",)]
    session = connection.connection
    with pytest.raises(DatabaseError, match="division by zero"):
        planned.Statement("SELECT (1 / length(%s))::text").rows("")
    assert connection.connection is session
    assert not session.closed


def test_a_lost_connection_is_djangos_error() -> None:
    own = planned.Statement("SELECT pg_terminate_backend(pg_backend_pid())::text || %s")
    with pytest.raises(DatabaseError):
        own.rows("")
    connection.close()


def test_an_answer_that_is_no_longer_waited_for_is_nobody_elses() -> None:
    def end(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError("the task's time is up")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 0.03)
    try:
        with pytest.raises(TimeoutError):
            planned.Statement("SELECT %s::text FROM pg_sleep(0.3)").rows("nobody's")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
