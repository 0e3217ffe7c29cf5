"""A test message through one account, as the admin's action sends it."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from notifications.core.attempt import Result
from notifications.core.errors import MalformedRecipient, TestRecipientRefused
from notifications.models import Notification
from notifications.operations.account_tests import send_test
from tests.servers.smtp import SmtpServer

BOSS = User(username="boss", email="ada@example.org")


@pytest.fixture
def smtp_account(account: Any, smtp_server: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SECRET_MAIL", smtp_server.url)
    return account(
        "mail-a",
        "smtp",
        "email",
        enabled=False,
        settings={"from": "shop@example.org"},
        secrets={"url": "env:SECRET_MAIL"},
    )


def test_a_disabled_account_can_be_tried_and_nothing_is_stored(
    smtp_account: Any, smtp_server: SmtpServer
) -> None:
    assert send_test(smtp_account, "ada@example.org", BOSS).result is Result.SENT
    assert smtp_server.messages[0].recipients == ["ada@example.org"]
    assert not Notification.objects.exists()


def test_what_the_provider_says_is_given_back(
    smtp_account: Any, smtp_server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    smtp_server.answer("ada@example.org", ["550 5.7.1 Not you"])
    refused = send_test(smtp_account, "ada@example.org", BOSS)
    assert (refused.result, refused.code, refused.detail) == (
        Result.PERMANENT,
        "550",
        "5.7.1 Not you",
    )
    monkeypatch.delenv("SECRET_MAIL")
    assert send_test(smtp_account, "ada@example.org", BOSS).code == "bad_account"


def test_a_malformed_recipient_is_refused(smtp_account: Any) -> None:
    with pytest.raises(MalformedRecipient):
        send_test(smtp_account, "ada", BOSS)


def test_a_test_goes_to_its_sender_or_to_who_is_on_the_list(
    smtp_account: Any, smtp_server: SmtpServer, settings: Settings
) -> None:
    with pytest.raises(TestRecipientRefused):
        send_test(smtp_account, "eve@example.org", BOSS)
    settings.TEST_RECIPIENTS = ["eve@example.org"]
    assert send_test(smtp_account, "eve@example.org", BOSS).result is Result.SENT
    assert [m.recipients for m in smtp_server.messages] == [["eve@example.org"]]


def test_the_admin_sends_one(
    smtp_account: Any, smtp_server: SmtpServer, admin_client: Client, settings: Settings
) -> None:
    settings.TEST_RECIPIENTS = ["ada@example.org"]
    url = reverse("admin:notifications_provideraccount_send_test", args=[smtp_account.pk])
    form = {"_form_submitted": "on", "recipient": "ada@example.org"}
    answer = admin_client.post(url, form, follow=True)
    assert answer.status_code == 200
    assert [m.recipients for m in smtp_server.messages] == [["ada@example.org"]]
