"""Templates over HTTP: write, preview, publish, go back."""

import pytest

from tests.integration.notifications.api.conftest import SIMULATED

pytestmark = pytest.mark.django_db

RECEIPT = {"name": "receipt", "channel": "email", "category": "transactional"}
PARTS = {"subject": "Receipt {{ number }}", "text": "Dear {{ name }}"}
CONTEXT = {"number": 7, "name": "Ada"}


@pytest.fixture
def receipt(call):
    call.ok("POST", "/templates", RECEIPT)
    version = call.ok(
        "POST", "/templates/receipt/versions", {"parts": PARTS, "sample_context": CONTEXT}
    )
    assert (version["number"], version["status"]) == (1, "draft")
    call.ok("POST", "/templates/receipt/versions/1/publish")


def test_a_published_version_is_what_gets_sent(call, receipt):
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


def test_a_preview_shows_what_the_recipient_would_see(call, receipt):
    shown = call.ok("POST", "/templates/receipt/preview", {})
    assert shown["content"]["subject"] == "Receipt 7"
    other = call.ok(
        "POST", "/templates/receipt/preview", {"context": {**CONTEXT, "name": "<b>"}, "version": 1}
    )
    assert other["content"]["text"].strip() == "Dear <b>"


def test_a_template_goes_back_to_a_version(call, receipt):
    call.ok("POST", "/templates/receipt/versions", {"parts": {**PARTS, "subject": "New"}})
    call.ok("POST", "/templates/receipt/versions/2/publish")
    back = call.ok("POST", "/templates/receipt/roll-back", {"version": 1})
    assert (back["number"], back["status"]) == (1, "published")
    assert call.ok("GET", "/templates/receipt/versions/2")["status"] == "archived"


def test_an_sms_preview_counts_its_segments(call):
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
        ("/templates/nothing/preview", {}, 404),
    ],
)
def test_what_is_wrong_is_a_problem(call, receipt, path, body, status):
    response = call("POST", path, body)
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"


def test_a_broken_source_is_named_with_its_place(call, receipt):
    response = call(
        "POST", "/templates/receipt/versions", {"parts": {"subject": "x", "text": "a\n{{ b"}}
    )
    problem = response.json()
    assert problem["type"].endswith("/invalid-template")
    assert problem["field"] == "variants.default.text"
    assert "line 2" in problem["detail"]


def test_a_draft_alone_cannot_be_sent(call):
    call.ok("POST", "/templates", {"name": "draft", "channel": "simulator"})
    call.ok("POST", "/templates/draft/versions", {"parts": {"body": "x", "subject": "y"}})
    body = {**SIMULATED, "body": "", "template": "draft"}
    assert call("POST", "/notifications", body).json()["type"].endswith("/unknown-template")
    assert call("POST", "/templates/draft/preview", {}).status_code == 409
