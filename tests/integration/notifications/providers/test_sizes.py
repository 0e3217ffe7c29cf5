"""What a service takes no more of: refused at submission, or ended before the service is called."""

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from notifications.core import errors
from notifications.models import Notification
from notifications.submission import send
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.providers.browser import Browser

# Kind → the most that fits into a text of its own, in Cyrillic letters.
FITS = {
    "twilio": 1600,
    "sns": 1600,
    "telegram": 4096,
    "discord": 2000,
    "slack": 40_000,
    "fcm": 1970,
    "webpush": 1970,
}


@pytest.fixture
def sending(
    account: Callable[..., Any],
    httpserver: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    service_key: str,
    request: pytest.FixtureRequest,
) -> Callable[..., Any]:
    """Return a channel, a recipient and a text's part, with an account of a kind behind it."""
    settings.TEMPLATES_MAX_SMS_SEGMENTS = 100
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True
    here = httpserver.url_for("")
    monkeypatch.setenv("SECRET_A", "s")

    def sending(kind: str) -> Any:
        hook = httpserver.url_for("/api/webhooks/1/a")
        url = {"url": here}
        number, token = "+4366412345678", {"token": "env:SECRET_A"}
        if kind in ("fcm", "webpush"):
            request.getfixturevalue("push_accounts")
            browser = Browser(httpserver.url_for("/browser")).subscription
            return "push", {"fcm": "token-1", "webpush": browser}[kind]
        channel, to, given, secrets = {
            "twilio": (
                *("sms", number),
                {"account_sid": "AC1", "from": "+15005550006", **url},
                {"auth_token": "env:SECRET_A"},
            ),
            "sns": (
                *("sms", number),
                {"region": "eu-central-1", **url},
                {"access_key_id": "env:SECRET_A", "secret_access_key": "env:SECRET_A"},
            ),
            "telegram": ("chat", "1234", url, token),
            "slack": ("chat", "#alerts", url, token),
            "discord": ("chat", hook, {}, {}),
        }[kind]
        account(kind, kind, channel, settings=given, secrets=secrets)
        return channel, to

    return sending


def looping(channel: str) -> None:
    """Publish a template whose length its source and context do not tell."""
    text = "{% for i in range(times) %}Жжжжжжжжжж{% endfor %}"
    parts = {"title": "T", "body": text} if channel == "push" else {"text": text}
    for name, source in (("loop", text), ("plain", "{{ text }}")):
        made = {part: source if value == text else value for part, value in parts.items()}
        template = Template.objects.create(name=name, channel=channel)
        publish(create_version(template, made))


@pytest.mark.parametrize("kind", FITS)
def test_a_text_is_as_long_as_its_service_takes_and_no_longer(
    sending: Callable[..., Any], kind: str, deliver: Callable[..., Any], httpserver: HTTPServer
) -> None:
    channel, to = sending(kind)
    looping(channel)
    most = FITS[kind]
    given = {"channel": channel, "recipient": to}
    assert send(**given, body="Ж" * most)
    assert send(**given, template="plain", context={"text": "Ж" * most})
    with pytest.raises(errors.InvalidField) as refused:
        send(**given, body="Ж" * (most + 100))
    assert (refused.value.field, " take" in str(refused.value)) == ("body", True)
    with pytest.raises(errors.InvalidContext) as refused_context:
        send(**given, template="plain", context={"text": "Ж" * (most + 100)})
    assert refused_context.value.field == "context"
    assert Notification.objects.count() == 2
    # Nobody could tell this one's length without rendering it.
    [row] = deliver(send(**given, template="loop", context={"times": most // 10 + 10}))
    assert (row.status, row.attempts.get().code) == ("failed", "content")
    assert [r.path for r, _ in httpserver.log if r.path != "/token"] == []


@pytest.mark.parametrize(("kind", "text"), [("slack", "&" * 8001), ("discord", "[" * 1001)])
def test_a_text_that_only_its_escapes_make_too_long_is_refused_at_submission(
    sending: Callable[..., Any], kind: str, text: str
) -> None:
    channel, to = sending(kind)
    with pytest.raises(errors.InvalidField) as refused:
        send(channel=channel, recipient=to, body=text)
    assert refused.value.field == "body"
    assert send(channel=channel, recipient=to, body=text[1:])


def test_a_template_without_a_context_that_is_too_long_is_named_itself(
    sending: Callable[..., Any],
) -> None:
    channel, to = sending("telegram")
    template = Template.objects.create(name="long", channel=channel)
    publish(create_version(template, {"text": "Ж" * 4097}))
    with pytest.raises(errors.InvalidContext, match="Telegram takes 4,096") as refused:
        send(channel=channel, recipient=to, template="long")
    assert refused.value.field == "template"


def test_segments_that_a_context_makes_too_many_are_refused_at_submission(
    sending: Callable[..., Any], settings: Settings
) -> None:
    channel, to = sending("twilio")
    settings.TEMPLATES_MAX_SMS_SEGMENTS = 10
    looping(channel)
    with pytest.raises(errors.InvalidContext, match="SMS segments"):
        send(channel=channel, recipient=to, template="plain", context={"text": "😀" * 400})
    with pytest.raises(errors.InvalidContext, match="SMS segments") as refused:
        send(channel=channel, recipient=to, template="plain", context={"text": "Ж" * 680})
    assert refused.value.field == "context"
    assert send(channel=channel, recipient=to, template="plain", context={"text": "Ж" * 660})


def test_a_limit_of_one_segment_holds_for_a_short_context(
    sending: Callable[..., Any], settings: Settings
) -> None:
    channel, to = sending("twilio")
    settings.TEMPLATES_MAX_SMS_SEGMENTS = 1
    looping(channel)
    with pytest.raises(errors.InvalidContext, match="SMS segments"):
        send(channel=channel, recipient=to, template="plain", context={"text": "Ж" * 71})
