"""Addresses, subjects, bodies and contents of every script: what is accepted never raises.

Whatever passes a channel's check goes to its provider, over a real socket, and arrives.
"""

import email
import email.policy
import json
from collections.abc import Callable
from email.header import decode_header, make_header
from html import unescape
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Response

from notifications.channels import CHANNELS, addresses, options, recipients
from notifications.channels.base import Message
from notifications.core.attempt import Result
from notifications.core.errors import InvalidField, MalformedRecipient
from notifications.providers.mime import MailWriter, single_line
from templates_engine import slack_blocks
from templates_engine.errors import RenderError
from templates_engine.values import own_chat_parts
from tests.integration.notifications.providers.test_chat_providers import (  # noqa: F401 -- fixtures
    chat_with,
    telegram,
)
from tests.integration.notifications.providers.test_webhook import webhook  # noqa: F401 -- a fixture
from tests.servers.smtp import SmtpServer
from tests.unit.templates_engine.content import version

bounded = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)
# What a database can keep: no NUL, and no half of a pair.
CHARACTERS = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
SEAMS = st.sampled_from(
    ["=?utf-8?q?x?=", "\r\n", "\r", "\n.", "  ", "\u2028", "\u200b", "\x85", "\x1c", "@", "<>", '"']
)
TEXTS = st.lists(st.one_of(st.text(CHARACTERS, max_size=40), SEAMS), max_size=8).map("".join)
LONG = st.one_of(TEXTS, st.text(CHARACTERS, min_size=1, max_size=3).map(lambda s: s * 700))
LOCALS = st.one_of(
    st.from_regex(r"[a-z.+-]{1,10}", fullmatch=True), st.text(CHARACTERS, max_size=8)
)
DOMAINS = st.one_of(
    st.sampled_from(["example.org", "bücher.example", "xn--bcher-kva.example", "[192.0.2.1]"]),
    st.builds("{}.{}".format, st.text(CHARACTERS, max_size=8), st.sampled_from(["org", "例え"])),
)
HOSTS = st.one_of(
    st.sampled_from(["example.org/", "bücher.example:8443/a?", "[2001:db8::1]/"]), TEXTS
)
NUMBERS = st.builds(
    "+{}{}".format,
    st.sampled_from(["43664", "1253", "39333", "4477", ""]),
    st.text("0123456789 -()./ext;#A\u00a0\u200e\u0663\u2011", max_size=14),
)
ADDRESSES = st.builds("{}@{}".format, LOCALS, DOMAINS)


def accepted(check: Any, text: str) -> Any:
    try:
        return check(text)
    except MalformedRecipient:
        assume(False)
        raise


@bounded
@given(ADDRESSES)
def test_an_accepted_address_has_one_form_that_servers_can_be_told(address: Any) -> None:
    kept = accepted(recipients.email, address)
    assert recipients.email(kept) == kept
    wired = addresses.wire(kept)
    assert recipients.email(wired) == kept
    assert wired.rpartition("@")[2].isascii()
    assert len(f"RCPT TO:<{wired}>".split()) == 2 or '"' in wired


@bounded
@given(LONG, LONG, LONG, st.text(CHARACTERS, max_size=200))
def test_a_mail_parses_to_what_was_written_by_two_parsers(
    subject: str, text: str, html: str, name: str
) -> None:
    name = single_line(name).replace('"', "").replace("\\", "")
    writer = MailWriter(addresses.Sender(name, "shop@shop.example"))
    content = {"subject": subject, "text": text, "html": html}
    message = Message(uuid4(), "email", "ada@example.org", content, 1, 5.0)
    octets = writer.write(message, "ada@example.org")
    lines = octets.split(b"\r\n")
    assert all(len(line) <= 998 and b"\n" not in line and b"\r" not in line for line in lines)
    strict = email.message_from_bytes(octets, policy=email.policy.strict)
    assert str(strict["Subject"]) == single_line(subject)
    old = email.message_from_bytes(octets)
    # The old policy keeps the line breaks of a folded header (RFC 5322, 2.2.3).
    unfolded = (old["Subject"] or "").replace("\r\n", "").replace("\n", "")
    assert str(make_header(decode_header(unfolded))) == single_line(subject)
    assert strict["From"].addresses[0].addr_spec == "shop@shop.example"
    assert strict["To"] == "ada@example.org"
    for part, written in (("plain", text), ("html", html)):
        if written or part == "plain":
            found = strict.get_body((part,))
            if found is not None:
                decoded = found.get_payload(decode=True)
                assert isinstance(decoded, bytes)
                assert unix(decoded.decode()) == unix(written)


