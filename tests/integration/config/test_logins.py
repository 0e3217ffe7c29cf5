"""Wrong passwords make the next try wait, and every page says what it may load."""

from typing import Any

import pytest
import redis
from django.conf import settings as configured
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from config import login_throttle
from config.content_security import HEADER
from notifications.submission import send

LOGIN = "/admin/login/"


@pytest.fixture(autouse=True)
def _nothing_counted(transactional_db: None) -> None:
    login_throttle._counts.clear()
    with redis.Redis.from_url(configured.BROKER_URL) as client:
        client.flushdb()


@pytest.fixture(params=["redis", "none"])
def shared(request: pytest.FixtureRequest, settings: Settings) -> None:
    """With a Redis that all processes share, and without one."""
    if request.param == "none":
        settings.REDIS_URL = ""


def attempt(client: Client, name: str = "ada", password: str = "wrong", **where: Any) -> Any:
    return client.post(LOGIN, {"username": name, "password": password}, **where)


def test_after_ten_wrong_passwords_even_the_right_one_waits(client: Client, shared: None) -> None:
    User.objects.create_user("ada", password="right", is_staff=True)
    for _ in range(login_throttle.MOST_OF_A_NAME):
        assert attempt(client).status_code == 200
    waits = attempt(client, password="right")
    assert waits.status_code == 429
    assert waits.headers["Retry-After"] == "900"
    assert attempt(client, "ADA", "right").status_code == 429
    assert client.get(LOGIN).status_code == 200
    # Another address, and another name, are not held up.
    assert attempt(client, password="right", REMOTE_ADDR="192.0.2.7").status_code == 302
    assert attempt(client, "eve").status_code == 200


def test_a_login_ends_the_count_of_its_name(client: Client, shared: None) -> None:
    User.objects.create_user("ada", password="right", is_staff=True)
    for _ in range(3):
        for _ in range(login_throttle.MOST_OF_A_NAME - 1):
            attempt(client)
        assert attempt(client, password="right").status_code == 302


def test_one_address_cannot_try_name_after_name(
    client: Client, shared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_throttle, "MOST_OF_AN_ADDRESS", 5)
    for number in range(5):
        assert attempt(client, f"user-{number}").status_code == 200
    assert attempt(client, "user-9").status_code == 429


def directives(answer: Any) -> dict[Any, Any]:
    text = answer.headers[HEADER]
    return dict(directive.strip().partition(" ")[::2] for directive in text.split(";"))


def test_every_answer_has_a_policy_and_scripts_are_our_own(
    client: Client, admin_client: Client, settings: Settings
) -> None:
    settings.OUTBOX = True
    row = send(channel="email", recipient="ada@example.org", subject="S", body="B")
    for path in ("/", LOGIN, "/admin/", "/outbox/", "/api/v1/docs", "/admin/nowhere/"):
        rules = directives(admin_client.get(path))
        assert rules["script-src"] == "'self' 'unsafe-eval'", path
        assert rules["object-src"] == rules["base-uri"] == "'none'"
        assert rules["frame-ancestors"] == "'none'"
        assert rules["img-src"] == "'self' data:"
    mail = directives(admin_client.get(f"/admin/notifications/notification/{row.id}/change/"))
    assert "https:" in mail["img-src"]
    for path in ("/healthz/live", "/api/v1/notifications", "/api/v1/openapi.json", "/metrics"):
        assert directives(client.get(path))["default-src"] == "'none'", path
