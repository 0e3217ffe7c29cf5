"""What a job may leave set in its process costs no message that the process delivers after it."""

import os
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from notifications.submission import send
from tests.servers.smtp import SmtpServer


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave what a job may leave in the process, until the test is over."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    umask = os.umask(0o777)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    os.umask(umask)


def test_mail_and_webhooks_do_not_depend_on_settings_of_the_process(
    account: Callable[..., Any],
    deliver: Callable[..., Any],
    make_smtp_server: Callable[..., SmtpServer],
    httpserver: HTTPServer,
    settings: Settings,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True
    httpserver.expect_request("/hook").respond_with_data("ok")
    monkeypatch.setenv("SECRET_SMTP", make_smtp_server().url)
    monkeypatch.setenv("SECRET_SIGNING", "whsec_" + b64encode(bytes(32)).decode())
    shop = {"from": "shop@shop.example"}
    account("mail", kind="smtp", channel="email", settings=shop, secrets={"url": "env:SECRET_SMTP"})
    account("hook", kind="webhook", channel="webhook", secrets={"signing": "env:SECRET_SIGNING"})
    mail = send(channel="email", recipient="ada@x.example", subject="Hi", body="Hello")
    hook = send(channel="webhook", recipient=httpserver.url_for("/hook"), body="Hello")
    request.getfixturevalue("left")
    assert [row.status for row in (*deliver(mail), *deliver(hook))] == ["sent", "sent"]
