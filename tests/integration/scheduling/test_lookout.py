"""Ticks that rest while there is nothing to do, and are called once there is."""

from collections.abc import Iterator
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from scheduling import lookout, ticker, watch
from scheduling.lookout import Moment, Rows
from scheduling.models import Change, Lease

pytestmark = pytest.mark.django_db(transaction=True)

FOR_EVER = 3600.0
LEASE_ENDS = Moment("SELECT min(expires_at) FROM scheduling_lease")
PATIENCE = 30.0  # seconds


@pytest.fixture
def tickers(monkeypatch: pytest.MonkeyPatch) -> Iterator[ticker.Tickers]:
    monkeypatch.setattr(ticker, "_registered", {})
    started = ticker.Tickers()
    yield started
    started.stop()


class Calls:
    """A tick that wants to rest for ever, and counts how often it is called all the same."""

    def __init__(self) -> None:
        self.count = 0
        self._called = Event()

    def __call__(self) -> float:
        self.count += 1
        self._called.set()
        return FOR_EVER

    def wait(self) -> bool:
        """Wait for one more call."""
        called = self._called.wait(PATIENCE)
        self._called.clear()
        return called


class Looks:
    """Counts the looks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._one = Event()
        look = lookout.Lookout.tick

        def counted(self_: lookout.Lookout) -> float:
            try:
                return look(self_)
            finally:
                self._one.set()

        monkeypatch.setattr(lookout.Lookout, "tick", counted)

    def wait(self, count: int) -> None:
        for _ in range(count):
            self._one.clear()
            assert self._one.wait(PATIENCE)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


def expire_lease(moment: timedelta) -> None:
    ends = timezone.now() + moment
    Lease.objects.update_or_create(name="a", defaults={"owner": "b", "expires_at": ends})


def test_a_tick_is_called_when_a_row_or_a_moment_shows_its_work_and_not_before(
    tickers: ticker.Tickers, looks: Looks
) -> None:
    by_row, by_moment = Calls(), Calls()
    expire_lease(timedelta(days=1))
    ticker.register("row", by_row, work=[Rows(Change.objects.all())])
    ticker.register("moment", by_moment, work=[LEASE_ENDS])
    tickers.start()
    assert by_row.wait()
    assert by_moment.wait()

    looks.wait(4)
    assert (by_row.count, by_moment.count) == (1, 1)

    row = Change.objects.create(periodic_task_id=1, changed_at=timezone.now())
    assert by_row.wait()
    row.delete()
    assert by_moment.count == 1
    expire_lease(timedelta(0))
    assert by_moment.wait()


def test_a_table_that_somebody_holds_delays_the_ticks_of_no_other(
    tickers: ticker.Tickers, looks: Looks
) -> None:
    other = Calls()
    ticker.register("held", Calls(), work=[LEASE_ENDS])
    ticker.register("other", other, work=[Rows(Change.objects.all())])
    tickers.start()
    assert other.wait()
    looks.wait(1)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE scheduling_lease IN ACCESS EXCLUSIVE MODE")
        assert other.wait()
        assert other.wait()


def test_a_look_that_faults_has_the_ticks_look_for_themselves(
    tickers: ticker.Tickers, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick = Calls()
    ticker.register("one", tick, work=[Moment("SELECT nothing_of_this_name")])
    monkeypatch.setattr(watch, "database_outage", lambda error: None)
    tickers.start()
    for _ in range(3):
        assert tick.wait()


def test_a_resting_tick_ends_with_its_scheduler(tickers: ticker.Tickers) -> None:
    tick: Any = Calls()
    ticker.register("one", tick, work=[LEASE_ENDS])
    tickers.start()
    assert tick.wait()
    tickers.stop(PATIENCE)
    assert not any(thread.is_alive() for thread in tickers._threads)
