"""Keys in the admin: shown once, rotated, revoked."""

import re
from typing import Any

import pytest
from django.test import Client

from notifications.core.world import World
from notifications.models import ApiKey, Project
from notifications.operations import api_keys

ADMIN = "/admin/notifications/apikey/"


def shown(response: Any) -> list[str]:
    return re.findall(r"ntf_(?:live|test)_\w{12}_[\w-]{43}", response.content.decode())


@pytest.fixture
def made(admin_client: Client) -> str:
    Project.objects.create(name="shop")
    form = {"name": "shop", "kind": "test", "scopes": ["read", "send"], "rate": "5"}
    form["project"] = "shop"
    response = admin_client.post(f"{ADMIN}add/", form)
    (token,) = shown(response)
    assert "no-store" in response.headers["Cache-Control"]
    assert not any(token[-43:] in cookie.value for cookie in response.cookies.values())
    return token


def test_a_key_made_in_the_admin_is_shown_once_and_works(admin_client: Client, made: str) -> None:
    row = api_keys.find(made)
    assert row is not None
    assert (row.name, row.kind, row.scopes, row.rate) == ("shop", "test", ["read", "send"], 5)
    assert row.world == World("shop", test=True)
    for page in (ADMIN, f"{ADMIN}{row.pk}/change/"):
        response = admin_client.get(page)
        assert response.status_code == 200
        assert not shown(response)


@pytest.mark.parametrize("action", ["rotate", "revoke"])
def test_keys_are_rotated_and_revoked_by_action(
    admin_client: Client, made: str, action: str
) -> None:
    row = ApiKey.objects.get()
    response = admin_client.post(ADMIN, {"action": action, "_selected_action": [row.pk]})
    assert not any("ntf_" in cookie.value for cookie in admin_client.cookies.values())
    assert [api_keys.find(token) for token in shown(response)] == (
        [ApiKey.objects.exclude(pk=row.pk).get()] if action == "rotate" else []
    )
    assert (api_keys.find(made) is None) == (action == "revoke")


def test_a_change_keeps_the_secret(admin_client: Client, made: str) -> None:
    row = ApiKey.objects.get()
    admin_client.post(f"{ADMIN}{row.pk}/change/", {"name": "shop", "scopes": ["read"]})
    found = api_keys.find(made)
    assert found is not None
    assert (found.scopes, found.kind) == (["read"], "test")
