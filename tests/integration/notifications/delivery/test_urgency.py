"""An urgent message waits for nobody's batch, whatever pace the batch's provider has.

The provider is an HTTP service that answers a call only when it is let: so what is called while
others are open, and in which order, is seen by the service itself.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Never
from urllib.parse import parse_qs

import pytest
import redis
from django.db import connections
from pytest_django import Settings
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from notifications import tasks
from notifications.core.attempt import Claim
from notifications.delivery import account_sending, background, claims, pipeline
from notifications.models import Notification, ProviderAccount, Status
from notifications.providers import accounts, health, senders
from notifications.queueing import making_way
from notifications.queueing.making_way import Slot
from notifications.submission import send, send_many
from tests.servers.processes import Processes
from tests.servers.smtp import HANG, SmtpServer

LOW = Slot("sms.low").queue


class Service:
    """Answers each call when it is let; ``called`` names the recipients in order of arrival."""

    def __init__(self, server: HTTPServer) -> None:
        self.called: list[str] = []
        self.url = server.url_for("")
        self._may_answer = threading.Semaphore(0)
        server.expect_request("/2010-04-01/Accounts/AC/Messages.json").respond_with_handler(self)

    def __call__(self, request: Request) -> Response:
        self.called.append(parse_qs(request.get_data(as_text=True))["To"][0])
        self._may_answer.acquire()
        return Response('{"sid": "SM1"}', 201)

    def answer(self, count: int = 1) -> None:
        self._may_answer.release(count)


@pytest.fixture
def service(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> Iterator[Service]:
    """An account of the channel sms with three connections, and the service that it calls."""
    with redis.Redis.from_url(settings.BROKER_URL) as client:
        client.flushdb()
    # No batch ends for its time is over, however slow this machine is.
    settings.NOTIFICATIONS_BATCH_TIME_LIMIT, settings.NOTIFICATIONS_LEASE = 60.0, 120.0
    settings.NOTIFICATIONS_PROVIDER_TIMEOUT = 50.0
    monkeypatch.setenv("SECRET_TOKEN", "token")
    with HTTPServer(threaded=True) as server:
        service = Service(server)
        ProviderAccount.objects.create(
            name="texts",
            channel="sms",
            kind="twilio",
            settings={
                "account_sid": "AC",
                "from": "+43123456789",
                "url": service.url,
                "connections": 3,
            },
            secrets={"auth_token": "env:SECRET_TOKEN"},
        )
        accounts.forget()
        health.forget()
        yield service
        service.answer(1000)
        assert background.finish(20)
        making_way._memory[:] = bytes(len(making_way._memory[:]))
    accounts.forget()


@pytest.fixture
def slots(service: Service) -> Iterator[Callable[..., Any]]:
    """Deliver in threads, as slots of a worker do; ``slots(call)`` gives the thread."""
    threads = []

    def begin(call: Any) -> threading.Thread:
        def run() -> None:
            try:
                call()
            finally:
                connections.close_all()

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return threads[-1]

    yield begin
    service.answer(1000)
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def accept_low(count: int) -> None:
    rows = [{"recipient": f"+43660{number:07}"} for number in range(count)]
    send_many(rows, channel="sms", body="Sale", priority="low")


def deliver_low() -> None:
    pipeline.deliver(claims.claim_due("sms", "low", 500), worker="test", slot=Slot(LOW))


def deliver_high() -> None:
    row = send(channel="sms", recipient="+436991111111", body="4711", priority="high")
    slot = Slot("sms.high")
    pipeline.deliver(claims.claim([row.id]), worker="test", slot=slot)


def waiting() -> Any:
    """Return which priorities wait for a connection of the account, if it was called."""
    try:
        return senders.named("texts").waiting
    except KeyError:
        return ()


def statuses(**which: Any) -> set[Any]:
    return set(Notification.objects.filter(**which).values_list("status", "attempt_count"))


def test_a_slot_is_given_up_during_a_call_to_a_more_urgent_message(
    service: Service, slots: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    accept_low(20)
    slot = slots(deliver_low)
    wait_until(lambda: len(service.called) == 3)
    assert slot.is_alive()
    making_way.write(["email.high"], time.monotonic())
    slot.join(20)
    assert not slot.is_alive()  # and nobody has answered yet
    assert len(service.called) == 3
    service.answer(20)
    wait_until(lambda: statuses() == {(Status.SENT, 1)})
    assert len(service.called) == len(set(service.called)) == 20


def test_a_slot_is_not_given_up_to_what_waited_before_or_is_of_the_same_queue(
    service: Service, slots: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    accept_low(12)
    making_way.write(["email.high"], time.monotonic())
    slot = slots(deliver_low)
    wait_until(lambda: len(service.called) == 3)
    making_way.write([LOW], time.monotonic())
    service.answer(8)
    wait_until(lambda: len(service.called) == 11)
    assert slot.is_alive()


def test_no_call_begins_while_a_more_urgent_message_is_in_a_slot_of_the_worker(
    service: Service,
    slots: Callable[..., Any],
    wait_until: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(making_way, "PAUSE", 600.0)
    monkeypatch.setattr(making_way, "RECENT", 600.0)
    accept_low(3)
    making_way.hold(["email.high", LOW])
    slots(deliver_low)
    slots(deliver_high).join(20)
    wait_until(lambda: service.called)
    assert service.called == ["+436991111111"]
    making_way.hold([LOW])
    wait_until(lambda: len(service.called) == 3)


def test_a_more_urgent_message_gets_the_next_call_of_an_account(
    service: Service,
    slots: Callable[..., Any],
    wait_until: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(account_sending, "STUCK_AFTER", 60.0)  # a busy machine is slow
    accept_low(20)
    slots(deliver_low)
    wait_until(lambda: len(service.called) == 3)
    slot = slots(deliver_high)
    wait_until(lambda: 0 in waiting())
    slot.join(20)
    assert not slot.is_alive()  # a message that waits for a connection needs no slot
    assert statuses(priority="high") == {(Status.SENDING, 1)}
    service.answer()
    wait_until(lambda: len(service.called) == 4)
    assert service.called[3] == "+436991111111"


def test_a_connection_is_left_to_an_urgent_message_that_is_expected(
    service: Service, slots: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    account = ProviderAccount.objects.get()
    account.settings["connections"] = 4
    account.save()
    accounts.forget()
    making_way.hold(["sms.high"])
    making_way.hold(())
    accept_low(20)
    slots(deliver_low)
    wait_until(lambda: 2 in waiting())  # for a fourth
    slots(deliver_high)
    wait_until(lambda: len(service.called) == 4)
    assert "+436991111111" in service.called  # and nobody has answered yet


def test_an_account_has_as_many_calls_at_once_as_its_setting_says(
    service: Service, slots: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    accept_low(8)
    slots(deliver_low)
    for answered in range(6):
        wait_until(lambda answered=answered: len(service.called) == 3 + min(answered, 5))
        service.answer()
    assert len(service.called) <= 8


def test_the_next_batch_of_a_queue_waits_until_the_one_before_is_sent(
    service: Service, slots: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    accept_low(5)
    slot = slots(deliver_low)
    wait_until(lambda: len(service.called) == 3)
    making_way.write(["email.high"], time.monotonic())
    slot.join(20)
    clear: list[bool] = []
    waiting = slots(lambda: clear.append(background.is_clear(Slot(LOW), "sms")))
    making_way.write(["sms.high"], time.monotonic() + 1)
    waiting.join(20)
    assert clear == [False]  # what is more urgent goes first
    making_way.write((), time.monotonic())
    waiting = slots(lambda: clear.append(background.is_clear(Slot(LOW), "sms")))
    service.answer(2)  # the last two are called
    waiting.join(20)
    assert clear == [False, True]


def test_an_urgent_message_without_a_free_connection_waits_untried_where_none_answers(
    service: Service, slots: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    accept_low(3)
    slots(deliver_low)
    wait_until(lambda: len(service.called) == 3)
    slot = slots(deliver_high)
    put_off = {(Status.SCHEDULED, 0)}
    # On a busy machine no call has ended for long as it comes: then it waits for an instant only.
    wait_until(lambda: 0 in waiting() or statuses(priority="high") == put_off)
    making_way.write(["email.high"], time.monotonic() + 1)
    slot.join(20)
    wait_until(lambda: statuses(priority="high") == put_off)
    assert Notification.objects.get(priority="high").reason == "account_busy"


def test_a_process_that_ends_gives_back_what_it_has_not_sent(
    service: Service, slots: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    accept_low(20)
    slot = slots(deliver_low)
    wait_until(lambda: len(service.called) == 3)
    making_way.write(["email.high"], time.monotonic())
    slot.join(20)
    assert not background.finish(0.2)  # three are open
    wait_until(lambda: statuses() == {(Status.SENDING, 1), (Status.SCHEDULED, 0)})
    service.answer(3)
    assert background.finish(20)
    assert statuses() == {(Status.SENT, 1), (Status.SCHEDULED, 0)}
    assert Notification.objects.filter(status=Status.SENT).count() == len(service.called) == 3


def test_what_breaks_in_the_background_costs_each_message_one_attempt(
    service: Service,
    slots: Callable[..., Any],
    wait_until: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accept_low(5)
    slot = slots(deliver_low)
    wait_until(lambda: len(service.called) == 3)
    making_way.write(["email.high"], time.monotonic())
    slot.join(20)

    def breaks(*_: Any) -> Never:
        raise LookupError("+4366012345")

    monkeypatch.setattr("notifications.delivery.sending.BatchSending._take_in", breaks)
    wait_until(lambda: statuses() == {(Status.SCHEDULED, 1)})
    assert set(Notification.objects.values_list("attempts__result", "attempts__code")) == {
        ("unknown", "LookupError"),
        ("transient", "LookupError"),
    }


def test_a_slot_claims_a_few_at_a_time_while_something_more_urgent_is_expected(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed: list[int] = []
    claim_due = claims.claim_due

    def claim(channel: str, priority: str, limit: int) -> list[Claim]:
        taken = claim_due(channel, priority, limit)
        claimed.append(len(taken))
        return taken

    monkeypatch.setattr(claims, "claim_due", claim)
    monkeypatch.setattr(making_way, "FEW", 4)
    message = {"delivery_info": {"routing_key": LOW}, "hostname": "test", "called_directly": False}
    tasks.deliver_due.push_request(**message)
    try:
        service.answer(30)
        accept_low(10)
        making_way.hold(["email.high"])
        making_way.hold(())
        assert tasks.deliver_due.run("sms", "low", 500) == 10
        assert claimed == [4, 4, 2]
        assert background.finish(20)
        accept_low(10)
        monkeypatch.setattr(making_way, "LATELY", 0.0)
        assert tasks.deliver_due.run("sms", "low", 500) == 10
        assert claimed[3:] == [10]
    finally:
        tasks.deliver_due.pop_request()


def test_a_worker_whose_slots_all_send_to_providers_that_hang_takes_what_is_urgent(
    service: Service,
    smtp_server: SmtpServer,
    processes: Processes,
    httpserver: HTTPServer,
    wait_until: Callable[..., Any],
) -> None:
    """Both slots call a mail server and an endpoint that never answer, and a slow service."""
    httpserver.expect_request("/hook").respond_with_data("", 200)
    processes.env |= {
        "EMAIL_URL": smtp_server.url,
        "SECRET_TOKEN": "token",
        "WEBHOOK_ALLOW_PRIVATE_ADDRESSES": "1",
        "NOTIFICATIONS_BATCH_TIME_LIMIT": "60",
        "NOTIFICATIONS_LEASE": "120",
        "NOTIFICATIONS_PROVIDER_TIMEOUT": "50",
    }
    worker = processes.worker("-c", "2")
    mails = [f"u{number}@example.org" for number in range(40)]
    for mail in mails:
        smtp_server.answer(mail, itertools.repeat(HANG))
    rows = [{"recipient": mail, "body": "B", "priority": "low"} for mail in mails]
    send_many(rows, channel="email", subject="S")
    rows = [{**row, "recipient": f"{row['recipient']}?result=hang"} for row in rows]
    send_many(rows, channel="simulator")
    accept_low(40)
    wait_until(lambda: len(service.called) == 3 and smtp_server.greetings >= 5)
    urgent = [
        send(channel="webhook", recipient=httpserver.url_for("/hook"), body="{}", priority="high"),
        send(channel="simulator", recipient="u", body="4711", priority="high"),
        send(channel="simulator", recipient="u", body="4711", priority="medium"),
    ]
    ids = [row.id for row in urgent]
    wait_until(lambda: statuses(id__in=ids) == {(Status.SENT, 1)})
    assert len(service.called) == 3
    assert not Notification.objects.filter(priority="low", status=Status.SENT).exists()
    service.answer(100)
    wait_until(lambda: statuses(channel="sms") == {(Status.SENT, 1)})
    assert len(service.called) == len(set(service.called)) == 40
    worker.kill()  # the calls that hang would hold it for long
