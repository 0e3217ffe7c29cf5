"""An endpoint of callbacks that hangs or is slow costs the others nothing but a little patience."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from notifications.delivery import background
from notifications.models import Attempt, Notification
from notifications.providers import endpoints
from notifications.providers.endpoints import AT_ONCE, FairCalls, endpoint_of
from notifications.providers.webhook import WebhookProvider
from notifications.submission import send
from tests.integration.notifications.providers import peers
from tests.servers.processes import Processes


@pytest.fixture(autouse=True)
def _local(settings: Settings) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True
    settings.NOTIFICATIONS_BATCH_TIME_LIMIT = 2  # so long may an endpoint take


@pytest.fixture
def called(httpserver: HTTPServer) -> Callable[..., list[Any]]:
    """Return which bodies the healthy endpoint got so far."""
    httpserver.expect_request("/status").respond_with_data("", 200)
    return lambda: [json.loads(request.data)["n"] for request, _ in httpserver.log]


@pytest.fixture
def call(httpserver: HTTPServer, transactional_db: None) -> Callable[..., Notification]:
    """Accept a callback for the healthy endpoint."""
    return lambda n: send(
        channel="callback",
        recipient=httpserver.url_for("/status"),
        body=json.dumps({"n": n}),
        priority="low",
    )


@pytest.fixture
def hung(peer: Callable[..., Any], transactional_db: None) -> Callable[..., Any]:
    """Accept callbacks for an endpoint that never answers; it counts who called."""
    endpoint = peer(peers.hang)

    def hung(count: int) -> Any:
        url = f"http://127.0.0.1:{endpoint.port}/"
        common: dict[str, Any] = {"channel": "callback", "body": "{}", "priority": "low"}
        return endpoint, [send(recipient=url, **common) for _ in range(count)]

    return hung


def again(rows: Any) -> list[Any]:
    Notification.objects.filter(id__in=[r.id for r in rows]).update(status="queued")
    return [Notification.objects.get(id=r.id) for r in rows]


def test_an_endpoint_is_a_server() -> None:
    assert endpoint_of("callback", "https://Example.org:8443/a?b") == "example.org:8443"
    assert endpoint_of("webhook", "https://example.org/a") == "example.org"
    assert endpoint_of("email", "ada@example.org") == ""


def test_whose_calls_are_all_open_leaves_room_for_those_that_answer() -> None:
    calls = FairCalls([("hung", n) for n in range(20)] + [("well", 100 + n) for n in range(20)], ())
    fed = []
    while (row := calls.popleft()) is not None:
        fed.append(row)
        if row >= 100:
            calls.ended("well", 0.01, answered=True)
        if len(fed) == 24:
            break
    assert sum(row >= 100 for row in fed) == 20
    assert sum(row < 100 for row in fed) == 4


def test_within_a_batch_the_others_are_called_while_one_hangs(
    hung: Callable[..., Any],
    call: Callable[..., Notification],
    called: Callable[..., list[Any]],
    deliver: Callable[..., Any],
    wait_until: Callable[..., Any],
    settings: Settings,
) -> None:
    settings.NOTIFICATIONS_BATCH_TIME_LIMIT = 8  # enough on a slow machine
    endpoint, rows = hung(60)
    healthy = [call(n) for n in range(20)]
    delivering = threading.Thread(target=deliver, args=(*rows, *healthy))
    delivering.start()
    try:
        wait_until(lambda: len(called()) == 20)
        assert len(endpoint.connections) <= 16  # of 60 that came first: nobody waited for these
        assert not Attempt.objects.filter(result="unknown").exists()
    finally:
        delivering.join()


def test_who_does_not_answer_rests_and_its_messages_wait_untried(
    hung: Callable[..., Any], deliver: Callable[..., Any]
) -> None:
    endpoint, rows = hung(1)
    deliver(*rows)
    _, more = hung(5)
    waiting = deliver(*more)
    assert len(endpoint.connections) == 1
    assert {(r.status, r.reason, r.attempt_count) for r in waiting} == {
        ("scheduled", "endpoint_backoff", 0)
    }


def test_after_its_rest_one_message_finds_out_and_the_others_follow(
    account: Callable[..., Any],
    transactional_db: None,
    httpserver: HTTPServer,
    deliver: Callable[..., Any],
) -> None:
    url = httpserver.url_for("/status")
    httpserver.expect_request("/status").respond_with_data("", 200)
    endpoints.report(endpoint_of("callback", url), 0.01, answers=True, known=False)  # says nothing
    endpoints.report(endpoint_of("callback", url), 1.01, answers=False, known=False)
    time.sleep(endpoints.BACKOFF * 1.01)
    rows = [send(channel="callback", recipient=url, body="{}") for _ in range(5)]
    assert sorted(r.status for r in deliver(*rows)) == ["scheduled"] * 4 + ["sent"]
    left = again([r for r in rows if Notification.objects.get(id=r.id).status == "scheduled"])
    assert {r.status for r in deliver(*left)} == {"sent"}


def test_a_slow_endpoint_that_answers_gets_a_turn_now_and_then(
    httpserver: HTTPServer, transactional_db: None, deliver: Callable[..., Any]
) -> None:
    def slowly(request: Request) -> Response:
        time.sleep(1.2)
        return Response("", 200)

    httpserver.expect_request("/slow").respond_with_handler(slowly)
    url = httpserver.url_for("/slow")
    row = send(channel="callback", recipient=url, body="{}")
    began = time.monotonic()
    assert deliver(row)[0].status == "sent"
    took = time.monotonic() - began
    allowance = endpoints.allowances([endpoint_of("callback", url)])[endpoint_of("callback", url)]
    assert allowance.most == 0
    since = time.monotonic() - began - 1.2
    assert 1.2 * endpoints.BACKOFF - since <= allowance.wait <= took * endpoints.BACKOFF
    wake = endpoints.allowances([endpoint_of("callback", url)])
    assert wake[endpoint_of("callback", url)].most == 0
    assert AT_ONCE > 1


def test_an_endpoint_that_takes_longer_than_a_batch_gets_one_call_and_holds_no_slot(
    httpserver: HTTPServer,
    transactional_db: None,
    deliver: Callable[..., Any],
    settings: Settings,
    wait_until: Callable[..., Any],
) -> None:
    settings.NOTIFICATIONS_BATCH_TIME_LIMIT = 0.5
    answer = threading.Event()

    def late(request: Request) -> Response:
        answer.wait(15)
        return Response("", 200)

    httpserver.expect_request("/late").respond_with_handler(late)
    row = send(channel="callback", recipient=httpserver.url_for("/late"), body="{}")
    [open_] = deliver(row)  # the batch is over, though nothing answered yet
    assert open_.status == "sending"
    answer.set()
    wait_until(lambda: Notification.objects.get(id=row.id).status == "sent")
    assert background.finish(10)
    assert [a.result for a in row.attempts.all()] == ["sent"]
    assert len(httpserver.log) == 1


def test_a_worker_that_is_stopped_hears_the_late_answer(
    httpserver: HTTPServer,
    transactional_db: None,
    processes: Processes,
    wait_until: Callable[..., Any],
) -> None:
    answer = threading.Event()

    def late(request: Request) -> Response:
        answer.wait(15)
        return Response("", 200)

    httpserver.expect_request("/late").respond_with_handler(late)
    worker = processes.worker(
        "-c", "1", NOTIFICATIONS_BATCH_TIME_LIMIT="0.5", WEBHOOK_ALLOW_PRIVATE_ADDRESSES="1"
    )
    row = send(channel="callback", recipient=httpserver.url_for("/late"), body="{}")
    # Its slot is free again: the next one is answered while the first is still open.
    wait_until(lambda: Notification.objects.get(id=row.id).status == "sending")
    httpserver.expect_request("/status").respond_with_data("", 200)
    other = send(channel="callback", recipient=httpserver.url_for("/status"), body="{}")
    wait_until(lambda: Notification.objects.get(id=other.id).status == "sent")
    worker.terminate()
    answer.set()
    worker.wait()
    row.refresh_from_db()
    assert row.status == "sent"
    assert [a.result for a in row.attempts.all()] == ["sent"]
    assert [r.path for r, _ in httpserver.log].count("/late") == 1


def test_without_redis_each_worker_learns_by_itself(
    hung: Callable[..., Any], deliver: Callable[..., Any], settings: Settings
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    endpoint, rows = hung(1)
    deliver(*rows)
    _, more = hung(3)
    assert {r.reason for r in deliver(*more)} == {"endpoint_backoff"}
    assert len(endpoint.connections) == 1


def test_what_waits_for_an_endpoint_past_its_deadline_is_dead_lettered(
    hung: Callable[..., Any], deliver: Callable[..., Any]
) -> None:
    _, rows = hung(1)
    deliver(*rows)
    endpoint, [late] = hung(1)
    Notification.objects.filter(id=late.id).update(retry={"deadline": 1})
    [late] = deliver(late)
    assert (late.status, late.reason) == ("failed", "deadline_exceeded")
    assert late.attempts.get().code == "endpoint_backoff"
    assert len(endpoint.connections) == 1


def test_healthy_callbacks_arrive_while_another_endpoint_hangs(
    hung: Callable[..., Any],
    call: Callable[..., Notification],
    called: Callable[..., list[Any]],
    processes: Processes,
    wait_until: Callable[..., Any],
) -> None:
    """One after the other: each waits for no more than the batch that is under way."""
    processes.env |= {
        "WEBHOOK_ALLOW_PRIVATE_ADDRESSES": "1",
        "NOTIFICATIONS_BATCH_TIME_LIMIT": "2",
    }
    processes.beat()
    processes.worker("-c", "2")
    for n in (100, 101, 102):  # until each slot has loaded what it needs
        call(n)
        wait_until(lambda n=n: n in called())
    endpoint, _ = hung(400)
    wait_until(lambda: endpoint.connections)
    for n in range(15):
        call(n)
        wait_until(lambda n=n: n in called())
    # Until it is known to hang, each of the two processes may call it by all of its senders.
    at_first = 2 * WebhookProvider.at_once
    assert len(endpoint.connections) < at_first + 40  # of 400 that were there first
