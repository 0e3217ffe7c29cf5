"""A notification that names the account that sends it goes by no other."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from notifications.core.errors import InvalidField, MalformedRecipient, UnknownAccount
from notifications.models import (
    AccountRule,
    Digest,
    FailedDelivery,
    Notification,
    ProviderAccount,
)
from notifications.monitoring import diagnosis, overview, timeline
from notifications.providers import accounts
from notifications.submission import send
from templates_engine import catalog
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.providers.attempts import attempts


def test_a_notification_goes_by_the_account_that_it_names(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("busy")
    quiet = account("quiet", weight=0)
    AccountRule.objects.create(account=quiet, country_prefix="+1")
    accounts.forget()
    named, other = deliver(text(account="quiet"), text())
    assert (named.provider, other.provider) == ("quiet", "busy")
    assert named.attempts.get().choice == "named"


def test_a_named_account_has_no_other_that_stands_in_for_it(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("broken", settings={"behaviour": "result=transient&code=503"})
    account("working")
    named, other = deliver(text(account="broken"), text())
    assert (named.status, attempts(named)) == ("scheduled", [(1, "broken", "transient")])
    assert other.provider == "working"


def test_a_named_account_that_is_disabled_is_waited_for(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("working")
    account("away", enabled=False)
    named, other = deliver(text(account="away"), text())
    assert (named.status, named.reason, named.attempt_count) == ("scheduled", "no_provider", 0)
    assert any("away" in event.title for event in timeline.of(named))
    assert other.status == "sent"
    said = "The account away (sms) is disabled: 1 notification that names it waits."
    assert said in overview.read().troubles
    assert [
        (finding.id, finding.problem) for finding in diagnosis.delivery.disabled_accounts()
    ] == [("delivery.account_disabled", said)]
    ProviderAccount.objects.filter(name="away").update(enabled=True)
    accounts.forget()
    assert said not in overview.read().troubles
    assert list(diagnosis.delivery.disabled_accounts()) == []


def test_what_names_an_account_that_was_deleted_meanwhile_fails_and_says_so(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("working")
    gone = account("gone")
    named, other = text(account="gone"), text()
    gone.delete()
    accounts.forget()
    named, other = deliver(named, other)
    assert (named.status, named.reason) == ("failed", "unknown_account")
    tried = named.attempts.get()
    assert (tried.code, tried.provider) == ("unknown_account", "")
    assert "gone" in tried.detail
    assert other.status == "sent"
    assert FailedDelivery.objects.get().notification == named


def test_a_named_account_that_a_worker_has_not_seen_yet_is_looked_for_again(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("old")
    known = accounts.current()
    account("new")
    row = text(account="new")
    accounts._snapshot = replace(known, taken_at=time.monotonic())
    [row] = deliver(row)
    assert (row.status, row.provider) == ("sent", "new")


@pytest.mark.parametrize(
    ("name", "error"),
    [("mail-a", UnknownAccount), ("nobody", UnknownAccount), (7, InvalidField)],
)
def test_an_account_of_another_channel_or_none_is_refused(
    account: Callable[..., Any], text: Callable[..., Notification], name: Any, error: Any
) -> None:
    account("sms-a")
    account("mail-a", channel="email")
    with pytest.raises(error) as refused:
        text(account=name)
    assert refused.value.field == "account"
    assert not Notification.objects.exists()


def test_a_named_account_has_to_allow_the_sender(
    account: Callable[..., Any], transactional_db: None
) -> None:
    for name in ("shop", "alarm"):
        account(name, channel="email", settings={"from": f"{name}@example.org"})
    mail: Any = {"channel": "email", "recipient": "ada@example.org", "subject": "S", "body": "B"}
    send(**mail, account="alarm", from_email="alarm@example.org")
    with pytest.raises(InvalidField) as refused:
        send(**mail, account="shop", from_email="alarm@example.org")
    assert refused.value.field == "from_email"


def test_a_named_account_that_takes_no_such_recipient_is_refused(
    push_accounts: None,
) -> None:
    push: Any = {"channel": "push", "recipient": "t" * 40, "subject": "S", "body": "B"}
    send(**push, account="fcm-a")
    with pytest.raises(MalformedRecipient) as refused:
        send(**push, account="web-a")
    assert refused.value.field == "recipient"


def test_events_that_name_different_accounts_share_no_digest(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    """A digest goes by the account that its first event names; no other may get its text."""
    body = {"text": "{% for one in items %}{{ one.body }} {% endfor %}"}
    publish(create_version(Template.objects.create(name="list", channel="sms"), body))
    catalog.clear()
    for name in ("vienna", "graz"):
        account(name)
    digest = {"key": "k", "window": 60, "template": "list"}
    names = ["vienna", "graz", "", "vienna", "graz", ""]
    events = [text(account=name, body=f"by-{name}", digest=digest) for name in names]
    of = [str(event.digest_id) for event in events]
    assert len(set(of)) == 3
    assert of[:3] == of[3:]
    assert Digest.objects.filter(closed_at__isnull=True).count() == 3
    Notification.objects.filter(pk__in=of).update(due_at=events[0].created_at)
    rows = deliver(*(Notification.objects.get(pk=id_) for id_ in of[:2]))
    assert [row.provider for row in rows] == ["vienna", "graz"]
    sent = [{item["body"] for item in row.context["items"]} for row in rows]
    assert sent == [{"by-vienna"}, {"by-graz"}]


def test_no_account_and_key_together_are_taken_for_another_two(
    account: Callable[..., Any], text: Callable[..., Notification]
) -> None:
    """A test may name any account, also one whose name reads like the begin of a key."""
    publish(create_version(Template.objects.create(name="list", channel="sms"), {"text": "Hi"}))
    catalog.clear()
    digests = set()
    for name, key in (("a", "b:c"), ("a:b", "c"), ("", "@1:a:b:c"), ("", "1:a:b:c"), ("", "b:c")):
        digest = {"key": key, "window": 60, "template": "list"}
        digests.add(text(account=name, test=True, digest=digest).digest_id)
    assert len(digests) == 5
