"""Rate limits: exact for the cluster, in order, and without holding a worker."""

import itertools
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from notifications.core.rates import BadRate, Rate
from notifications.db import shared_state
from notifications.models import Notification, RateLimit
from notifications.providers import accounts, rate_limits
from notifications.providers.rate_limits import LimitRequest, LocalLimits, ask, bursty, steady
from notifications.submission import send
from tests.servers.processes import Processes

ONE_A_SECOND = steady("test:account", Rate(1, 1))


@pytest.fixture(params=["redis", "local"])
def limits(request: pytest.FixtureRequest, settings: Settings) -> Callable[..., list[float]]:
    """The algorithm in Redis, and the same one of a single process."""
    return ask if request.param == "redis" else LocalLimits().ask


@pytest.mark.parametrize(
    ("text", "count", "seconds"),
    [("100/s", 100, 1), ("5/m", 5, 60), ("9/h", 9, 3600), ("1/d", 1, 86400)],
)
def test_a_rate_is_read(text: str, count: int, seconds: int) -> None:
    assert Rate.parse(text) == Rate(count, seconds)


@pytest.mark.parametrize("text", ["", "fast", "0/s", "-1/s", "1.5/s", "1/y", "1/s "])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(BadRate):
        Rate.parse(text)


def test_those_that_wait_get_one_slot_each_in_their_order(
    limits: Callable[..., list[float]],
) -> None:
    began = time.monotonic()
    waits = limits([LimitRequest((ONE_A_SECOND,))] * 4)
    assert waits[0] == 0
    assert waits[1:] == pytest.approx([1, 2, 3], abs=0.1)
    # Who comes later waits behind them.
    (wait,) = limits([LimitRequest((ONE_A_SECOND,))])
    passed = time.monotonic() - began
    assert 3.9 - passed <= wait <= 4.1


def test_a_row_that_comes_at_its_slot_books_no_other(limits: Callable[..., list[float]]) -> None:
    quick = steady("test:quick", Rate(5, 1))
    waits = limits([LimitRequest((quick,))] * 3)
    time.sleep(max(waits) + 0.01)
    # All came late and at once: one goes, the others come evenly, and nothing is booked anew.
    again = limits([LimitRequest((quick,), reserved=True)] * 2)
    assert again == [0, pytest.approx(0.2, abs=0.05)]


def test_a_burst_per_recipient_goes_at_once_and_then_evenly(
    limits: Callable[..., list[float]],
) -> None:
    five_an_hour = bursty("test:recipient", Rate(5, 3600))
    waits = limits([LimitRequest((five_an_hour,))] * 7)
    assert waits[:5] == [0] * 5
    assert waits[5:] == pytest.approx([720, 1440], abs=1)


def test_who_is_stopped_by_one_limit_spends_nothing_of_another(
    limits: Callable[..., list[float]],
) -> None:
    full, free = bursty("test:full", Rate(1, 60)), bursty("test:free", Rate(1, 60))
    assert limits([LimitRequest((full,))]) == [0]
    assert limits([LimitRequest((full, free))])[0] > 0
    assert limits([LimitRequest((free,))]) == [0]


def test_it_is_exact_under_load(in_threads: Callable[..., Any]) -> None:
    """Of eight askers at once, no more get through than the rate allows."""
    bucket = steady("test:load", Rate(100, 1))
    started = time.monotonic()
    ends = threading.Event()
    threading.Timer(1.0, ends.set).start()

    def hammer() -> int:
        passed = 0
        while not ends.is_set():
            passed += ask([LimitRequest((bucket,), reserved=True)] * 10).count(0)
        return passed

    passed = sum(in_threads(8, hammer))
    elapsed = time.monotonic() - started
    allowed = elapsed * 100 + rate_limits.EVENNESS * 100 + 1
    assert 10 < passed <= allowed


HAMMER = """
import django; django.setup()
import time
from notifications.providers.rate_limits import LimitRequest, ask, steady
from notifications.core.rates import Rate
bucket = steady("test:processes", Rate(100, 1))
passed, first, ends = 0, time.time(), time.monotonic() + 2
while time.monotonic() < ends:
    passed += ask([LimitRequest((bucket,), reserved=True)] * 10).count(0)
print("RESULT", passed, first, time.time(), flush=True)
"""


def test_it_is_exact_for_several_processes(processes: Processes) -> None:
    hammers = [
        processes.start(
            f"hammer-{n}", "python", "-c", HAMMER, DJANGO_SETTINGS_MODULE="config.settings"
        )
        for n in range(4)
    ]
    told = []
    for hammer in hammers:
        hammer.wait_for_output("RESULT")
        line = next(x for x in hammer.output().splitlines() if x.startswith("RESULT"))
        told.append([float(word) for word in line.split()[1:]])
    passed = sum(count for count, _, _ in told)
    elapsed = max(end for *_, end in told) - min(first for _, first, _ in told)
    assert all(count for count, _, _ in told)
    assert passed <= elapsed * 100 + rate_limits.EVENNESS * 100 + 1


def test_who_only_looks_takes_no_slot(limits: Callable[..., list[float]]) -> None:
    bucket = steady("test:looks", Rate(1, 1))
    waits = limits(
        [
            LimitRequest((bucket,)),
            *[LimitRequest((bucket,), peek=True)] * 3,
            LimitRequest((bucket,)),
        ]
    )
    assert waits == [0, *[pytest.approx(1, abs=0.1)] * 4]


