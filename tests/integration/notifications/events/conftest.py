"""A published template, and rules that send it."""

from collections.abc import Callable
from typing import Any

import pytest

from notifications.events import rules
from notifications.models import EventRule
from templates_engine import catalog
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish

RULE: dict[str, Any] = {
    "name": "reminder",
    "event": "invoice.issued",
    "channel": "simulator",
    "recipients": "data.customer",
    "template": "reminder",
}
REMINDER: dict[str, Any] = {
    **RULE,
    "delay": 3600,
    "cancel_on": "payment.settled",
    "match": "data.invoice",
    "cancel_match": "data.paid",
}


@pytest.fixture
def template(transactional_db: None) -> None:
    made = Template.objects.create(name="reminder", channel="simulator")
    publish(create_version(made, {"body": "Please pay {{ invoice }}"}))
    catalog.clear()


@pytest.fixture
def rule(template: None) -> Callable[..., EventRule]:
    """Make a rule as every way in does; keywords change it."""

    def make(**changes: Any) -> EventRule:
        made = EventRule(**{**RULE, **changes})
        rules.check(made)
        made.save()
        return made

    return make