def unix(text: str) -> Any:
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


@pytest.fixture
def mail_server(make_smtp_server: Callable[..., SmtpServer]) -> Any:
    return make_smtp_server(pipelining=True)


@pytest.fixture
def mailer(provider: Callable[..., Any], mail_server: Any) -> Any:
    sender = {"from": "Müller, Shop & Co <shop@shop.example>"}
    return provider("smtp", settings=sender, secrets={"url": mail_server.url})


@bounded
@given(LONG, LONG, ADDRESSES)
def test_an_accepted_mail_arrives(
    mail_server: Any, mailer: Any, subject: str, text: str, address: str
) -> None:
    kept = accepted(recipients.email, address)
    content = {"subject": subject, "text": text}
    messages = [Message(uuid4(), "email", kept, content, 1, 5.0) for _ in range(2)]
    outcomes = [o for _, o in mailer.send_many(iter(messages))]
    assert [o.reason for o in outcomes] == ["", ""], outcomes
    assert {o.result for o in outcomes} <= {Result.SENT, Result.PERMANENT}
    if outcomes[0].result is Result.SENT:
        assert str(mail_server.messages[-1].message["Subject"]) == single_line(subject)


@pytest.fixture
def discord(chat_with: Any, httpserver: HTTPServer) -> Any:  # noqa: F811 -- a fixture
    return chat_with("discord", url=httpserver.url_for("/api/webhooks/1/a?thread_id={recipient}"))


@pytest.fixture
def teams(chat_with: Any, httpserver: HTTPServer) -> Any:  # noqa: F811 -- as above
    url = "/workflows/ab/triggers/manual/paths/invoke?to={recipient}"
    return chat_with("teams", url=httpserver.url_for(url))


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "ttl": st.one_of(st.integers(-1, 3_000_000), TEXTS),
        "urgency": st.one_of(st.sampled_from(options.URGENCIES), TEXTS),
        "priority": st.one_of(st.sampled_from(options.PRIORITIES), TEXTS),
        "topic": st.one_of(st.from_regex(r"[\w-]{1,33}", fullmatch=True), TEXTS),
        "collapse_key": st.text(st.characters(max_codepoint=127), max_size=65) | TEXTS,
        "image": st.builds("https://{}{}".format, HOSTS, TEXTS),
    },
)


@bounded
@given(OPTIONS)
def test_accepted_options_are_headers_that_can_be_sent(given: Any) -> None:
    try:
        options.check("push", given)
    except InvalidField:
        assume(False)
    headers = {"Urgency": options.urgency(given), "Topic": options.topic(given)}
    sent = httpx.Request("POST", "https://a.example", headers=headers)
    assert len(sent.headers["topic"]) <= 32
    assert sent.headers["urgency"] in ("", *options.URGENCIES)
    assert len(options.collapse_key(given).encode()) <= 64
    assert httpx.URL(given.get("image", "https://a.example")).host


BLOCKS = """[{"type": "section", "text": {"type": "mrkdwn", "text": "*{{ a }}*|{{ b }}"}},
{"type": "context", "elements": [{"type": "plain_text", "text": {{ a|tojson }}}]},
{% for c in cs %}{"type": "image", "image_url": "https://a.example", "alt_text": "{{ c }}"},
{% endfor %}{"type": "divider", "block_id": "{{ n }}"}]"""


