"""Test keys: the real path, but nobody is reached."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from notifications.canvas import deliveries
from notifications.core.errors import DeliveryFailed
from notifications.core.routing import SEND_TASK
from notifications.models import Attempt, FailedDelivery, Notification, OutboxMessage
from tests.integration.notifications.api.conftest import SIMULATED, Caller

EMAIL = {"channel": "email", "recipient": "ada@example.org", "subject": "Hi", "body": "Hello"}
JOB = {"name": "j", "handler": SEND_TASK, "schedule": {"every": 60}, "kwargs": EMAIL}


@pytest.fixture
def rehearse(caller: Callable[..., Caller]) -> Any:
    return caller(kind="test")


def test_what_a_test_key_sends_goes_to_the_simulator(rehearse: Any) -> None:
    made = rehearse.ok("POST", "/notifications", EMAIL)
    deliveries.deliver_one(UUID(made["id"]), worker="test")
    seen = rehearse.ok("GET", f"/notifications/{made['id']}")
    assert (seen["status"], seen["queue"], seen["test"]) == ("sent", "email.medium", True)
    assert Attempt.objects.get().provider == "simulator for email"
    assert not OutboxMessage.objects.exists()


def test_a_test_key_cannot_ask_for_the_real_thing(rehearse: Any) -> None:
    made = rehearse.ok("POST", "/notifications", {**EMAIL, "test": False})
    batch = rehearse.ok("POST", "/notifications/batch", [{**EMAIL, "test": False}])
    assert Notification.objects.get(id=made["id"]).test
    assert Notification.objects.get(batch=batch["id"]).test


def test_a_rehearsal_is_not_taken_for_the_performance(rehearse: Any, call: Caller) -> None:
    test = rehearse.ok("POST", "/notifications", EMAIL, Idempotency_Key="order-1")
    live = call("POST", "/notifications", EMAIL, Idempotency_Key="order-1")
    assert live.status_code == 201
    assert live.json()["id"] != test["id"]


def test_a_replay_of_a_test_stays_a_test_and_a_real_one_is_out_of_reach(
    rehearse: Any, call: Caller
) -> None:
    body = {**SIMULATED, "recipient": "ada?result=permanent"}
    for caller in (rehearse, call):
        made = caller.ok("POST", "/notifications", body)
        with pytest.raises(DeliveryFailed):
            deliveries.deliver_one(UUID(made["id"]), worker="test")
    mine = FailedDelivery.objects.get(notification__test=True)
    real = FailedDelivery.objects.get(notification__test=False)
    assert rehearse("POST", f"/failed-deliveries/{real.id}/replay").status_code == 404
    again = rehearse.ok("POST", f"/failed-deliveries/{mine.id}/replay")
    assert Notification.objects.get(id=again["notification"]).test
    order = rehearse.ok("POST", "/failed-deliveries/replays", {"per_second": 1})
    assert order["total"] == 0  # of two, one is replayed, and one is real


def test_a_test_key_schedules_only_tests(rehearse: Any, call: Caller) -> None:
    made = rehearse.ok("POST", "/jobs", JOB)
    assert made["definition"]["kwargs"]["test"] is True
    real = call.ok("POST", "/jobs", {**JOB, "name": "real"})
    assert rehearse("POST", f"/jobs/{real['id']}/run").status_code == 404
    assert rehearse("POST", f"/jobs/{made['id']}/run").status_code == 202


def test_a_live_key_may_rehearse_too(call: Caller) -> None:
    made = call.ok("POST", "/notifications", {**EMAIL, "test": True})
    assert Notification.objects.get(id=made["id"]).test
