"""An account at a real mail server, and mails as they arrive there."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from notifications.models import ProviderAccount
from notifications.providers import accounts, health
from notifications.recipients import suppressions
from notifications.submission import send
from tests.servers.smtp import SmtpServer

FROM = "Shop <shop@example.org>"


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    accounts.forget()
    suppressions.forget()
    health.forget()
    yield
    accounts.forget()


@pytest.fixture
def account(
    transactional_db: None, smtp_server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> ProviderAccount:
    """Make an account at the mail server, which may send for all of news.example, too."""
    monkeypatch.setenv("SECRET_MAIL_URL", smtp_server.url)
    made = ProviderAccount.objects.create(
        name="shop",
        channel="email",
        kind="smtp",
        settings={"from": FROM, "senders": ["billing@example.org", "@news.example"]},
        secrets={"url": "env:SECRET_MAIL_URL"},
    )
    accounts.forget()
    return made


@pytest.fixture
def mail(
    account: ProviderAccount, deliver: Callable[..., Any], smtp_server: SmtpServer
) -> Callable[..., Any]:
    """Send a mail and return it as it arrived; keywords change it."""

    def mail(**fields: Any) -> Any:
        given = {"channel": "email", "recipient": "ada@example.org", "subject": "Hello"}
        row = send(**{**given, "body": "Dear Ada", **fields})
        [recorded] = deliver(row)
        assert recorded.status == "sent", recorded
        return smtp_server.messages[-1]

    return mail
