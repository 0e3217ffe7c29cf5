"""What people of many countries write, through each channel to a real peer: it arrives as written.

Thai, Arabic, Hebrew, Turkish, Vietnamese, Japanese, Korean, Hindi, German; emoji of several parts,
letters piled up, and marks of direction.
"""

import email
import json
from collections.abc import Callable
from email.header import decode_header, make_header
from typing import Any
from urllib.parse import parse_qs

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from notifications.channels import addresses, recipients
from notifications.core.attempt import Result
from notifications.core.errors import MalformedRecipient
from notifications.providers.mime import single_line
from templates_engine.sms import sendable
from tests.integration.notifications.providers.test_chat_providers import (  # noqa: F401 -- fixtures
    chat_with,
    telegram,
)
from tests.integration.notifications.providers.test_webhook import webhook  # noqa: F401 -- a fixture
from tests.servers.smtp import SmtpServer
from tests.unit.templates_engine.content import version

WRITTEN = {
    "Thai": "สวัสดีค่ะ พัสดุของคุณจัดส่งแล้ว ๑๒๓",
    "Arabic": "مرحبًا، رمزك هو ١٢٣٤ \u200fلا تشاركه!",
    "Hebrew": "שלום, הקוד שלך \u2066ABC-123\u2069 תקף ל־5 דקות",
    "Turkish": "İstanbul'da ılık bir gün, IĞDIR ığdır",
    "Vietnamese": "Đơn hàng của bạn đã được giao",
    "Vietnamese in parts": "\u0110o\u031b\u0323n ha\u0300ng \u0111a\u0303 giao",
    "Japanese full width": "ＯＴＰ：１２３４　ご注文ありがとうございます｡",
    "Korean": "인증번호는 1234입니다",
    "Korean in parts": "\u1112\u1161\u11ab\u1100\u116e\u11a8",
    "Hindi": "आपका ओटीपी १२३४ है। क्\u200dष",
    "German": "Straße, STRASSE, STRAẞE & „Grüße“ – 5 €",
    "emoji": "👩🏽‍🚀 👨‍👩‍👧‍👦 🏳️‍🌈 🇦🇹 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️",
    "Zalgo": "Z̸̢̛͚͚̗̹̹̹̾͌a̶̧͎͎͎̿̎́l̵̨̧̧̛͔̻̒̾͠g̷̢̛̛̰̰̪̃̃̅ò̷̢̧̧̱̱̱̏̀̎!",
    "overridden": "invoice\u202efdp.exe\u202c",
}


def delivered(provider: Any, message: Callable[..., Any], **given: Any) -> None:
    outcome = provider.outcome_of(message(provider.account.channel, **given))
    assert outcome.result is Result.SENT, outcome


@pytest.fixture
def told(httpserver: HTTPServer) -> Callable[..., Any]:
    """A peer that takes everything; return the last request that it got."""
    httpserver.expect_request("/token").respond_with_json(
        {"access_token": "ya29", "expires_in": 3600, "token_type": "Bearer"}
    )
    ids = {"name": "m/1", "sid": "SM1", "channel": "C", "ts": "1", "id": "1"}
    answer = {"ok": True, "result": {"message_id": 1}, **ids}
    httpserver.expect_request("").respond_with_response(Response(json.dumps(answer), 201))
    return lambda: httpserver.log[-1][0]


def test_a_mail_reads_as_it_was_written(
    provider: Callable[..., Any],
    message: Callable[..., Any],
    make_smtp_server: Callable[..., SmtpServer],
) -> None:
    server = make_smtp_server(pipelining=True)
    for name in WRITTEN.values():
        sender = {"from": f"{name} <shop@shop.example>"}
        mailer = provider("smtp", settings=sender, secrets={"url": server.url})
        made = version(
            "email",
            subject="{{ a }}: {{ b }}",
            html="<p title='{{ b }}'>{{ a }} <b>{{ b }}</b></p>",
        )
        content = made.render({"a": name, "b": name})
        delivered(mailer, message, content=content)
        arrived = server.messages[-1].message
        assert str(arrived["Subject"]) == single_line(f"{name}: {name}")
        # Python's own parser of a phrase keeps the blanks between encoded words.
        old = email.message_from_bytes(server.messages[-1].octets)["From"]
        read = str(make_header(decode_header(old.replace("\r\n", ""))))
        assert read.replace('"', "") == f"{single_line(name)} <shop@shop.example>"
        plain = arrived.get_body(("plain",))
        assert plain is not None
        assert name.split()[0] in plain.get_content()
        assert not arrived.defects


