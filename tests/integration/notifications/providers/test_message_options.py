"""What a message tells its provider beside its content, seen in what arrives."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from notifications.core import errors
from notifications.models import FailedDelivery, Notification, OutboxMessage
from notifications.operations.replays import resend
from notifications.submission import send
from templates_engine.errors import InvalidTemplate
from templates_engine.models import Template, TemplateVersion
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.providers.browser import Browser

IMAGE = "https://shop.example/i/7.png"


@pytest.fixture
def browser(httpserver: HTTPServer) -> Browser:
    return Browser(httpserver.url_for("/browser"))


def push(recipient: str, **options: Any) -> Notification:
    return send(
        channel="push", recipient=recipient, subject="S", body="B", expires=600, options=options
    )


def at(httpserver: HTTPServer, path: Any) -> Any:
    return [request for request, _ in httpserver.log if request.path == path][-1]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, {"Ttl": "600"}),
        ({"ttl": 0}, {"Ttl": "0"}),
        ({"ttl": 90, "urgency": "very-low"}, {"Ttl": "90", "Urgency": "very-low"}),
        ({"topic": "order-7"}, {"Topic": "order-7"}),
        ({"priority": "high", "collapse_key": "order-7"}, {"Urgency": "high", "Topic": "order-7"}),
        ({"urgency": "low", "priority": "high"}, {"Urgency": "low"}),
    ],
)
def test_web_push_is_told_how_urgent_a_message_is_and_which_it_replaces(
    push_accounts: None,
    browser: Browser,
    deliver: Callable[..., Any],
    httpserver: HTTPServer,
    options: dict[str, Any],
    told: dict[str, Any],
) -> None:
    [row] = deliver(push(browser.subscription, **options))
    assert row.status == "sent"
    headers = at(httpserver, "/browser").headers
    arrived = {name: headers.get(name) for name in ("Ttl", "Urgency", "Topic")}
    ttl = arrived.pop("Ttl")
    assert abs(int(ttl) - int(told.pop("Ttl", "600"))) <= 30
    assert {name: value for name, value in arrived.items() if value} == told


def test_web_push_shows_an_image_and_a_long_collapse_key_has_one_topic(
    push_accounts: None, browser: Browser, deliver: Callable[..., Any], httpserver: HTTPServer
) -> None:
    topics = []
    for key in ("order 7 of " + "a" * 50, "order 7 of " + "a" * 50, "order 8 of " + "a" * 50):
        deliver(push(browser.subscription, collapse_key=key, image=IMAGE))
        request = at(httpserver, "/browser")
        topics.append(request.headers["Topic"])
    assert topics[0] == topics[1] != topics[2]
    assert {len(topic) for topic in topics} == {32}
    assert browser.read(request.data) == {"title": "S", "body": "B", "image": IMAGE}


def test_fcm_is_told_the_same_for_every_kind_of_device(
    push_accounts: None, deliver: Callable[..., Any], httpserver: HTTPServer
) -> None:
    options = {"ttl": 90, "priority": "high", "collapse_key": "order 7", "image": IMAGE}
    deliver(push("token-1", **options))
    sent = at(httpserver, "/v1/projects/shop/messages:send").json["message"]
    assert sent["notification"] == {"title": "S", "body": "B", "image": IMAGE}
    assert sent["android"] == {"ttl": "90s", "priority": "HIGH", "collapse_key": "order 7"}
    expiration = sent["apns"]["headers"].pop("apns-expiration")
    assert abs(int(expiration) - time.time() - 90) < 30
    assert sent["apns"] == {
        "headers": {"apns-priority": "10", "apns-collapse-id": "order 7"},
        "payload": {"aps": {"mutable-content": 1}},
        "fcm_options": {"image": IMAGE},
    }
    assert (sent["webpush"]["headers"]["Urgency"], "data" in sent) == ("high", False)
    deliver(push("token-1", urgency="very-low", topic="order-7"))
    sent = at(httpserver, "/v1/projects/shop/messages:send").json["message"]
    assert sent["android"].items() >= {"priority": "NORMAL", "collapse_key": "order-7"}.items()
    assert sent["webpush"]["headers"].items() >= {"Urgency": "very-low", "Topic": "order-7"}.items()


WRONG = [
    *(("ttl", value) for value in (-1, 2_419_201, 1.5, "60", True, None)),
    *(("urgency", value) for value in ("urgent", "", None, 1, ["high"])),
    *(("topic", value) for value in ("", "a" * 33, "order 7", "ä", "a\n", 7)),
    *(("collapse_key", value) for value in ("", " ", "a" * 65, "ä", "a\r\nb", 7)),
    *(("priority", value) for value in ("low", "HIGH", 1)),
    *(("image", value) for value in ("http://a.example/x", "/x.png", "https://", "x" * 9, 7)),
    ("image", "https://a.example/" + "x" * 2000),
    ("colour", "red"),
    ("blocks", [{"type": "divider"}]),
]


def test_an_option_that_push_does_not_take_is_refused_by_name(push_accounts: None) -> None:
    for name, value in WRONG:
        with pytest.raises(errors.InvalidField) as refused:
            push("token-1", **{name: value})
        assert refused.value.field == f"options.{name}", (name, value)
    assert not Notification.objects.exists()


def test_a_channel_without_options_says_so(account: Callable[..., Any]) -> None:
    channels: list[tuple[Any, str]] = [
        ("sms", "+4366412345678"),
        ("email", "ada@example.org"),
        ("webhook", "https://a.example"),
        ("simulator", "ada"),
    ]
    for channel, to in channels:
        account(f"any-{channel}", channel=channel)
        with pytest.raises(errors.InvalidField, match="no option 'ttl'") as refused:
            send(channel=channel, recipient=to, body="B", options={"ttl": 5})
        assert refused.value.field == "options.ttl"


def test_an_option_that_no_account_of_the_recipient_carries_is_refused(
    account: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TEAM", "json://127.0.0.1/{recipient}")
    account("team-a", "apprise", "push", secrets={"url": "env:SECRET_TEAM"})
    with pytest.raises(errors.InvalidField, match="carries the option") as refused:
        push("token-1", ttl=5)
    assert refused.value.field == "options.ttl"


def test_an_image_counts_for_the_size_that_a_push_may_have(push_accounts: None) -> None:
    near: dict[str, Any] = {
        "channel": "push",
        "recipient": "token-1",
        "subject": "S",
        "body": "b" * 3900,
    }
    assert send(**near)
    with pytest.raises(errors.InvalidField, match="FCM takes 4000"):
        send(**near, options={"image": "https://a.example/" + "x" * 100})


def test_options_are_part_of_what_was_asked_for(
    push_accounts: None, deliver: Callable[..., Any], httpserver: HTTPServer
) -> None:
    asked: dict[str, Any] = {
        "channel": "push",
        "recipient": "token-1",
        "body": "B",
        "idempotency_key": "7",
    }
    first = send(**asked, options={"ttl": 90})
    assert send(**asked, options={"ttl": 90}).id == first.id
    with pytest.raises(errors.IdempotencyConflict):
        send(**asked)
    [row] = deliver(first)
    again = resend(row)
    assert again.options == {"ttl": 90}
    assert not FailedDelivery.objects.exists()


# --- Slack's blocks -----------------------------------------------------------------------


@pytest.fixture
def slack_account(
    account: Callable[..., Any], httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_SLACK", "xoxb-1")
    url = {"url": httpserver.url_for("")}
    account("slack-a", "slack", "chat", settings=url, secrets={"token": "env:SECRET_SLACK"})
    httpserver.expect_request("/api/chat.postMessage").respond_with_json(
        {"ok": True, "channel": "C1", "ts": "1"}
    )


BLOCKS = """[
  {"type": "header", "text": {"type": "plain_text", "text": "Order {{ order }}"}},
  {"type": "section", "text": {"type": "mrkdwn", "text": "*{{ name }}* <{{ url }}|ordered>"}},
  {% for item in items %}
  {"type": "context", "elements": [{"type": "mrkdwn", "text": {{ item|tojson }}}]},
  {% endfor %}
  {"type": "actions", "elements": [{"type": "button", "url": {{ url|tojson }},
    "value": "{{ name }}", "text": {"type": "plain_text", "text": "Open"}}]}
]"""


def blocks_template(blocks: Any, sample: Any = None) -> TemplateVersion:
    template, _ = Template.objects.get_or_create(name="order", defaults={"channel": "chat"})
    parts = {"text": "Order {{ order }} of {{ name }}", "blocks": blocks}
    return publish(create_version(template, parts, sample_context=sample))


def test_slack_shows_a_templates_blocks_in_which_no_value_is_markup(
    slack_account: None, deliver: Callable[..., Any], httpserver: HTTPServer
) -> None:
    blocks_template(BLOCKS)
    context = {
        "order": 7,
        "name": 'Eve "<!channel>" \\ & co\n',
        "url": "https://shop.example/?a=1&b=2",
        "items": ["<https://evil.example|Sign in>", "Ünï 🧑🏽‍🚀"],
    }
    [row] = deliver(send(channel="chat", recipient="#orders", template="order", context=context))
    assert row.status == "sent"
    arrived = at(httpserver, "/api/chat.postMessage").json
    name = 'Eve "&lt;!channel&gt;" \\ &amp; co\n'
    assert arrived["text"] == f"Order 7 of {name}".strip()
    assert arrived["blocks"] == [
        {"type": "header", "text": {"type": "plain_text", "text": "Order 7"}},
        {
            "type": "section",
            "text": {
                "type": "mrkdwn",
                "text": f"*{name}* <https://shop.example/?a=1&amp;b=2|ordered>",
            },
        },
        {
            "type": "context",
            "elements": [{"type": "mrkdwn", "text": "&lt;https://evil.example|Sign in&gt;"}],
        },
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "Ünï 🧑🏽‍🚀"}]},
        {
            "type": "actions",
            "elements": [
                {
                    "type": "button",
                    "url": context["url"],
                    "value": context["name"],
                    "text": {"type": "plain_text", "text": "Open"},
                }
            ],
        },
    ]


def test_a_callers_own_blocks_reach_slack_as_they_are(
    slack_account: None, deliver: Callable[..., Any], httpserver: HTTPServer
) -> None:
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "<https://a.example|A> & b"}}]
    options = {"blocks": blocks}
    deliver(send(channel="chat", recipient="#orders", body="A <b>", options=options))
    arrived = at(httpserver, "/api/chat.postMessage").json
    assert (arrived["blocks"], arrived["text"]) == (blocks, "A &lt;b&gt;")


def section(text: str) -> dict[Any, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


REFUSED = [
    ([section("x")] * 51, "51 blocks"),
    ([], "not empty"),
    ({"type": "divider"}, "list"),
    ([section("x" * 3001)], "blocks[0].text.text has 3,001"),
    ([section("")], "blocks[0].text.text must be text"),
    ([{"type": "section"}], "needs text or fields"),
    ([{"type": "section", "fields": [{"type": "mrkdwn", "text": "x"}] * 11}], "11 items"),
    (
        [{"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * 2001}]}],
        "blocks[0].fields[0].text has 2,001",
    ),
    ([{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}], "151"),
    ([{"type": "divider", "block_id": "x" * 256}], "block_id has 256"),
    ([{"type": "divider", "block_id": "x"}] * 2, "same block_id"),
    ([{"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11}], "11 items"),
    ([{"type": "actions", "elements": [{"type": "button"}] * 26}], "26 items"),
    (
        [
            {
                "type": "actions",
                "elements": [{"type": "button", "text": {"type": "plain_text", "text": "x" * 76}}],
            }
        ],
        "blocks[0].elements[0].text.text has 76",
    ),
    ([{"type": "image", "alt_text": "x"}], "needs image_url or slack_file"),
    (["x"], "object with a type"),
    ([{"text": "x"}], "object with a type"),
    ([{"type": 7}], "object with a type"),
]


def test_blocks_that_slack_would_refuse_are_refused_with_their_place(slack_account: None) -> None:
    for blocks, words in REFUSED:
        with pytest.raises(errors.InvalidField) as refused:
            send(channel="chat", recipient="#orders", body="B", options={"blocks": blocks})
        assert refused.value.field == "options.blocks"
        assert words in str(refused.value)


def test_a_template_whose_blocks_slack_would_refuse_is_not_saved(transactional_db: None) -> None:
    for blocks, words in (
        (json.dumps([section("x")] * 51), "51 blocks"),
        (json.dumps([section("x" * 3001 + "{{ name }}")]), r"blocks\[0\]\.text\.text has"),
        ('[{"type": "divider"}{% if name %},{% endif %}]', "not JSON"),
    ):
        with pytest.raises(InvalidTemplate, match=words) as refused:
            blocks_template(blocks, {"name": "Ada", "order": 7})
        assert refused.value.part == "blocks"


def test_blocks_that_a_context_makes_too_long_are_refused_at_submission(
    slack_account: None,
) -> None:
    blocks_template(BLOCKS)
    context = {"order": 7, "name": "Ada", "url": "https://a.example", "items": ["x"] * 60}
    with pytest.raises(errors.InvalidContext, match="63 blocks") as refused:
        send(channel="chat", recipient="#orders", template="order", context=context)
    assert refused.value.field == "context"


def test_blocks_are_slacks_and_others_get_the_text(
    account: Callable[..., Any], deliver: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    account("discord-a", "discord", "chat", secrets={"url": "env:SECRET_HOOK"})
    monkeypatch.setenv("SECRET_HOOK", "https://discord.com/api/webhooks/1/abc")
    with pytest.raises(errors.InvalidField, match="carries the option") as refused:
        send(channel="chat", recipient="@ada", body="B", options={"blocks": [section("x")]})
    assert refused.value.field == "options.blocks"


def test_the_outbox_keeps_the_options_where_people_look(
    settings: Settings, transactional_db: None, deliver: Callable[..., Any]
) -> None:
    settings.OUTBOX = True
    deliver(push("token-1", ttl=90))
    assert OutboxMessage.objects.get().content["options"] == {"ttl": 90}
