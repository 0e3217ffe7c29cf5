"""What the document says that an operation refuses beyond its schema, it refuses."""

from typing import Any

import pytest

from notifications.api import beyond_schema
from notifications.models import Category
from notifications.recipients import categories
from notifications.submission import save_recipient
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.api.conftest import Caller

pytestmark = pytest.mark.django_db

OPEN = {"begins": "08:00", "ends": "20:00"}
WINDOW = {"category": "billing", **OPEN}
LATE = {"if_late": "channel", "late_channel": "email"}
# No country of today's tables has a holiday on each of a day of the week.
NEVER = ("invalid-window", "begins")
PRODUCT = {"category": "product", "channel": "simulator", "limit": 1}
DIGEST = {**PRODUCT, "rest": "digest"}
ADA = {"id": "ada"}

Triggers = dict[tuple[str, str], dict[str, Any]]
POSTED: dict[str, tuple[str, Triggers]] = {
    "save_window": (
        "/delivery-windows",
        {
            ("unknown-category", "category"): {**WINDOW, "category": "nothing"},
            ("invalid-field", "category"): {**WINDOW, "category": "security"},
            ("unknown-template", "template"): {**OPEN, "template": "nothing"},
            ("unknown-template", "late_template"): {**WINDOW, **LATE, "late_template": "nothing"},
            ("invalid-field", "timezone"): {**WINDOW, "timezone": "Mars/One"},
            ("invalid-field", "country"): {**WINDOW, "country": "XX"},
        },
    ),
    "save_throttle": (
        "/throttles",
        {
            ("unknown-category", "category"): {**PRODUCT, "category": "nothing"},
            ("invalid-field", "category"): {**PRODUCT, "category": "security"},
            ("invalid-field", "period"): {**PRODUCT, "period": "31d"},
            ("unknown-template", "template"): {**DIGEST, "template": "nothing"},
            ("invalid-context", "template"): {**DIGEST, "template": "greeting"},
        },
    ),
    "save_recipient": (
        "/recipients",
        {
            ("malformed-recipient", "addresses.**"): {**ADA, "addresses": {"email": "nobody"}},
            ("invalid-field", "timezone"): {**ADA, "timezone": "Mars/One"},
            ("invalid-field", "country"): {**ADA, "country": "XX"},
            ("invalid-field", "attributes"): {**ADA, "attributes": {"a": "x" * 17_000}},
        },
    ),
    "set_preferences": (
        "/recipients/bob/preferences",
        {
            ("unknown-category", "choices.*.category"): {
                "choices": [{"category": "nothing", "granted": True}]
            },
            ("invalid-field", "choices.*.granted"): {
                "choices": [{"category": "security", "granted": False}]
            },
        },
    ),
    "create_suppression": (
        "/suppressions",
        {("malformed-recipient", "recipient"): {"channel": "email", "recipient": "nobody"}},
    ),
}


def listed(operation: str) -> set[tuple[str, str]]:
    return {(item.kind, item.field) for item in beyond_schema.OF_OPERATION[operation]} - {NEVER}


def refused(answer: Any) -> tuple[str, str]:
    assert answer.status_code == 422, answer.content
    return answer.json()["type"].rsplit("/", 1)[1], answer.json()["field"]


@pytest.mark.parametrize(("operation", "path", "triggers"), [(o, *p) for o, p in POSTED.items()])
def test_each_refusal_that_is_documented_is_one(
    call: Caller, operation: str, path: str, triggers: Triggers
) -> None:
    made = Template.objects.create(name="greeting", channel="simulator")
    publish(create_version(made, {"body": "Dear {{ name }}"}))
    save_recipient("bob")
    assert set(triggers) == listed(operation)
    for (kind, place), body in triggers.items():
        said, field = refused(call("POST", path, body))
        assert said == kind
        assert field.split(".")[0] == place.split(".")[0]


def test_each_refusal_of_a_changed_window_that_is_documented_is_one(call: Caller) -> None:
    id_ = call.ok("POST", "/delivery-windows", WINDOW)["id"]
    triggers: Triggers = {
        ("unknown-template", "late_template"): {**LATE, "late_template": "nothing"},
        ("invalid-field", "late_channel"): {"late_channel": "email"},
        ("invalid-field", "late_template"): {"late_template": "greeting"},
        ("invalid-field", "timezone"): {"timezone": "Mars/One"},
        ("invalid-field", "country"): {"country": "XX"},
    }
    for expected, body in triggers.items():
        assert refused(call("PATCH", f"/delivery-windows/{id_}", body)) == expected
    # What was a category as the window was saved may be another one now.
    own = Category.objects.create(name="own", title="Own")
    categories.forget()
    id_ = call.ok("POST", "/delivery-windows", {**WINDOW, "category": "own"})["id"]
    of_the_category = {("invalid-field", "category"), ("unknown-category", "category")}
    Category.objects.update(required=True)
    categories.forget()
    found = {refused(call("PATCH", f"/delivery-windows/{id_}", {"spread": 1}))}
    own.delete()
    categories.forget()
    found.add(refused(call("PATCH", f"/delivery-windows/{id_}", {"spread": 1})))
    assert found == of_the_category
    assert triggers.keys() | of_the_category == listed("change_window")
