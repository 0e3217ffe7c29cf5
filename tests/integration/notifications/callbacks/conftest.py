"""The fixtures of the providers serve here, too."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.notifications.callbacks.returned_mail import accept
from tests.integration.notifications.providers.conftest import (
    _nothing_remembered,
    account,
    deliver,
    in_threads,
    message,
    text,
)
from tests.servers.smtp import SmtpServer

__all__ = [
    "_nothing_remembered",
    "account",
    "deliver",
    "in_threads",
    "message",
    "text",
]

SECRET = "env:SECRET_MAIL_URL"


@pytest.fixture
def mailer(
    account: Any, smtp_server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Make an account at a mail server, with a return path."""

    def mailer(url: str) -> Any:
        monkeypatch.setenv("SECRET_MAIL_URL", url)
        settings = {"from": "Shop <shop@shop.example>", "return_path": "bounces@shop.example"}
        return account("shop", "smtp", "email", settings=settings, secrets={"url": SECRET})

    return mailer


@pytest.fixture
def sent(
    mailer: Callable[..., Any], deliver: Callable[..., Any], smtp_server: SmtpServer
) -> Callable[..., Any]:
    """Send a mail, and return its row."""
    mailer(smtp_server.url)

    def sent(**fields: Any) -> Any:
        [row] = deliver(accept(**fields))
        assert row.status == "sent"
        return row

    return sent
