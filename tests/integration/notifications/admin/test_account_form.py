"""The form of a provider account: pick a kind, fill its fields, read what is wrong beside them."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from notifications.models import ProviderAccount
from tests.integration.notifications.providers import test_dkim

pytestmark = pytest.mark.django_db

ADD = "/admin/notifications/provideraccount/add/"
RULES = {"rules-TOTAL_FORMS": "0", "rules-INITIAL_FORMS": "0"}
TWILIO = {
    "name": "texts",
    "channel": "sms",
    "settings_account_sid": "AC1",
    "settings_from": "+15005550006",
    "secrets_auth_token": "env:SECRET_TWILIO",
    "weight": "100",
    "enabled": "on",
    **RULES,
}


@pytest.fixture
def boss(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("boss", password="a long one"))
    return client


def test_the_kind_is_picked_first(boss: Client) -> None:
    page = boss.get(ADD).content.decode()
    assert "?kind=twilio&amp;channel=sms" in page
    assert "settings" not in page.split("<main")[-1].lower() or "decides" in page
    assert boss.get(ADD, {"kind": "nothing"}).context["kinds"]["sms"]


def test_a_kind_has_its_own_fields_which_are_kept_as_it_needs_them(boss: Client) -> None:
    given = TWILIO | {"settings_connections": "4", "settings_senders": '{"+43": "Shop"}'}
    answer = boss.post(f"{ADD}?kind=twilio", given)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    row = ProviderAccount.objects.get(name="texts")
    assert (row.kind, row.channel) == ("twilio", "sms")
    assert row.settings == {
        "account_sid": "AC1",
        "from": "+15005550006",
        "senders": {"+43": "Shop"},
        "connections": 4,
    }
    assert row.secrets == {"auth_token": "env:SECRET_TWILIO"}
    page = boss.get(f"/admin/notifications/provideraccount/{row.pk}/change/")
    shown = page.context["adminform"].form
    assert shown["settings_senders"].value() == '{"+43": "Shop"}'
    changed = given | {"settings_connections": "", "settings_senders": ""}
    assert boss.post(f"/admin/notifications/provideraccount/{row.pk}/change/", changed)
    row.refresh_from_db()
    assert row.settings == {"account_sid": "AC1", "from": "+15005550006"}


@pytest.mark.parametrize("key", [test_dkim.PUBLIC, test_dkim.PEM, ""])
def test_a_key_that_cannot_sign_is_refused_beside_its_field(
    boss: Client, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("SECRET_DKIM", key)  # "": only the workers have it
    given = {
        "name": "mail",
        "channel": "email",
        "settings_from": "shop@shop.example",
        "settings_dkim_selector": "s1",
        "secrets_url": "env:SECRET_MAIL_URL",
        "secrets_dkim_key": "env:SECRET_DKIM",
        "weight": "100",
        **RULES,
    }
    answer = boss.post(f"{ADD}?kind=smtp", given)
    if key != test_dkim.PUBLIC:
        assert answer.status_code == 302
        return
    [(field, [error])] = answer.context["adminform"].form.errors.items()
    assert field == "secrets_dkim_key"
    assert "public half" in error
    assert key.splitlines()[1] not in answer.content.decode()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"settings_account_sid": ""}, "settings_account_sid"),
        ({"settings_connections": "many"}, "settings_connections"),
        ({"settings_senders": "{bad"}, "settings_senders"),
        ({"secrets_auth_token": "the token itself"}, "secrets_auth_token"),
        ({"channel": "email"}, "channel"),
        ({"rate_limit": "fast"}, "rate_limit"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(
    boss: Client, given: dict[str, Any], field: str
) -> None:
    answer = boss.post(f"{ADD}?kind=twilio", TWILIO | given)
    assert answer.status_code == 200
    assert list(answer.context["adminform"].form.errors) == [field]
    assert not ProviderAccount.objects.exists()


def test_an_account_of_a_kind_that_is_not_installed_can_still_be_seen(boss: Client) -> None:
    row = ProviderAccount.objects.create(name="old", channel="sms", kind="gone", settings={"a": 1})
    page = boss.get(f"/admin/notifications/provideraccount/{row.pk}/change/")
    assert page.status_code == 200
    assert "gone" in page.content.decode()
    answer = boss.post(
        f"/admin/notifications/provideraccount/{row.pk}/change/",
        {
            "name": "old",
            "channel": "sms",
            "settings": "{}",
            "secrets": "{}",
            "weight": "1",
            **RULES,
        },
    )
    assert "There is no provider" in str(answer.context["adminform"].form.errors)