def test_an_account_beyond_its_rate_puts_rows_back_at_their_slots(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("sms-a", rate_limit="60/m")
    rows = deliver(*(text(priority="high") for _ in range(4)))
    assert [row.status for row in rows] == ["sent"] + ["scheduled"] * 3
    waiting = rows[1:]
    assert {(row.reason, row.attempt_count) for row in waiting} == {("rate_limited", 0)}
    slots = [row.due_at for row in waiting]
    assert slots == sorted(slots)
    gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(slots)]
    assert gaps == pytest.approx([1.0, 1.0], abs=0.01)


def test_a_message_goes_to_the_account_that_has_room(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("sms-a", rate_limit="1/h")
    account("sms-b", weight=0)
    rows = deliver(*(text(priority="high") for _ in range(5)))
    assert [row.provider for row in rows] == ["sms-a", *["sms-b"] * 4]
    assert rows[1].attempts.get().choice == "100% by weight; full: sms-a"
    assert rows[1].attempt_count == 1


def test_where_all_accounts_are_full_each_waits_at_one_slot(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("sms-a", rate_limit="60/m")
    account("sms-b", rate_limit="60/m")
    rows = deliver(*(text(priority="high") for _ in range(12)))
    sent = [row.provider for row in rows if row.status == "sent"]
    assert sorted(sent) == ["sms-a", "sms-b"]
    now = timezone.now()
    waits = [(row.due_at - now).total_seconds() for row in rows if row.status == "scheduled"]
    # Ten slots, one a second at each account: nobody took a slot that it does not use.
    assert len(waits) == 10
    assert sum(waits) <= sum(range(1, 11)) + 1


def test_what_stops_a_recipient_stops_it_at_every_account(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("sms-a", rate_limit="100/s")
    account("sms-b", rate_limit="100/s")
    RateLimit.objects.create(scope="recipient", channel="sms", rate="2/h")
    accounts.forget()
    rows = deliver(*(text() for _ in range(5)))
    assert sorted(row.status for row in rows) == ["scheduled"] * 3 + ["sent"] * 2


def test_high_priority_has_a_share_that_nobody_else_can_use_up(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("sms-a", rate_limit="100/s")
    bulk = deliver(*(text(priority="low") for _ in range(40)))
    assert "scheduled" in {row.status for row in bulk}  # the shared part is used up
    assert {row.status for row in deliver(*(text(priority="high") for _ in range(3)))} == {"sent"}


def test_one_recipient_gets_no_more_than_its_limit(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("sms-a")
    RateLimit.objects.create(scope="recipient", channel="sms", rate="2/h")
    accounts.forget()
    pumped = deliver(*(text() for _ in range(3)))
    [other] = deliver(text(recipient="+4366487654321"))
    assert [row.status for row in pumped] == ["sent", "sent", "scheduled"]
    assert other.status == "sent"


def test_one_recipient_has_one_limit_however_it_is_spelled(
    account: Callable[..., Any], deliver: Callable[..., Any]
) -> None:
    account("mail-a", channel="email")
    RateLimit.objects.create(scope="recipient", channel="email", rate="1/h")
    accounts.forget()
    spellings = ("ada@bücher.example", "ADA@xn--bcher-kva.example", '"a\\da"@bücher.example')
    mails = [send(channel="email", recipient=s, subject="Hi", body="Hello") for s in spellings]
    assert [row.status for row in deliver(*mails)] == ["sent", "scheduled", "scheduled"]


def test_a_slot_after_the_expiry_ends_the_row_at_once(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("sms-a", rate_limit="1/h")
    soon = timezone.now() + timedelta(minutes=5)
    first, second = deliver(text(priority="high"), text(priority="high", expires=soon))
    assert first.status == "sent"
    assert (second.status, second.reason) == ("expired", "expires_before_slot")


def test_without_redis_the_limit_holds_in_each_worker_and_a_warning_shows(
    account: Callable[..., Any],
    text: Callable[..., Notification],
    deliver: Callable[..., Any],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    shared_state.watch._reset()  # of what an earlier test took away
    monkeypatch.setattr("notifications.db.shared_state._away_until", 0.0)
    account("sms-local", rate_limit="60/m")
    rows = deliver(*(text(priority="high") for _ in range(3)))
    assert [row.status for row in rows] == ["sent", "scheduled", "scheduled"]
    assert "redis_away" in caplog.text


def test_many_rows_and_limits_cost_one_round_trip(
    account: Callable[..., Any],
    text: Callable[..., Notification],
    deliver: Callable[..., Any],
    redis_calls: Callable[..., Any],
) -> None:
    account("sms-a", rate_limit="1000/s")
    RateLimit.objects.create(scope="recipient", channel="sms", rate="9/h")
    accounts.forget()
    rows = [text(recipient=f"+43664123456{n:02}") for n in range(50)]
    deliver(text(recipient="+4366412345699"))  # a Redis that never saw the script is asked twice
    before = redis_calls("evalsha")
    assert {row.status for row in deliver(*rows)} == {"sent"}
    assert redis_calls("evalsha") - before == 1
