"""A batch of 60 mails over a real SMTP server: one that its provider chokes on costs no other."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_django import Settings

from notifications.delivery import claims, pipeline
from notifications.models import Notification, ProviderAccount, Status
from notifications.providers import accounts
from notifications.providers.mime import MailWriter
from notifications.providers.smtp import SmtpProvider
from notifications.submission import send_many
from tests.integration.notifications.faults import plant
from tests.servers.smtp import SmtpServer


@pytest.fixture(params=[False, True], ids=["one by one", "pipelined"])
def server(
    request: pytest.FixtureRequest,
    make_smtp_server: Callable[..., SmtpServer],
    transactional_db: None,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
) -> Iterator[Any]:
    """A mail server with an account of its own."""
    # What a slow machine does not send in one batch's time would be given back, and sent later.
    settings.NOTIFICATIONS_BATCH_TIME_LIMIT, settings.NOTIFICATIONS_LEASE = 60.0, 120.0
    server = make_smtp_server(pipelining=request.param)
    monkeypatch.setenv("SECRET_MAIL", server.url)
    ProviderAccount.objects.create(
        name="mail",
        kind="smtp",
        channel="email",
        settings={"from": "Shop <shop@example.org>"},
        secrets={"url": "env:SECRET_MAIL"},
    )
    accounts.forget()
    yield server
    accounts.forget()


def accept(names: Any, **common: Any) -> list[Any]:
    fields = {"channel": "email", "subject": "Hello", "body": "Dear you", **common}
    batch = send_many([{"recipient": name} for name in names], **fields).batch
    return list(Notification.objects.filter(batch=batch).order_by("id"))


def deliver(priority: str = "medium") -> None:
    pipeline.deliver(claims.claim_due("email", priority, 100), worker="test")


def arrived(server: Any) -> Counter[Any]:
    return Counter(recipient for mail in server.messages for recipient in mail.recipients)


def test_a_recipient_that_no_server_takes_delays_and_doubles_no_other(server: Any) -> None:
    names = [f"p{number}@example.org" for number in range(60)]
    rows = accept(names)
    Notification.objects.filter(id=rows[7].id).update(recipient="\u00e4da@b\u00fccher..example")
    deliver()
    assert arrived(server) == Counter(name for name in names if name != names[7])
    others = Notification.objects.exclude(id=rows[7].id)
    assert set(others.values_list("status", "attempt_count")) == {(Status.SENT, 1)}
    rows[7].refresh_from_db()
    assert rows[7].status in {Status.FAILED, Status.SCHEDULED}
    assert rows[7].attempts.get().code


@pytest.mark.parametrize(("owner", "name"), [(MailWriter, "write"), (SmtpProvider, "outcome_of")])
def test_whatever_a_provider_raises_costs_one_mail(
    server: Any, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    names = [f"p{number}@example.org" for number in range(60)]
    rows = accept(names)
    plant(monkeypatch, owner, name, {rows[7].id: UnicodeEncodeError("ascii", "Ada", 0, 1, "no")})
    deliver()
    times = arrived(server)
    assert {times[n] for n in names if n != names[7]} == {1}
    others = Notification.objects.exclude(id=rows[7].id)
    assert set(others.values_list("status", "attempt_count")) == {(Status.SENT, 1)}


def test_of_twenty_codes_that_expire_soon_nineteen_are_sent(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"p{number}@example.org" for number in range(20)]
    rows = accept(names, priority="high", expires=50)
    plant(monkeypatch, MailWriter, "write", {rows[0].id: ValueError()})
    deliver("high")
    assert arrived(server) == Counter(names[1:])
    others = Notification.objects.exclude(id=rows[0].id)
    assert set(others.values_list("status", flat=True)) == {Status.SENT}
