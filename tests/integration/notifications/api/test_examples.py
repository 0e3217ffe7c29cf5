"""Every example of the OpenAPI document is sent, and taken."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from notifications.api.application import api
from notifications.api.examples import BODIES
from notifications.models import FailedDelivery, Notification
from scheduling import jobs, ledger
from scheduling.clock import database_now
from scheduling.models import Fire
from tests.integration.notifications.api.conftest import Caller

pytestmark = pytest.mark.django_db


def operations() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Each operation with a body, by its id: method, path below /api/v1, and its JSON's content."""
    return {
        operation["operationId"]: (
            method.upper(),
            path.removeprefix("/api/v1"),
            operation["requestBody"]["content"]["application/json"],
        )
        for path, methods in api.get_openapi_schema()["paths"].items()
        for method, operation in methods.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }


@pytest.fixture
def failed_run() -> Fire:
    jobs.allow("jobs.note")
    jobs.register("report", "jobs.note", database_now() + timedelta(days=1))
    fire = jobs.run_now("report")
    ledger.fail(fire, ledger.begin(fire, "worker@host") or 0, ValueError("no order"))
    return Fire.objects.get(pk=fire)


@pytest.fixture
def failed_delivery(
    accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> FailedDelivery:
    deliver(accepted(recipient="ada?result=permanent&code=550"))
    return FailedDelivery.objects.get()


def test_each_example_of_a_body_is_taken(
    call: Caller, failed_run: Fire, failed_delivery: FailedDelivery, settings: Settings
) -> None:
    settings.OUTBOX = True
    described = operations()
    assert described.keys() == BODIES.keys()
    made: dict[str, Any] = {
        "discard_failed_delivery": failed_delivery.pk,
        "discard_failed_run": failed_run.pk,
        "set_preferences": "customer-17",
    }
    named = {"name": "order-shipped"}
    for operation in BODIES:  # in this order: later ones need what earlier ones have made
        method, path, content = described[operation]
        assert content["examples"]
        id_ = made.get(operation, made.get(re.sub("^(change|backfill)", "create", operation)))
        for name, example in content["examples"].items():
            answer = call(method, path.format(id=id_, **named), example["value"])
            assert answer.status_code < 300, (operation, name, answer.content)
            if operation.startswith("create"):
                made[operation] = answer.json().get("id")
            if operation == "save_window":
                made["change_window"] = answer.json()["id"]
            if operation == "create_version":
                number = answer.json()["number"]
                for other in (number, number + 1):  # so that there is one to go back from
                    call.ok("POST", f"/templates/order-shipped/versions/{other}/publish")
                    call.ok("POST", "/templates/order-shipped/versions", example["value"])
    sent = Notification.objects.exclude(channel="simulator")
    assert sent.filter(template_version__isnull=False).count() == 5  # two, two rows, an event
    assert call.ok("GET", f"/jobs/{made['create_job']}")["enabled"] is False


def csv_of(path: str) -> bytes:
    body = api.get_openapi_schema()["paths"][path]["post"]["requestBody"]
    return str(body["content"]["text/csv"]["example"]).encode()


def test_the_csv_of_the_document_is_taken(call: Caller, settings: Settings) -> None:
    settings.OUTBOX = True
    call.ok("POST", "/templates", {"name": "hello", "channel": "email"})
    parts = {"subject": "Hello", "text": "Dear {{ name }}"}
    call.ok("POST", "/templates/hello/versions", {"parts": parts})
    call.ok("POST", "/templates/hello/versions/1/publish")
    csv = csv_of("/api/v1/notifications/batch")
    taken = call._client.post(
        "/api/v1/notifications/batch",
        csv,
        content_type="text/csv",
        headers=call.headers,
        query_params={"channel": "email", "template": "hello"},
    )
    assert (taken.status_code, taken.json()["accepted"]) == (202, 1)

    path = "/api/v1/recipients/import"
    taken = call._client.post(path, csv_of(path), content_type="text/csv", headers=call.headers)
    assert (taken.status_code, taken.json()["created"]) == (200, 1)