def test_an_sms_holds_what_was_written(
    twilio: Any, message: Callable[..., Any], told: Callable[..., Any]
) -> None:
    for text in WRITTEN.values():
        content = version("sms", text="{{ a }}").render({"a": text})
        delivered(twilio, message, recipient="+4366412345678", content=content)
        assert parse_qs(told().data.decode())["Body"] == [sendable(text)]


def test_a_push_shows_what_was_written(
    fcm: Any, webpush: Any, browser: Any, message: Callable[..., Any], told: Callable[..., Any]
) -> None:
    made = version("push", title="{{ a }}", body="{{ a }}!", data='{"a": {{ a|tojson }}}')
    for text in WRITTEN.values():
        content = made.render({"a": text})
        assert content["data"] == {"a": text}
        delivered(fcm, message, recipient="token-1", content=content)
        sent = told().json["message"]
        assert (sent["notification"]["body"], sent["data"]) == (f"{text}!", {"a": text})
        delivered(webpush, message, recipient=browser.subscription, content=content)
        assert browser.read(told().data) == {
            "title": single_line(text),
            "body": f"{text}!",
            "data": {"a": text},
        }


def test_a_chat_shows_what_was_written(
    slack: Any,
    telegram: Any,
    chat_with: Any,
    message: Callable[..., Any],
    told: Callable[..., Any],
    httpserver: HTTPServer,
) -> None:
    made = version(
        "chat",
        text="*{{ a }}*",
        blocks='[{"type": "section", "text": {"type": "mrkdwn", "text": "{{ a }}"}}]',
    )
    discord = chat_with("discord", url=httpserver.url_for("/api/webhooks/1/a"))
    teams = chat_with("teams", url=httpserver.url_for("/workflows/a/triggers/b/paths/invoke"))
    for text in WRITTEN.values():
        content = made.render({"a": text})
        escaped = text.replace("&", "&amp;")
        delivered(slack, message, recipient="#a", content=content)
        assert told().json["text"] == f"*{escaped}*"
        assert told().json["blocks"][0]["text"]["text"] == escaped
        delivered(telegram, message, recipient="1234", content=content)
        assert told().json["text"] == f"*{text}*"
        delivered(discord, message, recipient="ada", content=content)
        assert told().json["content"] == f"*{text}*"
        delivered(teams, message, recipient="ada", content=content)
        card = told().json["attachments"][0]["content"]
        assert card["body"][0]["text"] == f"*{text}*"


def test_a_webhook_is_told_what_was_written(
    webhook: Any, message: Callable[..., Any], told: Callable[..., Any], httpserver: HTTPServer
) -> None:
    url = httpserver.url_for("/พัสดุ/👩‍🚀?q=ü")
    for text in WRITTEN.values():
        for body, wanted in ((text, {"subject": text, "body": text}), (json.dumps([text]), [text])):
            content = {"subject": text, "body": body}
            delivered(webhook, message, recipient=recipients.url(url), content=content)
            assert told().json == wanted
    made = version("webhook", body='{"name": "{{ a }}", "role": "guest"}')
    for text in (*WRITTEN.values(), 'Eve", "role": "admin', "two\nlines\tof \\ text"):
        rendered = made.render({"a": text})
        delivered(webhook, message, recipient=recipients.url(url), content=rendered)
        assert told().json == {"name": text, "role": "guest"}


