from collections.abc import Iterator
from threading import Event

import pytest

from scheduling import ticker


@pytest.fixture(autouse=True)
def no_other_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticker, "_registered", {})


@pytest.fixture
def tickers() -> Iterator[ticker.Tickers]:
    started = ticker.Tickers()
    yield started
    started.stop()


def test_a_tick_is_called_again_and_again(tickers: ticker.Tickers) -> None:
    calls: list[int] = []
    enough = Event()

    def tick() -> float:
        calls.append(1)
        if len(calls) == 3:
            enough.set()
        return 0

    ticker.register("often", tick)
    tickers.start()
    assert enough.wait(10)


def test_a_failing_tick_stops_no_other_and_is_tried_again(
    tickers: ticker.Tickers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticker, "DEFAULT_INTERVAL", 0.001)
    failures: list[int] = []
    recovered, other = Event(), Event()

    def fails_twice() -> None:
        if len(failures) < 2:
            failures.append(1)
            raise ValueError("boom")
        recovered.set()

    def good() -> None:
        other.set()

    ticker.register("bad", fails_twice)
    ticker.register("good", good)
    tickers.start()
    assert recovered.wait(10)
    assert other.wait(10)


def test_endless_work_delays_no_other_tick(tickers: ticker.Tickers) -> None:
    other = Event()

    def good() -> None:
        other.set()

    ticker.register("endless", lambda: 0)
    ticker.register("good", good)
    tickers.start()
    assert other.wait(10)


def test_stopping_waits_for_the_batch_in_hand(tickers: ticker.Tickers) -> None:
    begun, may_end, ended = Event(), Event(), Event()

    def tick() -> float:
        begun.set()
        may_end.wait(10)
        ended.set()
        return 60

    ticker.register("slow", tick)
    tickers.start()
    assert begun.wait(10)
    may_end.set()
    tickers.stop()
    assert ended.is_set()


def test_stopping_does_not_wait_for_a_resting_tick(tickers: ticker.Tickers) -> None:
    called = Event()

    def tick() -> float:
        called.set()
        return 3600

    ticker.register("lazy", tick)
    tickers.start()
    assert called.wait(10)
    tickers.stop(timeout=10)
    assert not any(thread.is_alive() for thread in tickers._threads)


def test_a_later_registration_of_a_name_replaces_the_first() -> None:
    ticker.register("same", lambda: 1)
    ticker.register("same", lambda: 2)
    assert [tick() for tick in ticker.registered().values()] == [2]
