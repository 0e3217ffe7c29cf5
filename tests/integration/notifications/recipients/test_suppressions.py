"""Who must not be written to is not, at submission and at the claim."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notifications.core.world import LIVE
from notifications.delivery import claims, in_hand, pipeline, sending
from notifications.models import Notification, Suppression
from notifications.recipients import suppressions
from notifications.recipients.suppressions import Reason, Scope
from notifications.submission import send
from notifications.submission.bulk import send_many
from tests import leftovers
from tests.integration.notifications.providers.templates import published

ADA = "+4366412345678"
LONGER_THAN_THE_TEST = 600.0  # seconds


def test_a_suppressed_recipient_gets_a_row_that_says_why_and_no_message(
    account: Any, text: Any, deliver: Callable[..., Any]
) -> None:
    account("sms-a")
    suppressions.suppress("sms", ADA, Reason.OPERATOR, detail="asked on the phone")
    row = text()
    assert (row.status, row.reason, row.due_at) == ("suppressed", "operator", None)
    [after] = deliver(row)
    assert (after.status, after.attempts.count()) == ("suppressed", 0)


def test_who_is_suppressed_after_the_submission_is_caught_at_the_claim(
    account: Any, text: Any, deliver: Callable[..., Any]
) -> None:
    account("sms-a")
    row = text()
    suppressions.suppress("sms", ADA, Reason.COMPLAINT)
    [after] = deliver(row)
    assert (after.status, after.reason, after.attempt_count) == ("suppressed", "complaint", 0)


def test_it_holds_per_channel_and_whatever_the_case_of_a_mail_address(
    transactional_db: None,
) -> None:
    suppressions.suppress("email", "Ada@Example.org", Reason.HARD_BOUNCE)
    assert suppressions.reason("email", "aDA@example.ORG", marketing=False) == "hard_bounce"
    assert suppressions.reason("sms", "Ada@Example.org", marketing=False) == ""


def test_it_holds_however_an_address_is_spelled(
    account: Any, deliver: Callable[..., Any], transactional_db: None
) -> None:
    account("mail-a", channel="email")
    suppressions.suppress("email", "Jörg@bücher.example", "operator")
    for spelling in ("jörg@xn--bcher-kva.example", "JÖRG@BÜCHER.example\u200b"):
        row = send(channel="email", recipient=spelling, subject="Hi", body="Hello")
        assert (row.status, row.reason) == ("suppressed", "operator")


@pytest.mark.parametrize("written", ['"bob"', r'"b\ob"', r'"\B\o\b"'])
def test_quotes_around_the_name_of_an_address_do_not_evade_it(
    written: str, account: Any, transactional_db: None
) -> None:
    account("mail-a", channel="email")
    suppressions.suppress("email", "Bob@example.org", "operator")
    row = send(channel="email", recipient=f"{written}@example.org", subject="Hi", body="Hello")
    assert (row.status, row.reason) == ("suppressed", "operator")


@pytest.mark.parametrize("is_hashed", [False, True], ids=["kept", "forgotten"])
@pytest.mark.parametrize("written", ["Bob@example.org", '"bob"@example.org'])
def test_one_that_was_kept_in_quotes_holds_and_is_found_and_lifted(
    written: str, is_hashed: bool, transactional_db: None
) -> None:
    kept = '"bob"@example.org'
    kept = suppressions.hashes("email", kept)[0] if is_hashed else kept
    Suppression.objects.create(channel="email", recipient=kept, reason=Reason.UNSUBSCRIBED)
    assert suppressions.reason("email", written, marketing=False) == "unsubscribed"
    assert Suppression.objects.filter(suppressions.whose([written])).count() == 1
    if not is_hashed:
        scope = Scope.EVERYTHING
        assert suppressions.lift_unsubscribed("email", written, scope=scope, world=LIVE) == 1


def test_lifted_it_lets_messages_pass_and_stays_as_history(
    account: Any, text: Any, deliver: Callable[..., Any], admin_user: User
) -> None:
    account("sms-a")
    suppressions.suppress("sms", ADA, Reason.OPERATOR)
    assert suppressions.lift(Suppression.objects.all(), by=admin_user) == 1
    [row] = deliver(text())
    assert row.status == "sent"
    kept = Suppression.objects.get()
    assert kept.lifted_by == admin_user
    suppressions.suppress("sms", ADA, Reason.OPERATOR)  # and again
    assert text().status == "suppressed"


def test_a_second_suppression_keeps_the_first_reason(transactional_db: None) -> None:
    suppressions.suppress("sms", ADA, Reason.COMPLAINT)
    suppressions.suppress("sms", ADA, Reason.OPERATOR)
    assert Suppression.objects.get().reason == "complaint"


def test_a_dead_recipient_is_suppressed_with_the_outcome_that_said_so(
    account: Any, text: Any, deliver: Callable[..., Any]
) -> None:
    account("sms-a", settings={"behaviour": "result=invalid&code=21211"})
    [row] = deliver(text())
    assert (row.status, row.reason) == ("failed", "invalid_recipient")
    kept = Suppression.objects.get()
    assert (kept.reason, kept.source, kept.notification_id) == ("hard_bounce", "sms-a", row.id)
    assert text().status == "suppressed"


def test_an_unregistered_device_suppresses_its_token(
    account: Any, deliver: Callable[..., Any], transactional_db: None
) -> None:
    account("push-a", channel="push", settings={"behaviour": "result=invalid"})
    deliver(send(channel="push", recipient="token-1", body="Hi"))
    assert Suppression.objects.get().reason == Reason.INVALID_TOKEN
    assert send(channel="push", recipient="token-1", body="Hi").status == "suppressed"


def test_who_unsubscribed_gets_no_marketing_but_receipts_for_payments(
    account: Any, deliver: Callable[..., Any]
) -> None:
    account("mail-a", channel="email")
    published("news", "marketing")
    published("receipt", "transactional")
    suppressions.suppress("email", "ada@example.org", Reason.UNSUBSCRIBED, scope=Scope.MARKETING)
    rows = [
        send(channel="email", recipient="ada@example.org", template=name)
        for name in ("news", "receipt")
    ]
    assert [row.status for row in rows] == ["suppressed", "queued"]
    assert deliver(rows[1])[0].status == "sent"


def test_who_is_suppressed_after_the_acceptance_is_caught_at_the_claim(
    account: Any, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a slow machine would ask and write while it delivers is not what is counted here.
    monkeypatch.setattr(in_hand, "LOOK_EVERY", LONGER_THAN_THE_TEST)
    monkeypatch.setattr(sending, "RECORD_AFTER", LONGER_THAN_THE_TEST)
    account("sms-a")
    numbers = [f"+43664{n:08}" for n in range(60)]

    def queries(*chosen: Any) -> int:
        send_many([{"recipient": recipient} for recipient in chosen], channel="sms", body="Hello")
        for number in {*chosen} & {*numbers[:40]}:
            suppressions.suppress("sms", number, Reason.COMPLAINT)
        claimed = claims.claim_due("sms", "medium", 100)
        assert len(claimed) == len(chosen)
        leftovers.forget()  # what a slow machine would have read anew in one of the two alone
        with CaptureQueriesContext(connection) as captured:
            pipeline.deliver(claimed, worker="test")
        return len(captured)

    # A single outcome goes by a statement of its own, which is not captured: hence two.
    few = queries(*numbers[:2], *numbers[40:42])
    assert queries(*numbers[2:40], *numbers[42:]) <= few  # however many they are
    ended = Notification.objects.filter(status="suppressed")
    assert {row.recipient for row in ended} == set(numbers[:40])
    assert {(row.reason, row.attempt_count) for row in ended} == {("complaint", 0)}
    sent = Notification.objects.filter(status="sent")
    assert {row.recipient for row in sent} == set(numbers[40:])


def test_while_a_channel_has_none_nothing_is_asked(
    text: Any, django_assert_num_queries: Callable[..., Any]
) -> None:
    text()  # looks once
    with django_assert_num_queries(0):
        assert suppressions.among("sms", {ADA}) == {}