@bounded
@given(LONG, LONG, st.lists(TEXTS, max_size=60), st.one_of(st.integers(), st.floats()))
def test_values_in_blocks_neither_end_a_text_nor_are_markup(
    a: Any, b: Any, cs: Any, n: Any
) -> None:
    made = version("chat", text="{{ b }}", blocks=BLOCKS)
    try:
        content = made.render({"a": a, "b": b, "cs": cs, "n": n})
    except RenderError as error:
        if error.reason not in ("json", "empty"):  # longer than Slack takes
            raise
        assume(False)
    blocks: Any = content["blocks"]
    section, context, *images, divider = blocks
    shown = section["text"]["text"]
    assert "<" not in shown
    assert ">" not in shown
    assert unescape(shown) == unescape(f"*{escaped(a)}*|{escaped(b)}")
    assert context["elements"][0]["text"] == escaped(a)
    assert [image["alt_text"] for image in images] == cs
    assert divider["block_id"] == str(n)
    assert slack_blocks.problem(blocks) == ""


@bounded
@given(LONG, st.lists(TEXTS, max_size=5))
def test_values_in_json_are_what_was_given(a: Any, bs: Any) -> None:
    source = '{"a": "x{{ a }}y", "bs": [{% for b in bs %}"{{ b }}",{% endfor %} {{ a|tojson }}]}'
    assume(NONCHARACTERS.isdisjoint("".join([a, *bs])))
    body = version("webhook", body=source).render({"a": a, "bs": bs})["body"]
    assert json.loads(str(body)) == {"a": f"x{a}y", "bs": [*bs, a]}


# Unicode keeps them for a program's own use, and we use them while we render.
NONCHARACTERS = {*map(chr, range(0xFDD0, 0xFDF0)), "\ufffe"}


def escaped(text: str) -> Any:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


KINDS = ["twilio", "slack", "telegram", "discord", "teams", "fcm", "webpush", "webhook"]


@pytest.mark.parametrize("kind", KINDS)
@bounded
@given(LONG, LONG, st.dictionaries(TEXTS, TEXTS, max_size=2), TEXTS)
def test_accepted_content_never_breaks_a_provider(
    request: pytest.FixtureRequest,
    httpserver: HTTPServer,
    kind: str,
    title: Any,
    body: Any,
    data: Any,
    recipient: Any,
) -> None:
    provider = request.getfixturevalue(kind)
    if not httpserver.handlers:
        httpserver.expect_request("/token").respond_with_json(
            {"access_token": "ya29", "expires_in": 3600, "token_type": "Bearer"}
        )
        ids = {"name": "m/1", "sid": "SM1", "channel": "C", "ts": "1", "id": "1"}
        answer = {"ok": True, "result": {"message_id": 1}, **ids}
        httpserver.expect_request("").respond_with_response(Response(json.dumps(answer), 201))
    channel = CHANNELS[provider.account.channel]
    if kind in ("slack", "telegram", "discord", "teams", "fcm"):
        to = accepted(channel.clean_recipient, recipient)
    elif kind == "webhook":
        to = accepted(channel.clean_recipient, httpserver.url_for("/h") + "?" + recipient)
    else:
        to = (
            "+4366412345678"
            if kind == "twilio"
            else request.getfixturevalue("browser").subscription
        )
    content = {"subject": title, "title": title, "body": body, "text": body, "data": data}
    if channel.name == "chat":
        content |= own_chat_parts(body)
    outcome = provider.outcome_of(Message(uuid4(), channel.name, to, content, 1, 5.0))
    assert outcome.reason == "", outcome
    assert outcome.result in (Result.SENT, Result.PERMANENT), outcome


@bounded
@given(st.builds("https://{}{}".format, HOSTS, TEXTS))
def test_an_accepted_url_can_be_called(url: Any) -> None:
    kept = accepted(recipients.url, url)
    assert httpx.Request("POST", kept).url.host


@bounded
@given(NUMBERS)
def test_an_accepted_number_is_in_e164_form(number: Any) -> None:
    kept = accepted(recipients.phone, number)
    assert kept[0] == "+"
    assert kept[1:].isascii()
    assert kept[1:].isdigit()
    assert 5 <= len(kept) <= 16