@pytest.mark.parametrize(
    ("written", "kept", "wired"),
    [
        ("สมชาย@ไทย.example", "สมชาย@ไทย.example", "สมชาย@xn--o3cw4h.example"),
        ("ada@مثال.إختبار", "ada@مثال.إختبار", "ada@xn--mgbh0fb.xn--kgbechtv"),
        ("ada@שלום.example\u200f", "ada@שלום.example", "ada@xn--9dbne9b.example"),
        ("ada@İstanbul.example", "ada@i̇stanbul.example", "ada@xn--istanbul-o0e.example"),
        ("ada@ISTANBUL.example", "ada@istanbul.example", "ada@istanbul.example"),
        ("ada@vie\u0323\u0302t.example", "ada@việt.example", "ada@xn--vit-5kz.example"),
        ("ＡＤＡ＠例え。テスト", "ADA@例え.テスト", "ADA@xn--r8jz45g.xn--zckzah"),
        ("ada＋news@ｅｘａｍｐｌｅ．ｏｒｇ", "ada+news@example.org", "ada+news@example.org"),
        ("ada@\u1112\u1161\u11ab\u1100\u116e\u11a8.kr", "ada@한국.kr", "ada@xn--3e0b707e.kr"),
        ("ada@क्\u200dष.example", "ada@क्\u200dष.example", "ada@xn--11b2ezcw70k.example"),
        ("ada@STRAẞE.example", "ada@straße.example", "ada@xn--strae-oqa.example"),
        ("MailTo:ada@straße.example", "ada@straße.example", "ada@xn--strae-oqa.example"),
    ],
)
def test_an_address_has_one_form_however_it_is_typed(written: str, kept: str, wired: str) -> None:
    assert recipients.email(written) == kept
    assert addresses.wire(kept) == wired
    assert recipients.email(wired) == kept


@pytest.mark.parametrize(
    "written",
    [
        *(
            "+٤٣ ٦٦٤ ١٢٣٤٥٦٧٨",
            "＋４３－６６４－１２３４５６７８",
            "+४३६६४१२३४५६७८",
            "+43664๑๒๓๔๕๖๗๘",
        ),
        *("\u202a+43 (0)664 / 123 456 78\u202c", "+43\u00a0664\u20111234\u20115678"),
        *("tel:+43-664-123-45-678", "+43.664.12345678", "+43 664\u30001234 5678"),
    ],
)
def test_a_number_has_one_form_in_the_digits_of_any_script(written: Any) -> None:
    assert recipients.phone(written) == "+4366412345678"


@pytest.mark.parametrize(
    "written",
    [
        *("+4366412345678 😀", "whatsapp:+4366412345678", "Ada +4366412345678", "+1-800-FLOWERS"),
        *("+4366412345678, +4366412345679", "+4366412345678/+4366412345679"),
        "+4366412345678 (Ada)",
    ],
)
def test_of_a_number_nothing_is_dropped_silently(written: Any) -> None:
    with pytest.raises(MalformedRecipient):
        recipients.phone(written)


@pytest.mark.parametrize("hidden", ["\u200b", "\u202d", "\u00ad", "\u2060", "\ufe0f"])
def test_what_nobody_sees_inside_a_number_is_refused_by_name(hidden: str) -> None:
    with pytest.raises(MalformedRecipient) as refused:
        recipients.phone(f"+43664{hidden}12345678")
    assert f"U+{ord(hidden):04X}" in refused.value.hint


@pytest.mark.parametrize("check", [recipients.token, recipients.url])
def test_what_nobody_sees_inside_a_recipient_is_refused_by_name(check: Any) -> None:
    with pytest.raises(MalformedRecipient, match="U\\+202E RIGHT-TO-LEFT OVERRIDE"):
        check("https://example.org/\u202egro.live")
    for seen in (
        "https://example.org/👩‍🚀❤️",
        "https://example.org/\u0645\u06cc\u200c\u0631\u0648\u062f",
    ):
        assert check(seen) == seen
