"""What a mail may not have is refused by field, before there is a row."""

import base64
import io
from typing import Any

import pytest
from django.test import Client

from notifications.core import errors
from notifications.models import MailContent, Notification, ProviderAccount
from notifications.operations import api_keys
from notifications.submission import send, send_many
from notifications.submission.scheduled_sends import check_send
from scheduling.arguments import InvalidArguments

FILE: Any = {"filename": "a.pdf", "content": b"x"}
FIRST = "attachments.0"
UNSUBSCRIBE = "headers.List-Unsubscribe"
ONE_CLICK = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def of(**wrong: Any) -> dict[Any, Any]:
    return {"attachments": [{**FILE, **wrong}]}


def unsubscribe(value: str, **others: str) -> dict[str, Any]:
    return {"headers": {"List-Unsubscribe": value, **others}}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a sender that no account allows": ({"from_email": "ceo@bank.example"}, "from_email"),
    "a sender that is not an address": ({"from_email": "shop"}, "from_email"),
    "a sender with a line break": (
        {"from_email": "x\r\nBcc: y@z.example <a@b.example>"},
        "from_email",
    ),
    "a sender with letters no server takes": ({"from_email": "jörg@news.example"}, "from_email"),
    "a reply address that is none": ({"reply_to": ["ok@example.org", "no"]}, "reply_to.1"),
    "a number for an address": ({"cc": [7]}, "cc.0"),
    "an object for a list": ({"bcc": {"a": "b"}}, "bcc"),
    "a header with a line break": ({"headers": {"X-A": "1\r\nBcc: a@b.example"}}, "headers.X-A"),
    "a name of a header with a colon": ({"headers": {"X-A: b\r\nBcc": "a"}}, "headers"),
    "a header that we write": ({"headers": {"bcc": "a@b.example"}}, "headers.bcc"),
    "a header of ours": ({"headers": {"Content-Type": "text/html"}}, "headers.Content-Type"),
    "an unknown header": ({"headers": {"Return-Receipt-To": "a"}}, "headers.Return-Receipt-To"),
    "a header that is a number": ({"headers": {"X-A": 1}}, "headers.X-A"),
    "a link to unsubscribe without brackets": (unsubscribe("https://e.example/u"), UNSUBSCRIBE),
    "a link in an encoded word": (unsubscribe("=?utf-8?b?PGh0dHBzOi8vZQ==?="), UNSUBSCRIBE),
    "a link with letters outside ASCII": (unsubscribe("<https://e.example/ü>"), UNSUBSCRIBE),
    "a link in two brackets": (unsubscribe("<https://e.example/u>>"), UNSUBSCRIBE),
    "an empty link": (unsubscribe("<>"), UNSUBSCRIBE),
    "a link to a script": (unsubscribe("<javascript:1>, <mailto:u@e.example>"), UNSUBSCRIBE),
    "one click without https": (
        unsubscribe("<http://e.example/u>", **ONE_CLICK),
        UNSUBSCRIBE,
    ),
    "one click by mail alone": (unsubscribe("<mailto:u@e.example>", **ONE_CLICK), UNSUBSCRIBE),
    "headers that are a list": ({"headers": ["X-A"]}, "headers"),
    "HTML that is a number": ({"html": 7}, "html"),
    "HTML with a NUL": ({"html": "a\x00"}, "html"),
    "attachments that are text": ({"attachments": "a.pdf"}, "attachments"),
    "an attachment that is text": ({"attachments": ["a.pdf"]}, "attachments.0"),
    "no name": ({"attachments": [{"content": b"x"}]}, f"{FIRST}.filename"),
    "a path": (of(filename="../a.pdf"), f"{FIRST}.filename"),
    "a path of Windows": (of(filename="c:\\a"), f"{FIRST}.filename"),
    "a name with a break": (of(filename="a\r\nb"), f"{FIRST}.filename"),
    "a name that reads backwards": (of(filename="a\u202efdp.exe"), f"{FIRST}.filename"),
    "broken base64": (of(content="%%%"), f"{FIRST}.content"),
    "a file of text": (of(content=io.StringIO("x")), f"{FIRST}.content"),
    "no content": (of(content=None), f"{FIRST}.content"),
    "a type that is none": (of(content_type="pdf"), f"{FIRST}.content_type"),
    "a type with a break": (of(content_type="a/b\r\nX: y"), f"{FIRST}.content_type"),
    "a type of many parts": (of(content_type="multipart/mixed"), f"{FIRST}.content_type"),
    "a program": (of(filename="a.pdf.EXE"), f"{FIRST}.filename"),
    "a program with a dot": (of(filename="a.exe. "), f"{FIRST}.filename"),
    "an id with brackets": (of(content_id="<a>"), f"{FIRST}.content_id"),
    "an id that would be decoded": (of(content_id="=?utf-8?q?a=0D=0Ab?="), f"{FIRST}.content_id"),
    "an unknown field": (of(url="x"), FIRST),
    "too many attachments": ({"attachments": [FILE] * 101}, "attachments"),
    "too many copies": ({"cc": [f"u{n}@example.org" for n in range(51)]}, "cc"),
    "too many recipients": (
        {name: [f"u{n}@example.org" for n in range(25)] for name in ("cc", "bcc")},
        "bcc",
    ),
    "too many bytes": (of(content=bytes(10_000_001)), "attachments"),
    "too many bytes together": (
        {"attachments": [{**FILE, "content": bytes(6_000_000)}] * 2},
        "attachments",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_field_is_named_and_leaves_no_row(account: ProviderAccount, case: str) -> None:
    fields, field = BAD[case]
    with pytest.raises(errors.InvalidNotification) as raised:
        send(channel="email", recipient="ada@example.org", body="B", **fields)
    assert raised.value.field == field
    assert "Bcc:" not in str(raised.value)
    assert (Notification.objects.count(), MailContent.objects.count()) == (0, 0)


def test_other_channels_have_none_of_it(transactional_db: None) -> None:
    with pytest.raises(errors.InvalidField) as raised:
        send(channel="sms", recipient="+436641234567", body="B", cc=["a@example.org"])
    assert raised.value.field == "cc"
    sent = send(channel="simulator", recipient="ada", body="B", cc=[], html="")
    assert sent.mail_id is None


def test_in_a_batch_each_row_pays_for_itself(account: ProviderAccount) -> None:
    rows: list[dict[str, Any]] = [
        {"recipient": "a@example.org"},
        {"recipient": "b@example.org", "attachments": [{**FILE, "content": "%"}]},
        {"recipient": "c@example.org", "cc": ["no"]},
        {"recipient": "d@example.org", "attachments": [FILE]},
    ]
    sent = send_many(rows, channel="email", body="B")
    assert {n: error.field for n, error in sent.errors.items()} == {
        1: "attachments.0.content",
        2: "cc.0",
    }
    bad: Any = {**FILE, "content": "%"}
    shared = send_many(rows[:1], channel="email", body="B", attachments=[bad])
    assert shared.errors[0].field == "attachments.0.content"


def test_the_api_names_the_field_too(client: Client, account: ProviderAccount) -> None:
    token = api_keys.create("mails", scopes=["send", "read"]).token
    headers = {"Authorization": f"Bearer {token}"}
    given = {"channel": "email", "recipient": "Ada <ada@example.org>", "body": "B"}

    def post(**more: Any) -> Any:
        return client.post(
            "/api/v1/notifications", {**given, **more}, "application/json", headers=headers
        )

    refused = post(attachments=[{"filename": "a.exe", "content": "eA=="}])
    assert (refused.status_code, refused.json()["field"]) == (422, f"{FIRST}.filename")
    content = base64.b64encode(bytes(5_000_000)).decode()
    taken = post(attachments=[{"filename": "a.pdf", "content": content}], cc=["b@example.org"])
    assert taken.status_code == 201, taken.content
    found = client.get(taken.json()["url"], headers=headers).json()
    assert found["recipient"] == "ada@example.org"
    assert found["mail"]["cc"] == ["b@example.org"]
    assert found["mail"]["attachments"][0]["size"] == 5_000_000
    assert "content" not in found["mail"]["attachments"][0]


def test_a_batch_over_http_shares_an_attachment(client: Client, account: ProviderAccount) -> None:
    token = api_keys.create("mails", scopes=["send", "read"]).token
    headers = {"Authorization": f"Bearer {token}"}
    body = {
        "common": {"body": "B", "attachments": [{"filename": "a.pdf", "content": "JVBERg=="}]},
        "notifications": [{"recipient": "a@example.org"}, {"recipient": "b@example.org"}],
    }
    url = "/api/v1/notifications/batch?channel=email"
    answer = client.post(url, body, "application/json", headers=headers)
    assert answer.json()["accepted"] == 2, answer.content
    assert MailContent.objects.get().attachments.get().size == 4
    for name in ("recipient", "idempotency_key", "project", "test", "batch", "lines"):
        wrong = {**body, "common": {name: "x"}}
        refused = client.post(url, wrong, "application/json", headers=headers)
        assert (refused.status_code, refused.json()["field"]) == (422, f"common.{name}")


def test_a_schedule_is_checked_as_a_send_is(account: ProviderAccount) -> None:
    fields = {"channel": "email", "recipient": "a@example.org", "body": "B"}
    check_send([], {**fields, "attachments": [{"filename": "a.pdf", "content": "JVBERg=="}]})
    with pytest.raises(InvalidArguments) as raised:
        check_send([], {**fields, "attachments": [{"filename": "a.pdf", "content": "%"}]})
    assert raised.value.field == "kwargs.attachments.0.content"
    assert MailContent.objects.count() == 0


@pytest.mark.parametrize(
    "value", ["<mailto:u@e.example> , <https://e.example/u?a=1,2>", "<HTTPS://e.example/%C3%BC>"]
)
def test_links_to_unsubscribe_that_mail_programs_can_use_are_taken(
    account: ProviderAccount, value: str
) -> None:
    sent = send(
        channel="email",
        recipient="ada@example.org",
        body="B",
        headers={"List-Unsubscribe": value, **ONE_CLICK},
    )
    row = Notification.objects.select_related("mail").get(pk=sent.id)
    assert row.mail is not None
    assert row.mail.fields["headers"]["List-Unsubscribe"] == value
