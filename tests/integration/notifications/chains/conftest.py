"""A test of chains has an outbox, and begins with no template remembered."""

import pytest
from pytest_django import Settings

from templates_engine import catalog


@pytest.fixture(autouse=True)
def _fresh(settings: Settings) -> None:
    settings.OUTBOX = True
    catalog.clear()
