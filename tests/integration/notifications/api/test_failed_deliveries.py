"""Failed deliveries over HTTP: by cause, replayed and discarded, one or many."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from notifications.canvas import deliveries
from notifications.core.errors import DeliveryFailed
from notifications.models import FailedDelivery, Notification
from notifications.operations import bulk_replays
from tests.integration.notifications.api.conftest import SIMULATED, Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def fail(call: Caller) -> Callable[..., Any]:
    def one(code: str = "550", **fields: Any) -> FailedDelivery:
        recipient = f"ada?result=permanent&code={code}"
        made = call.ok("POST", "/notifications", {**SIMULATED, "recipient": recipient, **fields})
        with pytest.raises(DeliveryFailed):
            deliveries.deliver_one(UUID(made["id"]), worker="test")
        return FailedDelivery.objects.get(notification=made["id"])

    return one


def test_a_failed_delivery_tells_its_history(call: Caller, fail: Callable[..., Any]) -> None:
    dead = fail()
    (listed,) = call.ok("GET", "/failed-deliveries", query={"state": "open"})["items"]
    assert (listed["id"], listed["code"], listed["channel"]) == (dead.id, "550", "simulator")
    seen = call.ok("GET", f"/failed-deliveries/{dead.id}")
    assert [entry["result"] for entry in seen["history"]] == ["permanent"]


def test_a_replay_is_a_new_notification_linked_to_the_old(
    call: Caller, fail: Callable[..., Any]
) -> None:
    dead = fail()
    again = call.ok("POST", f"/failed-deliveries/{dead.id}/replay")
    assert Notification.objects.get(id=again["notification"]).replay_of == dead.notification
    response = call("POST", f"/failed-deliveries/{dead.id}/replay")
    assert response.status_code == 409
    assert response.json()["type"].endswith("/replay-refused")
    assert call.ok("GET", f"/failed-deliveries/{dead.id}")["state"] == "replayed"


def test_a_discarded_one_keeps_the_reason(call: Caller, fail: Callable[..., Any]) -> None:
    dead = fail()
    kept = call.ok("POST", f"/failed-deliveries/{dead.id}/discard", {"reason": "moved"})
    assert (kept["state"], kept["resolution"]) == ("discarded", "moved")
    assert call("POST", f"/failed-deliveries/{dead.id}/discard", {"reason": "x"}).status_code == 409


def test_causes_are_counted_and_discarded_as_one(call: Caller, fail: Callable[..., Any]) -> None:
    for code in ("550", "550", "551"):
        fail(code)
    causes = call.ok("GET", "/failed-deliveries/causes")
    assert [(cause["count"], cause["code"]) for cause in causes] == [(2, "550"), (1, "551")]
    gone = call.ok(
        "POST",
        "/failed-deliveries/discard",
        {"fingerprint": causes[0]["fingerprint"], "reason": "known"},
    )
    assert gone == {"discarded": 2}
    assert len(call.ok("GET", "/failed-deliveries/causes")) == 1


def test_many_are_replayed_at_a_rate_and_followed(call: Caller, fail: Callable[..., Any]) -> None:
    for _ in range(3):
        fail()
    fingerprint = FailedDelivery.objects.values_list("fingerprint", flat=True)[0]
    made = call(
        "POST", "/failed-deliveries/replays", {"fingerprint": fingerprint, "per_second": 10}
    )
    assert made.status_code == 202
    assert made.json()["total"] == 3
    bulk_replays.tick()
    seen = call.ok("GET", f"/failed-deliveries/replays/{made.json()['id']}")
    assert (seen["accepted"], seen["refused"]) == (3, {})
    assert seen["finished_at"]


@pytest.mark.parametrize("rate", [0, -1, 1e9])
def test_an_impossible_rate_is_refused(call: Caller, rate: Any) -> None:
    response = call("POST", "/failed-deliveries/replays", {"per_second": rate})
    assert response.json()["field"] == "per_second"


def test_numbers_beyond_all_rows_are_not_found(call: Caller) -> None:
    assert call("GET", "/failed-deliveries/9223372036854775807").status_code == 404
    assert call("GET", "/failed-deliveries/92233720368547758070").status_code == 422
