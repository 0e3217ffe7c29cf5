"""An outage is said once when it begins and once when it ends, and rests grow with it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from threading import Event
from types import SimpleNamespace

import django.db
import pytest

from scheduling import watch
from scheduling.outages import Outage
from scheduling.watch import Watch

LASTING = Outage("redis", "it is read-only", "READONLY")
FULL = Outage("redis", "it is out of memory", "OOM")
BRIEF = Outage("redis", "a deadlock was resolved", "40P01", is_brief=True)


@pytest.fixture
def works() -> Event:
    return Event()


@pytest.fixture
def outage_watch(
    works: Event, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., object]
) -> Iterator[Watch]:
    monkeypatch.setattr(watch, "QUIET", 0.0)

    def probe() -> None:
        if not works.is_set():
            raise OSError("not yet")

    made = Watch("redis", probe, "work waits")
    yield made
    works.set()
    wait_until(lambda: made.outage is None)


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "scheduling.watch"]


def test_an_outage_is_said_once_and_so_is_its_end(
    outage_watch: Watch,
    works: Event,
    caplog: pytest.LogCaptureFixture,
    wait_until: Callable[..., object],
) -> None:
    caplog.set_level(logging.INFO)
    rests = [outage_watch.saw(LASTING) for _ in range(5)]
    assert all(watch.FIRST_BACKOFF <= rest <= watch.LONGEST_BACKOFF for rest in rests)
    works.set()
    wait_until(lambda: outage_watch.outage is None)
    begin, end = _said(caplog)
    assert begin == "redis_away: it is read-only (READONLY); work waits"
    assert end.startswith("redis_back")


def test_a_brief_outage_is_tried_again_at_once_unless_it_goes_on(outage_watch: Watch) -> None:
    assert outage_watch.saw(BRIEF) < 1
    assert outage_watch.saw(BRIEF) < 1
    assert outage_watch.outage is None
    assert outage_watch.saw(BRIEF) >= watch.FIRST_BACKOFF
    assert outage_watch.outage == BRIEF


def test_an_outage_is_known_by_its_latest_reason_and_the_log_has_each_once(
    outage_watch: Watch,
    works: Event,
    caplog: pytest.LogCaptureFixture,
    wait_until: Callable[..., object],
) -> None:
    for outage in (LASTING, FULL, BRIEF, LASTING, FULL):
        outage_watch.saw(outage)
    assert outage_watch.outage == FULL
    works.set()
    wait_until(lambda: outage_watch.outage is None)
    assert [line.partition(";")[0] for line in _said(caplog)][:-1] == [
        "redis_away: it is read-only (READONLY)",
        "redis_still_away: it is out of memory (OOM)",
    ]


def test_a_thread_whose_session_works_ends_an_outage_for_longer_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The watch's own thread gets no session, as where a database has no connection left."""
    here = threading.get_ident()
    now = [1000.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=time.sleep)
    monkeypatch.setattr(watch, "time", clock)

    def probe() -> None:
        if threading.get_ident() != here:
            raise OSError("no session left")

    outage_watch = Watch("redis", probe, "work waits")
    quiet = []
    for _ in range(3):
        began = now[0]
        outage_watch.saw(LASTING)
        while outage_watch.outage is not None:
            now[0] += 1.0
            outage_watch.ask_here()
        quiet.append(now[0] - began)
    assert quiet == [3.0, 6.0, 12.0]


def test_what_meets_an_outage_is_called_again_and_a_fault_is_not(
    monkeypatch: pytest.MonkeyPatch, works: Event, outage_watch: Watch
) -> None:
    monkeypatch.setattr(watch, "database", outage_watch)
    monkeypatch.setattr(outage_watch, "saw", lambda *_: 0.0)
    answers: list[Exception | str] = [
        django.db.OperationalError("away"),
        django.db.InterfaceError("closed"),
        "done",
        ValueError("a fault"),
    ]

    def call() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert watch.wait_out(call, until=float("inf")) == "done"
    with pytest.raises(ValueError, match="a fault"):
        watch.wait_out(call, until=float("inf"))


def test_an_outage_that_outlasts_the_time_is_raised(
    outage_watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "database", outage_watch)

    def call() -> None:
        raise django.db.OperationalError("away")

    with pytest.raises(django.db.OperationalError):
        watch.wait_out(call, until=0.0)
