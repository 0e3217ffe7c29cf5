"""What is accepted passes a Postfix with all strict switches, and arrives behind it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from notifications.channels import addresses
from notifications.core.attempt import Result
from tests.servers import postfix
from tests.servers.smtp import SmtpServer

pytestmark = pytest.mark.skipif(bool(postfix.why_absent()), reason=postfix.why_absent())

SENDERS = ["Shop, Inc. <shop@shop.example>", "Müller, Shop & Co <shop@bücher.example>"]
MAILS = [
    ("ada@example.org", "Hello", "Dear Ada"),
    ("ada@bücher.example", "x" * 2000, "y" * 3000),
    ("jörg@bücher.example", "Grüße " * 60 + "Ende", "Dear Jörg,\n.\n..bye"),
    ('"ada b"@example.org', "=?utf-8?q?x?=", "日本語 " * 400),
    ("a@[192.0.2.1]", "🎉" * 200, "\r\n.\r\n"),
]


@pytest.fixture
def strict(smtp_server: SmtpServer) -> Iterator[postfix.PostfixServer]:
    server = postfix.PostfixServer(smtp_server.port)
    try:
        yield server.start()
    finally:
        server.stop()  # also one that did not answer: its master has left our process group


def test_a_strict_postfix_takes_every_mail(
    strict: postfix.PostfixServer,
    smtp_server: SmtpServer,
    provider: Callable[..., Any],
    message: Callable[..., Any],
    wait_until: Callable[..., Any],
) -> None:
    mails = [
        message(recipient=addresses.canonical(to), content={"subject": subject, "text": text})
        for to, subject, text in MAILS
    ]
    replies = ["Jörg Straße <jörg@bücher.example>"]
    mails.append(message(content={"subject": "Reply", "text": "ä", "reply_to": replies}))
    for sender in SENDERS:
        smtp = provider("smtp", settings={"from": sender}, secrets={"url": strict.url})
        outcomes = [outcome for _, outcome in smtp.send_many(iter(mails))]
        assert {o.result for o in outcomes} == {Result.SENT}, outcomes
    wait_until(lambda: len(smtp_server.messages) == len(mails) * len(SENDERS), timeout=20)
    arrived = {(m.recipients[0], str(m.message["Subject"])) for m in smtp_server.messages}
    assert arrived == {(addresses.wire(m.recipient), m.content["subject"]) for m in mails}
