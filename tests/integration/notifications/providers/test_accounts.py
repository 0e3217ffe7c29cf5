"""Provider accounts as rows, and failover between them."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from notifications.canvas import deliveries
from notifications.channels.base import Account
from notifications.channels.outgoing import Reach
from notifications.core.attempt import Outcome, Report, Result
from notifications.core.errors import NoProvider
from notifications.delivery import claims, outcomes
from notifications.models import (
    AccountRule,
    Notification,
    ProviderAccount,
    Suppression,
)
from notifications.monitoring import overview, timeline
from notifications.monitoring.diagnosis import delivery as diagnosis
from notifications.providers import accounts, health
from notifications.providers.health import Tally
from notifications.submission import send
from tests.integration.notifications.providers.attempts import attempts
from tests.servers.smtp import SmtpServer


def test_without_an_account_a_channel_goes_to_the_outbox(
    text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    [row] = deliver(text())
    assert (row.status, row.provider) == ("sent", "outbox")
    assert row.outbox_message.recipient == "+4366412345678"


def test_without_an_account_and_without_the_outbox_it_is_refused(
    transactional_db: None, settings: Settings
) -> None:
    settings.OUTBOX = False
    with pytest.raises(NoProvider, match="Add a provider account"):
        send(channel="sms", recipient="+4366412345678", body="Hello")
    assert Notification.objects.count() == 0


def test_a_disabled_account_pauses_its_channel_and_spends_no_attempt(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("sms-a", enabled=False)
    [row] = deliver(text())
    assert (row.status, row.reason, row.attempt_count) == ("scheduled", "no_provider", 0)
    assert deliveries.deliver_one(text().pk, worker="test") == "deferred"


def test_a_change_is_seen_without_a_restart(
    account: Callable[..., Any],
    text: Callable[..., Notification],
    deliver: Callable[..., Any],
    wait_until: Callable[..., Any],
) -> None:
    row = account("sms-a")
    assert deliver(text())[0].provider == "sms-a"
    ProviderAccount.objects.filter(pk=row.pk).update(name="renamed")
    wait_until(lambda: accounts.candidates("sms")[0].name == "renamed")
    assert accounts.FRESH_SECONDS < 2


def test_a_provider_is_made_anew_when_its_account_changes(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    row = account("sms-a", settings={"behaviour": "result=permanent"})
    assert deliver(text())[0].status == "failed"
    row.settings = {}
    row.save()
    accounts.forget()
    assert deliver(text())[0].status == "sent"


def test_rules_choose_by_priority_and_country(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("rest")
    urgent = account("urgent")
    austria = account("austria")
    AccountRule.objects.create(account=urgent, priority="high")
    AccountRule.objects.create(account=austria, country_prefix="+43")
    accounts.forget()
    rows = deliver(
        text(), text(priority="high", recipient="+15005550006"), text(recipient="+4916012345678")
    )
    assert [row.provider for row in rows] == ["austria", "urgent", "rest"]
    assert rows[0].attempts.get().choice == "rule"


def test_a_transient_failure_goes_on_to_the_next_provider_at_once(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("sms-a", settings={"behaviour": "result=transient&code=503"})
    account("sms-b", weight=0)
    [row] = deliver(text(retry={"max_attempts": 1}))
    assert (row.status, row.provider, row.failover_count) == ("sent", "sms-b", 1)
    assert attempts(row) == [(1, "sms-a", "transient"), (2, "sms-b", "sent")]
    assert row.attempts.get(number=2).choice == "100% by weight; after sms-a"


def test_what_is_about_an_account_goes_by_another_and_opens_its_breaker(
    account: Callable[..., Any],
    deliver: Callable[..., Any],
    make_smtp_server: Callable[..., SmtpServer],
    monkeypatch: pytest.MonkeyPatch,
    transactional_db: None,
) -> None:
    refusing, working = make_smtp_server(), make_smtp_server()
    monkeypatch.setenv("SECRET_REFUSING", refusing.url)
    monkeypatch.setenv("SECRET_WORKING", working.url)
    sender = {"from": "shop@example.org"}
    account("mail-a", "smtp", "email", settings=sender, secrets={"url": "env:SECRET_REFUSING"})
    account(
        "mail-b", "smtp", "email", settings=sender, secrets={"url": "env:SECRET_WORKING"}, weight=0
    )
    mails = []
    for n in range(health.TRIP_AFTER + 1):
        recipient = f"user{n}@example.org"
        refusing.answer(recipient, itertools.repeat("554 5.7.1 Relay access denied"))
        mails.append(send(channel="email", recipient=recipient, subject="Hi", body="Hello"))
    rows = deliver(*mails)
    assert {(row.status, row.provider) for row in rows} == {("sent", "mail-b")}
    assert len(working.messages) == len(rows)
    assert health.healths(["mail-a"])["mail-a"].open_until
    assert not Suppression.objects.exists()


def test_when_all_have_failed_the_retry_policy_counts_one_attempt(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    for name in "abc":
        account(f"sms-{name}", settings={"behaviour": "result=transient"})
    [row] = deliver(text(retry={"max_attempts": 2}))
    assert (row.status, row.attempt_count, row.failover_count) == ("scheduled", 3, 2)


def test_permanent_and_unknown_outcomes_do_not_fail_over(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    for result, status in (("permanent", "failed"), ("unknown", "scheduled")):
        ProviderAccount.objects.all().delete()
        account("sms-a", settings={"behaviour": f"result={result}"})
        account("sms-b", weight=0)
        [row] = deliver(text())
        assert (row.status, len(attempts(row))) == (status, 1)


def test_a_retry_goes_to_the_account_that_has_not_failed_it_yet(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    for name in "abc":
        account(f"sms-{name}", settings={"behaviour": "result=unknown"})
    row = text(priority="high")
    for _ in range(3):
        Notification.objects.filter(pk=row.pk).update(due_at=row.created_at)
        deliver(row)
    assert {a.provider for a in row.attempts.all()} == {"sms-a", "sms-b", "sms-c"}


def test_a_worker_that_dies_during_a_failover_leaves_a_row_that_is_due(
    account: Callable[..., Any], text: Callable[..., Notification]
) -> None:
    account("sms-a", settings={"behaviour": "result=transient"})
    account("sms-b")
    row = text()
    [claim] = claims.claim([row.id])
    outcomes.record(
        [Report(claim, Outcome(Result.TRANSIENT), "sms-a", timezone.now(), another=True)],
        worker="dies here",
    )
    [again] = claims.claim_due("sms", "medium", 10)
    assert (again.id, again.attempt, again.failovers) == (row.id, 2, 1)


def test_an_account_that_keeps_failing_rests_and_its_rows_wait_without_spending(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("sms-a", settings={"behaviour": "result=transient"})
    rows = deliver(*(text() for _ in range(12)))
    spent = [row for row in rows if row.attempt_count]
    assert len(spent) == health.TRIP_AFTER
    assert {row.reason for row in rows if not row.attempt_count} == {"no_provider"}
    health.forget()  # as another process
    words = "451 The simulator is busy."
    [seen] = [provider for provider in overview.providers() if provider.channel == "sms"]
    assert (seen.state, seen.last_error) == ("circuit open after failures", words)
    trouble = f"The account sms-a (sms): circuit open after failures; the last: {words}"
    assert trouble in overview.read().troubles
    since = seen.failing_since
    assert since is not None
    health.report("sms-a", Tally(bad=1, trailing=1))
    [seen] = [provider for provider in overview.providers() if provider.channel == "sms"]
    assert seen.failing_since == since  # the first failure in a row, not the last
    [finding] = diagnosis.open_circuits()
    assert (finding.problem, finding.is_error) == (seen.trouble, True)
    told = {event.title: event.detail for event in timeline.of(rows[-1])}
    assert told["Until then the account sms-a has an open circuit"] == f"its last error: {words}"


def test_what_an_account_said_names_nobody(account: Callable[..., Any]) -> None:
    said = "451 4.7.1 <ada@example.org>: try later, not +43 664 1234567 of message 4711-ab"
    health.report("sms-a", Tally(bad=1, trailing=1, error=said))
    words = health.last_errors(["sms-a", "sms-b"])["sms-a"].words
    assert words == "451 4.7.1 … try later, not … of message 4711-ab"


def test_a_rested_account_gets_one_probe_and_is_back_when_it_succeeds(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    row = account("sms-a", settings={"behaviour": "result=transient"})
    deliver(*(text() for _ in range(6)))
    row.settings = {}
    row.save()
    accounts.forget()
    health._set("sms-a", {health.OPEN_UNTIL: 1.0})  # its cooldown is over
    health._read.clear()
    rows = deliver(*(text() for _ in range(5)))
    assert sorted(row.status for row in rows) == ["scheduled"] * 4 + ["sent"]
    assert {r.status for r in deliver(*(text() for _ in range(3)))} == {"sent"}


def test_what_one_worker_learns_all_know(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("sms-a")
    health.report("sms-a", Tally(bad=5, trailing=5))
    health.forget()  # as another process
    [row] = deliver(text())
    assert row.reason == "no_provider"


def test_without_redis_each_worker_learns_by_itself(
    account: Callable[..., Any],
    text: Callable[..., Notification],
    deliver: Callable[..., Any],
    settings: Settings,
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    account("sms-a", settings={"behaviour": "result=transient"})
    account("sms-b", weight=0)
    rows = deliver(*(text() for _ in range(20)))
    assert {row.status for row in rows} == {"sent"}
    assert sum(row.failover_count for row in rows) == health.TRIP_AFTER


def test_a_recipients_own_trouble_does_not_rest_the_provider(
    account: Callable[..., Any], deliver: Callable[..., Any], transactional_db: None
) -> None:
    account("sim", channel="simulator")
    bad = [
        send(channel="simulator", recipient="ada?result=transient", body="Hi") for _ in range(10)
    ]
    deliver(*bad)
    [good] = deliver(send(channel="simulator", recipient="ada", body="Hi"))
    assert good.status == "sent"


def test_the_expiry_bounds_the_providers_time(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("sms-a", settings={"behaviour": "result=hang"})
    [row] = deliver(text(expires=timezone.now() + timedelta(seconds=1)))
    assert (row.status, row.reason) == ("expired", "expires_before_retry")


def test_the_default_accounts_are_those_of_the_settings(
    transactional_db: None, settings: Settings
) -> None:
    settings.EMAIL_URL = "smtp://127.0.0.1:25"
    settings.OUTBOX = False
    assert accounts.candidates("email")[0].account == Account(
        *("smtp", "email", "smtp", {"from": settings.EMAIL_FROM}, {"url": settings.EMAIL_URL}),
        reach=Reach.SETTINGS,
    )
    settings.EMAIL_RETURN_PATH = "bounces@shop.example"
    settings.EMAIL_DKIM_KEY, settings.EMAIL_DKIM_SELECTOR = "a key", "s1"
    signing = accounts.candidates("email")[0].account
    assert signing.settings.items() >= {
        ("return_path", "bounces@shop.example"),
        ("dkim_selector", "s1"),
    }
    assert signing.secrets["dkim_key"] == "a key"
    assert [accounts.candidates(c)[0].name for c in ("webhook", "callback", "simulator")] == [
        "webhook",
        "callback",
        "simulator",
    ]
    assert accounts.candidates("push") == ()
