"""Whom ``/metrics`` answers."""

from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

pytestmark = pytest.mark.django_db

OPEN, REFUSED = 200, 401


@pytest.mark.parametrize(
    ("in_production", "token", "asked", "answer"),
    [
        (False, "", {"REMOTE_ADDR": "192.0.2.1"}, OPEN),
        (True, "", {"REMOTE_ADDR": "192.0.2.1"}, REFUSED),
        (True, "", {"REMOTE_ADDR": "127.0.0.1"}, OPEN),
        (True, "", {"REMOTE_ADDR": "::1"}, OPEN),
        (True, "", {"REMOTE_ADDR": ""}, REFUSED),  # a Unix socket: a proxy is behind it
        (True, "", {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "192.0.2.1"}, REFUSED),
        (True, "", {"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": "for=192.0.2.1"}, REFUSED),
        (True, "sesame", {"REMOTE_ADDR": "192.0.2.1"}, REFUSED),
        (True, "sesame", {"REMOTE_ADDR": "127.0.0.1"}, REFUSED),
        (True, "sesame", {"HTTP_AUTHORIZATION": "Bearer wrong"}, REFUSED),
        (True, "sesame", {"REMOTE_ADDR": "192.0.2.1", "HTTP_AUTHORIZATION": "Bearer sesame"}, OPEN),
        (False, "sesame", {"REMOTE_ADDR": "127.0.0.1"}, REFUSED),
    ],
)
def test_metrics_are_for_who_has_the_token_or_is_on_the_machine(
    settings: Settings, in_production: bool, token: str, asked: dict[str, Any], answer: Any
) -> None:
    settings.IN_PRODUCTION, settings.METRICS_TOKEN = in_production, token
    assert Client().get("/metrics", **asked).status_code == answer
