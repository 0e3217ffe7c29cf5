"""A recipient who can choose what to get, in a project with public pages and an outbox."""

from typing import Any

import pytest
from pytest_django import Settings

from notifications.models import Recipient
from notifications.recipients import categories, suppressions
from notifications.submission import save_recipient

TO: dict[str, Any] = {"to": {"recipient": "customer-17"}}
MAIL: dict[str, Any] = {"channel": "email", "subject": "S", "body": "B", **TO}
PUBLIC = "https://n.example.org"


@pytest.fixture(autouse=True)
def _outbox(settings: Settings) -> None:
    settings.OUTBOX, settings.PUBLIC_URL = True, PUBLIC
    suppressions.forget()
    categories.forget()


@pytest.fixture
def ada() -> Recipient:
    addresses = {"email": "ada@example.org", "sms": "+4366412345678", "simulator": "ada"}
    return save_recipient("customer-17", addresses=addresses)
