"""Templates over HTTP: write, preview, publish, go back."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings

from notifications.monitoring.diagnosis import delivery
from templates_engine.models import TemplateVersion
from tests.integration.notifications.api.conftest import SIMULATED, Caller

pytestmark = pytest.mark.django_db

RECEIPT = {"name": "receipt", "channel": "email", "category": "transactional"}
PARTS = {"subject": "Receipt {{ number }}", "text": "Dear {{ name }}"}
CONTEXT = {"number": 7, "name": "Ada"}


@pytest.fixture
def receipt(call: Caller) -> None:
    call.ok("POST", "/templates", RECEIPT)
    version = call.ok(
        "POST", "/templates/receipt/versions", {"parts": PARTS, "sample_context": CONTEXT}
    )
    assert (version["number"], version["status"]) == (1, "draft")
    call.ok("POST", "/templates/receipt/versions/1/publish")


def test_a_published_version_is_what_gets_sent(call: Caller, receipt: None) -> None:
    seen = call.ok("GET", "/templates/receipt")
    assert [(v["number"], v["status"]) for v in seen["versions"]] == [(1, "published")]
    assert seen["versions"][0]["required"] == ["name", "number"]
    body = {"channel": "email", "recipient": "ada@example.org", "template": "receipt"}
    made = call.ok("POST", "/notifications", {**body, "context": CONTEXT})
    detail = call.ok("GET", f"/notifications/{made['id']}")
    assert (detail["template"], detail["template_version"]) == ("receipt", 1)
    response = call("POST", "/notifications", {**body, "context": {"name": "Ada"}})
    assert response.json()["type"].endswith("/invalid-context")
    assert "number" in response.json()["detail"]


def test_a_preview_shows_what_the_recipient_would_see(call: Caller, receipt: None) -> None:
    shown = call.ok("POST", "/templates/receipt/preview", {})
    assert shown["content"]["subject"] == "Receipt 7"
    other = call.ok(
        "POST", "/templates/receipt/preview", {"context": {**CONTEXT, "name": "<b>"}, "version": 1}
    )
    assert other["content"]["text"].strip() == "Dear <b>"


def test_a_template_goes_back_to_a_version(call: Caller, receipt: None) -> None:
    call.ok("POST", "/templates/receipt/versions", {"parts": {**PARTS, "subject": "New"}})
    call.ok("POST", "/templates/receipt/versions/2/publish")
    back = call.ok("POST", "/templates/receipt/roll-back", {"version": 1})
    assert (back["number"], back["status"]) == (1, "published")
    assert call.ok("GET", "/templates/receipt/versions/2")["status"] == "archived"


def test_a_key_publishes_nothing_where_two_people_have_to(
    call: Caller, receipt: None, settings: Settings
) -> None:
    settings.TEMPLATES_TWO_PERSON_RULE = True
    call.ok("POST", "/templates/receipt/versions", {"parts": {**PARTS, "subject": "New"}})
    refused = call("POST", "/templates/receipt/versions/2/publish")
    assert refused.status_code == 409
    assert "a colleague" in refused.json()["hint"]
    assert call.ok("GET", "/templates/receipt/versions/2")["status"] == "draft"
    assert call.ok("GET", "/templates/receipt/versions/1")["status"] == "published"
    settings.TEMPLATES_TWO_PERSON_RULE = False
    call.ok("POST", "/templates/receipt/versions/2/publish")
    settings.TEMPLATES_TWO_PERSON_RULE = True  # what is gone back to was published by somebody
    assert call.ok("POST", "/templates/receipt/roll-back", {"version": 1})["number"] == 1


def test_an_sms_preview_counts_its_segments(call: Caller) -> None:
    call.ok("POST", "/templates", {"name": "otp", "channel": "sms"})
    call.ok("POST", "/templates/otp/versions", {"parts": {"text": "Code {{ code }}"}})
    shown = call.ok("POST", "/templates/otp/preview", {"version": 1, "context": {"code": "1234"}})
    assert shown["sms"]["segments"] == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/templates", RECEIPT, 409),
        ("/templates", {**RECEIPT, "name": "Not A Name"}, 422),
        ("/templates", {**RECEIPT, "name": "x", "channel": "pigeon"}, 422),
        ("/templates", {**RECEIPT, "name": "x", "category": "spam"}, 422),
        ("/templates/receipt/versions", {"parts": {"subject": "{{", "text": "x"}}, 422),
        ("/templates/receipt/versions", {"parts": {"colour": "red"}}, 422),
        ("/templates/receipt/versions/1/publish", None, 409),
        ("/templates/receipt/versions/9/publish", None, 404),
        ("/templates/receipt/roll-back", {"version": 9}, 404),
        ("/templates/receipt/preview", {"context": {}}, 422),
        ("/templates/receipt/preview", {"version": 99}, 422),
        ("/templates/nothing/preview", {}, 404),
    ],
)
def test_what_is_wrong_is_a_problem(
    call: Caller, receipt: None, path: str, body: Any, status: int
) -> None:
    response = call("POST", path, body)
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"


def test_a_broken_source_is_named_with_its_place(call: Caller, receipt: None) -> None:
    response = call(
        "POST", "/templates/receipt/versions", {"parts": {"subject": "x", "text": "a\n{{ b"}}
    )
    problem = response.json()
    assert problem["type"].endswith("/invalid-template")
    assert problem["field"] == "variants.default.text"
    assert "line 2" in problem["detail"]


def test_a_draft_alone_cannot_be_sent(call: Caller) -> None:
    call.ok("POST", "/templates", {"name": "draft", "channel": "simulator"})
    call.ok("POST", "/templates/draft/versions", {"parts": {"body": "x", "subject": "y"}})
    body = {**SIMULATED, "body": "", "template": "draft"}
    assert call("POST", "/notifications", body).json()["type"].endswith("/unknown-template")
    assert call("POST", "/templates/draft/preview", {}).status_code == 409


BOMBS = {
    "email": ({"pattern": r"^\S+@\S+$"}, "@" * 100_000),
    "end": ({"pattern": "[a-z]+b"}, "a" * 40_000),
    "doubt": ({"pattern": "a*a*b"}, "a" * 40_000),
    "nested": ({"pattern": "(a+)+$"}, "a" * 40_000 + "!"),
    "unique": ({"uniqueItems": True}, [{"n": n} for n in range(4_000)]),
}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"bomb": {"pattern": "(?=a)b"}}},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#/$defs/a"}] * 2, "$defs": {"a": {"allOf": [{"$ref": "#"}] * 2}}},
        {"not": {"not": {"$ref": "#/nowhere"}}},
    ],
)
def test_a_schema_without_a_bound_is_refused_when_it_is_written(
    call: Caller, schema: dict[str, Any]
) -> None:
    call.ok("POST", "/templates", RECEIPT)
    body = {"parts": PARTS, "context_schema": schema}
    refused = call("POST", "/templates/receipt/versions", body)
    assert refused.status_code == 422
    assert refused.json()["type"].endswith("/invalid-template")
    assert "context schema cannot be used" in refused.json()["detail"]


def test_no_context_makes_a_schema_slow_or_an_error(
    call: Caller, caller: Callable[..., Caller]
) -> None:
    call.ok("POST", "/templates", {"name": "bombs", "channel": "simulator"})
    rules = {name: rule for name, (rule, _) in BOMBS.items()}
    version = {"parts": {"subject": "s", "body": "b"}, "context_schema": {"properties": rules}}
    call.ok("POST", "/templates/bombs/versions", version)
    call.ok("POST", "/templates/bombs/versions/1/publish")
    sender = caller(scopes=["send"])
    begun = time.process_time()
    for name, (_, bomb) in BOMBS.items():
        context = {name: bomb}
        asked = {"channel": "simulator", "recipient": "ada", "template": "bombs"}
        sent = sender("POST", "/notifications", {**asked, "context": context})
        assert sent.status_code in (201, 202, 422), sent.content
        seen = call("POST", "/templates/bombs/preview", {"context": context})
        assert seen.status_code in (200, 422), seen.content
    assert time.process_time() - begun < 10  # the first alone took 52 s


def test_a_stored_schema_without_a_bound_refuses_contexts_and_is_named_by_the_doctor(
    call: Caller,
) -> None:
    call.ok("POST", "/templates", {"name": "old", "channel": "simulator"})
    call.ok("POST", "/templates/old/versions", {"parts": {"subject": "s", "body": "b"}})
    TemplateVersion.objects.update(context_schema={"$ref": "#"})  # as an older release took it
    TemplateVersion.objects.update(status="published")
    asked = {"channel": "simulator", "recipient": "ada", "template": "old", "context": {"a": 1}}
    for path, body in (("/notifications", asked), ("/templates/old/preview", {"context": {}})):
        refused = call("POST", path, body)
        assert refused.status_code == 422
        assert "context schema cannot be used" in refused.json()["detail"]
    assert [found.id for found in delivery.schemas()] == ["template.schema"]
    TemplateVersion.objects.update(status="archived")
    back = call("POST", "/templates/old/roll-back", {"version": 1})
    assert back.status_code == 422
