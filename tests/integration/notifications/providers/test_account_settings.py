"""An account's settings and secrets: refused with a hint, or passed over."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django import Settings

from notifications.models import (
    Notification,
    ProviderAccount,
)
from notifications.providers import accounts
from tests.integration.notifications.providers.attempts import attempts


def test_secrets_come_from_the_environment_or_a_file(
    account: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    settings: Settings,
) -> None:
    settings.SECRETS_DIR = str(tmp_path)
    (tmp_path / "secret").write_text("from a file\n")
    monkeypatch.setenv("SECRET_A_TOKEN", "from the environment")
    account("chat-a", "slack", "chat", secrets={"token": "env:SECRET_A_TOKEN"})
    account("chat-b", "slack", "chat", secrets={"token": f"file:{tmp_path}/secret"})
    found = {c.name: c.account.secrets["token"] for c in accounts.candidates("chat")}
    assert found == {"chat-a": "from the environment", "chat-b": "from a file"}
    assert "from" not in repr(accounts.candidates("chat")[0].account)


def test_an_account_of_an_older_release_is_told_how_to_name_its_secret(
    account: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setenv("TWILIO_TOKEN", "12345")
    account("sms-a", secrets={"token": "env:TWILIO_TOKEN"})
    [candidate] = accounts.candidates("sms")
    assert "SECRET_TWILIO_TOKEN" in candidate.problem
    assert "12345" not in candidate.problem
    settings.SECRETS_NAMES = ["TWILIO_TOKEN"]
    accounts.forget()
    assert accounts.candidates("sms")[0].account.secrets == {"token": "12345"}


def test_an_account_whose_secret_is_missing_is_passed_over(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("sms-a", secrets={"token": "env:SECRET_NOT_SET_ANYWHERE"})
    account("sms-b")
    assert {row.provider for row in deliver(*(text() for _ in range(10)))} == {"sms-b"}


def test_an_account_that_cannot_be_made_fails_over(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("sms-a", kind="twilio")  # nothing of what it needs
    account("sms-b", weight=0)
    [row] = deliver(text())
    assert attempts(row) == [(1, "sms-a", "transient"), (2, "sms-b", "sent")]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"kind": "pigeon"}, "There is no provider 'pigeon'"),
        ({"kind": "smtp"}, "smtp carries email"),
        ({"kind": "twilio"}, "account_sid is missing"),
        ({"settings": {"behavior": ""}}, "There is no 'behavior'"),
        ({"settings": []}, "It must be a JSON object"),
        *(
            ({"channel": "email", "kind": "anymail", **fields}, complaint)
            for fields, complaint in (
                (
                    {"settings": {"return_path": "b@b.example"}},
                    "The service takes bounces itself, and tells of them by its callbacks",
                ),
                ({"settings": {"dkim_selector": "s"}}, "The service signs the mail"),
                ({"secrets": {"dkim_key": "env:SECRET_X"}}, "The service signs the mail"),
            )
        ),
        ({"rate_limit": "fast"}, "Write a rate like"),
        ({"kind": "twilio", "secrets": {"auth_token": "s3cret"}}, "Write env:NAME"),
        ({"name": "No Spaces"}, "lower-case letters"),
        *(
            ({"channel": "email", "kind": kind, "settings": {"from": sender, **more}}, "from: ")
            for kind, more in (("smtp", {}), ("anymail", {"service": "postmark"}))
            for sender in ("Shop <>", "Shop", "Shop\nBcc: x@y.example <a@b.example>", 7)
        ),
        (
            {
                "channel": "email",
                "kind": "smtp",
                "settings": {"from": "a@b.example", "ehlo": "box"},
            },
            "ehlo must be a full host name",
        ),
        *(
            ({"channel": "email", "kind": kind, "settings": {**more, **settings}}, complaint)
            for kind, more in (
                ("smtp", {"from": "a@b.example"}),
                ("anymail", {"from": "a@b.example", "service": "postmark"}),
            )
            for settings, complaint in (
                ({"list_domain": "no domain"}, "list_domain: "),
                (
                    {"list_domain": "Lists.example"},
                    "list_domain: It must be a domain name in lower",
                ),
                ({"feedback_id": "a:b:c"}, "feedback_id: It must have 5 to 15 letters"),
                ({"feedback_id": 7}, "feedback_id: It must be text"),
            )
        ),
        *(
            ({"kind": kind, "settings": {**more, "senders": senders}}, f"senders: {complaint}")
            for kind, more in (
                ("twilio", {"account_sid": "AC1", "from": "+15005550006"}),
                ("sns", {"region": "eu-central-1"}),
            )
            for senders, complaint in (
                ("+43=Shop", "It must be an object"),
                ({"43": "Shop"}, "'43' is not the start of an E.164 number"),
                ({"+43": "A name that is too long"}, "The sender for '\\+43' must be a number"),
                ({"+43": None}, "The sender for '\\+43' must be a number"),
            )
        ),
        *(
            ({"kind": "twilio", "settings": {"account_sid": "AC1", "from": sender}}, "from: ")
            for sender in ("A shop with a long name", "", "+43 664", "Müller", "a\nb", 7, None)
        ),
        *(
            ({"kind": "sns", "settings": {"region": "eu-central-1", **wrong}}, f"{name}: ")
            for name, wrong in (
                ("sender_id", {"sender_id": "Shop & Co"}),
                ("sender_id", {"sender_id": "12"}),
                ("sms_type", {"sms_type": "transactional"}),
            )
        ),
        *(
            (
                {"channel": "push", "kind": "webpush", "settings": {"subject": subject}},
                "subject: ",
            )
            for subject in (
                *("push@example.org", "mailto:", "mailto:ada", "mailto:jörg@example.org"),
                *("https://example.org/contact", "https://", "http://example.org", "", 7),
            )
        ),
    ],
)
def test_an_account_that_makes_no_sense_is_refused_with_a_hint(
    db: None, fields: Any, complaint: Any
) -> None:
    row = ProviderAccount(**{"name": "a", "channel": "sms", "kind": "simulator", **fields})
    with pytest.raises(ValidationError, match=complaint) as refused:
        row.full_clean()
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "channel", "name", "value"),
    [
        ("smtp", "email", "url", "smtp://user:hush/hush@host:x"),
        ("webpush", "push", "vapid_private_key", "hush"),
        ("fcm", "push", "service_account", '{"private_key": "hush"}'),
        ("fcm", "push", "service_account", "/hush.json"),
        ("apprise", "chat", "url", "syslog://hush"),
        ("webhook", "webhook", "signing", "whsec_"),
        ("discord", "chat", "url", "discord.com/api/webhooks/hush"),
        ("teams", "chat", "url", "https://hush:hush@x.example/{recipient}"),
    ],
)
def test_a_secret_that_cannot_be_used_is_refused_and_its_account_passed_over(
    account: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    channel: str,
    name: str,
    value: str,
) -> None:
    monkeypatch.setenv("SECRET_A", value)
    row = account("a", kind, channel, secrets={name: "env:SECRET_A"})
    with pytest.raises(ValidationError, match=f"{name}: It") as refused:
        row.full_clean()
    assert "hush" not in str(refused.value)
    assert accounts.candidate_of(row).problem.startswith(f"{name}: It")
