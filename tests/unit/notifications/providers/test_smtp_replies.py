"""Whose fault a mail server's refusal is, as a table."""

from typing import Any

import pytest

from notifications.core.errors import (
    AccountRefused,
    InvalidRecipient,
    PermanentError,
    TransientError,
)
from notifications.providers.smtp_replies import Phase, refusal

SESSION, MAIL, RCPT, CONTENT = Phase.SESSION, Phase.MAIL, Phase.RCPT, Phase.CONTENT


@pytest.mark.parametrize(
    ("phase", "code", "text"),
    [
        (SESSION, 554, "No SMTP service here"),
        (SESSION, 535, "5.7.8 Authentication credentials invalid"),
        (SESSION, 454, "4.7.0 TLS not available"),
        (MAIL, 530, "5.7.0 Must issue a STARTTLS command first"),
        (MAIL, 530, "5.7.1 Authentication required"),
        (MAIL, 550, "5.1.8 <a@b.example>: Sender address rejected: Domain not found"),
        (MAIL, 553, "5.7.1 Not owned by user"),
        (RCPT, 504, "5.5.2 <box>: Helo command rejected: need fully-qualified hostname"),
        (RCPT, 454, "4.7.1 <x@y.example>: Relay access denied"),
        (RCPT, 554, "5.7.1 <x@y.example>: Relay access denied"),
        (RCPT, 554, "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using rbl"),
        (RCPT, 550, "5.7.26 This mail is unauthenticated"),
        (RCPT, 550, "5.7.25 The sending IP has no PTR record"),
        (RCPT, 550, "5.7.60 SMTP; Client does not have permissions to send as this sender"),
        (RCPT, 421, "4.7.0 Try again later"),
        (CONTENT, 550, "5.7.23 SPF validation failed"),
        (CONTENT, 554, "Message rejected: Email address is not verified"),
        (CONTENT, 452, "4.3.1 Insufficient system storage"),
    ],
)
def test_what_is_about_us_is_the_accounts_fault_and_no_recipients(
    phase: Any, code: int, text: str
) -> None:
    error = refusal(code, text, phase)
    assert type(error) is AccountRefused
    assert not error.local


@pytest.mark.parametrize("detail", ["1", "2", "3", "6", "10"])
def test_an_address_that_does_not_exist_is_dead(detail: str) -> None:
    error = refusal(550, f"5.1.{detail} <relay@sender.example> unknown", RCPT)
    assert isinstance(error, InvalidRecipient)
    assert error.local


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (550, "No such user", PermanentError),
        (552, "5.2.2 Mailbox full", PermanentError),
        (
            550,
            "5.7.1 <ip@b.de>: Recipient address rejected: Access denied",
            PermanentError,
        ),
        (504, "5.5.2 <x@y>: Recipient address rejected: need fully-qualified", PermanentError),
        (550, "5.7.17 Mailbox owner has changed", PermanentError),
        (450, "4.2.0 Greylisted", TransientError),
        (451, "4.7.1 Try later", TransientError),
    ],
)
def test_what_is_about_the_recipient_is_its_own(code: int, text: str, kind: Any) -> None:
    error = refusal(code, text, RCPT)
    assert type(error) is kind
    assert error.local
    assert not error.elsewhere or "Access denied" in text


@pytest.mark.parametrize(
    ("phase", "code", "text"),
    [
        (CONTENT, 554, "5.6.0 Spam"),
        (CONTENT, 552, "5.3.4 Message too big"),
        (CONTENT, 554, "5.7.1 Rejected by policy"),
        (MAIL, 552, "5.3.4 Message size exceeds fixed limit"),
        (RCPT, 550, "5.7.1 Not you"),
    ],
)
def test_another_account_may_take_a_message_that_one_refuses(
    phase: Any, code: int, text: str
) -> None:
    error = refusal(code, text, phase)
    assert type(error) is PermanentError
    assert error.elsewhere
