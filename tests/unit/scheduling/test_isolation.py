"""A row's fault ends that row: which exceptions it costs, and what of them is kept."""

import logging
import math
import signal
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

import pytest
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded, WorkerShutdown
from django.db import OperationalError

from scheduling import isolation

FAULTS = [
    ValueError("ada@example.org"),
    UnicodeEncodeError("ascii", "ada@bücher.example", 5, 6, "not in range"),
    TypeError("Dear Ada"),
    RecursionError("Dear Ada"),
    MemoryError("Dear Ada"),
]
PASSING = [
    OperationalError("the connection is closed"),
    Retry(),
    Reject(),
    Ignore(),
    SoftTimeLimitExceeded(),
    KeyboardInterrupt(),
    SystemExit(),
]


def raising(error: Any, at: int = 7) -> Callable[..., Any]:
    def work(row: Any) -> Any:
        if row == at:
            raise error
        return row * 2

    return work


def all_or_nothing(error: Any, done: Any, at: int = 7) -> Callable[..., None]:
    def work(rows: Any) -> None:
        if at in rows:
            raise error
        done.extend(rows)

    return work


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_a_fault_costs_the_row_that_it_came_from(error: Any) -> None:
    done, faults = isolation.each(range(60), raising(error), stage="rendering", key=str)
    assert done == [row * 2 for row in range(60) if row != 7]
    assert [(row, fault.stage, fault.error) for row, fault in faults] == [
        (7, "rendering", type(error).__name__)
    ]


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_of_work_on_many_at_once_only_the_row_that_faults_is_left_out(error: Any) -> None:
    done: list[int] = []
    faults = isolation.halving(range(60), all_or_nothing(error, done), stage="recording", key=str)
    assert done == [row for row in range(60) if row != 7]
    assert [row for row, _ in faults] == [7]


def test_one_row_of_many_is_found_in_few_steps() -> None:
    calls = []

    def work(rows: Any) -> None:
        calls.append(len(rows))
        if 7 in rows:
            raise ValueError

    isolation.halving(range(500), work, stage="recording", key=str)
    assert len(calls) <= 1 + 2 * math.ceil(math.log2(500))


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_what_concerns_everybody_passes(error: Any) -> None:
    with pytest.raises(type(error)):
        isolation.each(range(60), raising(error), stage="rendering", key=str)
    with pytest.raises(type(error)):
        isolation.halving(range(60), all_or_nothing(error, []), stage="recording", key=str)


@pytest.fixture
def well(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Have the database found well after each error; return the errors that it was asked about."""
    asked: list[BaseException] = []

    def ask(error: BaseException) -> bool:
        asked.append(error)
        return True

    monkeypatch.setattr(isolation, "PAUSE", 0.0)
    monkeypatch.setattr(isolation, "_asks", [ask])
    return asked


def test_what_looks_like_an_outage_while_the_database_is_well_costs_its_row(
    well: list[BaseException],
) -> None:
    error = OperationalError("its disk is full")
    done: list[int] = []
    faults = isolation.halving(range(60), all_or_nothing(error, done), stage="recording", key=str)
    assert done == [row for row in range(60) if row != 7]
    assert [row for row, _ in faults] == [7]
    done, faults = isolation.each(range(60), raising(error), stage="rendering", key=str)
    assert (len(done), [row for row, _ in faults]) == (59, [7])
    assert well == [error]  # once for each exception


def test_what_looks_like_an_outage_counts_as_one_rows_only_if_it_comes_again(
    well: list[BaseException],
) -> None:
    calls = []

    def work(rows: Any) -> None:
        calls.append(rows)
        if len(calls) < isolation.TRIES:
            raise OperationalError

    assert isolation.halving([7], work, stage="recording", key=str) == []
    assert calls == [[7]] * isolation.TRIES
    assert len(well) == isolation.TRIES - 1


def test_what_looks_like_an_outage_of_all_rows_is_one(well: list[BaseException]) -> None:
    def work(_: Any) -> None:
        raise OperationalError("its disk is full")

    for work_off in (isolation.each, isolation.halving):
        with pytest.raises(OperationalError) as caught:
            work_off(range(isolation.MANY), work, stage="recording", key=str)
        assert isolation.concerns_everybody(caught.value)
        assert not isolation.is_of_a_row(caught.value)
    faults = isolation.halving(range(isolation.MANY - 1), work, stage="recording", key=str)
    assert len(faults) == isolation.MANY - 1
    assert well


def test_the_log_tells_class_place_stage_and_keys_but_not_the_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        isolation.each(range(60), raising(FAULTS[1]), stage="rendering", key=lambda row: f"#{row}")
    assert "UnicodeEncodeError in stage rendering; rows that failed by it: 1 (#7)" in caplog.text
    assert f"{__name__}:" in caplog.text
    assert "bücher" not in caplog.text
    assert "Traceback" not in caplog.text


def test_many_rows_of_one_fault_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    isolation.each("x" * 60, int, stage="rendering", key=str)
    assert len(caplog.records) == 1
    assert (
        "ValueError in stage rendering; rows that failed by it: 60 (x, x, x, x, x)" in caplog.text
    )


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), CancelledError()], ids=repr)
def test_what_somebody_s_code_raises_to_end_its_process_ends_its_row(
    error: BaseException,
) -> None:
    def work(row: int) -> int:
        with isolation.contained():
            if row == 7:
                raise error
            return row

    done, faults = isolation.each(range(9), work, stage="send", key=str)
    assert done == [0, 1, 2, 3, 4, 5, 6, 8]
    assert [fault.error for _, fault in faults] == [type(error).__name__]
    assert "test_isolation" in faults[0][1].place


@pytest.mark.parametrize(
    "error",
    [SystemExit(-(256 - signal.SIGTERM)), WorkerShutdown(), KeyboardInterrupt()],
    ids=repr,
)
def test_a_process_that_is_told_to_end_does(error: BaseException) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(type(error)), isolation.contained():
            raise error
    finally:
        signal.signal(signal.SIGINT, before)
