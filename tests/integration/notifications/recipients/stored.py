"""A recipient that is stored with addresses of three channels, and an outbox for what is sent."""

from typing import Any

import pytest
from pytest_django import Settings

from notifications.models import Recipient
from notifications.recipients import suppressions
from notifications.submission import save_recipient

ADA: dict[str, Any] = {
    "addresses": {
        "email": ["old@example.org", {"address": "ada@example.org", "verified": True}],
        "push": ["token-of-her-phone", "token-of-her-tablet"],
        "simulator": "ada",
    },
    "locale": "de-AT",
    "timezone": "Europe/Vienna",
    "country": "AT",
    "attributes": {"plan": "gold"},
}
TO: dict[str, Any] = {"to": {"recipient": "customer-17"}}


@pytest.fixture(autouse=True)
def _outbox(settings: Settings) -> None:
    settings.OUTBOX = True
    suppressions.forget()


@pytest.fixture
def ada() -> Recipient:
    return save_recipient("customer-17", **ADA)
