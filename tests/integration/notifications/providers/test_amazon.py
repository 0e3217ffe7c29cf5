"""Amazon's SNS and SES against moto's server, which speaks their protocols."""

import json
from collections.abc import Callable, Iterator
from email import message_from_string, policy
from email.header import decode_header, make_header
from typing import Any
from urllib.parse import parse_qs

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer
from pytest_httpserver import HTTPServer

from notifications.channels.mail import StoredFile
from notifications.core.attempt import Result

SECRETS = {"access_key_id": "test", "secret_access_key": "test"}
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def _empty(moto: str) -> None:
    requests.post(f"{moto}/moto-api/reset", timeout=10)


def client(moto: str, service: Any) -> Any:
    return boto3.client(service, region_name="eu-central-1", endpoint_url=moto, **KEYS)


@pytest.fixture
def sns(provider: Callable[..., Any], moto: str) -> Any:
    return provider(
        "sns",
        settings={"region": "eu-central-1", "url": moto, "sender_id": "Shop"},
        secrets=SECRETS,
    )


@pytest.fixture
def sms(message: Callable[..., Any]) -> Any:
    return message("sms", "+4366412345678", content={"text": "Grüße & <b>"})


def test_sns_takes_a_text(sns: Any, sms: Any, moto: str) -> None:
    outcome = sns.outcome_of(sms)
    assert outcome.result is Result.SENT
    assert len(outcome.provider_message_id) == 36
    published = requests.get(f"{moto}/moto-api/data.json", timeout=10).json()
    assert published["sns"]


@pytest.mark.parametrize(
    ("number", "attribute", "value"),
    [
        ("+4366412345678", "SenderID", "Laden"),
        ("+12025550123", "OriginationNumber", "+15005550006"),
        ("+4930901820", "SenderID", "Shop"),
    ],
)
def test_sns_is_told_the_sender_of_the_country(
    provider: Callable[..., Any],
    message: Callable[..., Any],
    httpserver: HTTPServer,
    number: str,
    attribute: str,
    value: str,
) -> None:
    answer = "<PublishResponse><MessageId>1</MessageId></PublishResponse>"
    httpserver.expect_request("/", method="POST").respond_with_data(answer)
    settings = {
        "region": "eu-central-1",
        "url": httpserver.url_for(""),
        "sender_id": "Shop",
        "senders": {"+4": "Nobody", "+43": "Laden", "+49": "Shop", "+1": "+15005550006"},
    }
    sns = provider("sns", settings=settings, secrets=SECRETS)
    outcome = sns.outcome_of(message("sms", number, content={"text": "Hi"}))
    assert outcome.result is Result.SENT
    form = parse_qs(httpserver.log[-1][0].data.decode())
    senders = {
        form[name][0].rpartition(".")[2]: form[name.replace("Name", "Value.StringValue")][0]
        for name in form
        if name.endswith(".Name") and "SMSType" not in form[name][0]
    }
    assert senders == {attribute: value}


def test_snss_api_takes_a_senders_number(
    provider: Callable[..., Any], message: Callable[..., Any], moto: str
) -> None:
    settings = {"region": "eu-central-1", "url": moto, "senders": {"+1": "+15005550006"}}
    sns = provider("sns", settings=settings, secrets=SECRETS)
    outcome = sns.outcome_of(message("sms", "+12025550123", content={"text": "Hi"}))
    assert outcome.result is Result.SENT


def test_sns_refuses_a_number_that_opted_out(
    sns: Any, sms: Any, message: Callable[..., Any], moto: str
) -> None:
    bad = message("sms", "not a number", content={"text": "Hi"})
    outcome = sns.outcome_of(bad)
    assert (outcome.result, outcome.code) == (Result.PERMANENT, "InvalidParameter")


@pytest.mark.parametrize(
    ("status", "code", "expected", "reason"),
    [
        (400, "OptedOut", Result.PERMANENT, "invalid_recipient"),
        (400, "Throttling", Result.TRANSIENT, ""),
        (403, "InvalidClientTokenId", Result.TRANSIENT, ""),
        (500, "InternalError", Result.TRANSIENT, ""),
        (200, "", Result.UNKNOWN, ""),
    ],
)
def test_snss_refusals_are_classed(
    provider: Callable[..., Any],
    sms: Any,
    httpserver: HTTPServer,
    status: int,
    code: str,
    expected: Any,
    reason: str,
) -> None:
    body = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"
    httpserver.expect_request("/", method="POST").respond_with_data(body, status)
    sns = provider(
        "sns",
        settings={"region": "eu-central-1", "url": httpserver.url_for("")},
        secrets={"access_key_id": "a", "secret_access_key": "b"},
    )
    outcome = sns.outcome_of(sms)
    assert (outcome.result, outcome.reason) == (expected, reason)


@pytest.fixture
def postmark(provider: Callable[..., Any], httpserver: HTTPServer) -> Any:
    settings = {
        "service": "postmark",
        "from": "Müller, Shop & Co <shop@shop.example>",
        "options": {"api_url": httpserver.url_for("/")},
    }
    return provider("anymail", settings=settings, secrets={"credentials": '{"server_token": "x"}'})


@pytest.fixture
def ses(provider: Callable[..., Any], moto: str) -> Any:
    return provider(
        "anymail",
        settings={
            "service": "amazon_ses",
            "from": "Shop <shop@example.org>",
            "options": {"client_params": {"endpoint_url": moto, "region_name": "eu-central-1"}},
        },
        secrets={"credentials": json.dumps({"client_params": KEYS})},
    )


def test_ses_takes_a_mail(ses: Any, message: Callable[..., Any], moto: str) -> None:
    client(moto, "ses").verify_email_identity(EmailAddress="shop@example.org")
    content = {"subject": "Grüße", "text": "Dear Ada", "html": "<p>Dear Ada</p>"}
    name = "=?utf-8?q?evil=2Eexe?="
    files = tuple(StoredFile(1, "", lambda: b"x", name, content_id=cid) for cid in ("", "logo"))
    outcome = ses.outcome_of(message(content={**content, "attachments": files}))
    assert outcome.result is Result.SENT, outcome
    assert outcome.provider_message_id
    sent = requests.get(f"{moto}/moto-api/data.json", timeout=10).json()["ses"]
    [kept] = sent["RawMessage"]
    assert kept["id"] == outcome.provider_message_id
    read = message_from_string(kept["raw_data"], policy=policy.default)
    assert read["Subject"] == "Grüße"
    assert [part.get_filename() for part in read.walk() if part.get_filename()] == [name, name]


@pytest.mark.parametrize("text", ["=?utf-8?q?x?=", "x" * 2000, "Grüße " * 60 + "Ende", "a " * 99])
def test_ses_takes_a_subject_and_names_as_they_are_written(
    provider: Callable[..., Any], ses: Any, message: Callable[..., Any], moto: str, text: str
) -> None:
    client(moto, "ses").verify_email_identity(EmailAddress="shop@example.org")
    name = text[:150].strip()
    sender = {**ses.account.settings, "from": f"{name}, Inc. <shop@example.org>"}
    named = provider("anymail", settings=sender, secrets=ses.account.secrets)
    content = {"subject": text, "text": "Dear Ada", "options": {"to_name": name}}
    assert named.outcome_of(message(content=content)).result is Result.SENT
    sent = requests.get(f"{moto}/moto-api/data.json", timeout=10).json()["ses"]
    raw = sent["RawMessage"][-1]["raw_data"]
    assert max(map(len, raw.splitlines())) <= 998
    read = message_from_string(raw, policy=policy.default)
    assert str(read["Subject"]).strip() == text.strip()
    # Python's own parser of a phrase keeps the blanks between encoded words.
    old = message_from_string(raw)
    for header, wanted in (("From", f"{name}, Inc."), ("To", name)):
        shown = str(make_header(decode_header("".join(old[header].splitlines()))))
        assert shown.rpartition(" <")[0].strip(' "') == wanted


def test_a_service_over_http_is_told_names_in_letters(
    postmark: Any, message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    taken = {"MessageID": "1", "ErrorCode": 0, "Message": "OK", "To": "ada@example.org"}
    httpserver.expect_request("/email").respond_with_json(taken)
    content = {
        "subject": "=?utf-8?q?x?=",
        "text": "Dear Ada",
        "options": {"to_name": "Zoë, née Ñ"},
        "reply_to": ["Jörg <a@b.example>"],
    }
    assert postmark.outcome_of(message(content=content)).result is Result.SENT
    asked = httpserver.log[-1][0].json
    assert asked["Subject"] == "=?utf-8?q?x?="
    assert asked["From"] == '"Müller, Shop & Co" <shop@shop.example>'
    assert asked["To"] == '"Zoë, née Ñ" <ada@example.org>'
    assert asked["ReplyTo"] == "Jörg <a@b.example>"


def test_ses_lays_a_sender_that_it_does_not_know_on_the_account(
    ses: Any, message: Callable[..., Any]
) -> None:
    outcome = ses.outcome_of(message())
    assert (outcome.result, outcome.code) == (Result.TRANSIENT, "MessageRejected")
    assert not outcome.local


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("The 'From' address you supplied is not a Sender Signature on your account.", "account"),
        ("Sender email is not verified.", "account"),
        ("Your account has run out of credits.", "account"),
        ("Your account has been suspended.", "account"),
        ("While your account is pending approval, …", "account"),
        ("Domain of the from.email must be verified", "account"),
        ("Invalid email request: the body is missing.", "message"),
        ("Attachments are too large.", "message"),
    ],
)
def test_a_services_refusal_is_laid_where_its_words_say(
    postmark: Any, message: Callable[..., Any], httpserver: HTTPServer, said: str, expected: str
) -> None:
    refused = {"ErrorCode": 400, "Message": said}
    httpserver.expect_request("/email").respond_with_json(refused, 422)
    outcome = postmark.outcome_of(message())
    wanted = Result.TRANSIENT if expected == "account" else Result.PERMANENT
    assert (outcome.result, outcome.code, outcome.local) == (wanted, "HTTP 422", False)


def test_ses_away_is_a_transient_failure(
    provider: Callable[..., Any], message: Callable[..., Any]
) -> None:
    away = {"endpoint_url": "http://127.0.0.1:9", "region_name": "eu-central-1"}
    ses = provider(
        "anymail",
        settings={
            "service": "amazon_ses",
            "from": "a@example.org",
            "options": {"client_params": away},
        },
        secrets={"credentials": json.dumps({"client_params": KEYS})},
    )
    outcome = ses.outcome_of(message())
    assert (outcome.result, outcome.code) == (Result.TRANSIENT, "ConnectError")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Result.UNKNOWN),
        (401, Result.TRANSIENT),
        (422, Result.PERMANENT),
        (500, Result.TRANSIENT),
    ],
)
def test_a_service_over_http_is_classed_by_its_status(
    provider: Callable[..., Any],
    message: Callable[..., Any],
    httpserver: HTTPServer,
    status: int,
    expected: Any,
) -> None:
    httpserver.expect_request("/email").respond_with_data("<html>", status)
    postmark = provider(
        "anymail",
        settings={
            "service": "postmark",
            "from": "a@example.org",
            "options": {"api_url": httpserver.url_for("/")},
        },
        secrets={"credentials": '{"server_token": "x"}'},
    )
    assert postmark.outcome_of(message()).result is expected


def test_a_service_is_told_each_copy_once_and_the_headers_of_marketing_mail(
    provider: Callable[..., Any], message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/email").respond_with_json({"MessageID": "1", "ErrorCode": 0})
    postmark = provider(
        "anymail",
        settings={
            "service": "postmark",
            "from": "a@mail.a-long-name.example",
            "options": {"api_url": httpserver.url_for("/")},
        },
        secrets={"credentials": '{"server_token": "x"}'},
    )
    content = {"subject": "Hello", "text": "Dear Ada", "list": "sale"}
    copies = {
        "cc": ["Bob <bob@example.org>", "bob@EXAMPLE.org"],
        "bcc": ["ada@example.org", "bob@example.org", "carol@example.org"],
    }
    headers = {"List-Unsubscribe": "<x>"}
    postmark.outcome_of(message(content={**content, **copies, "headers": headers}))
    asked = httpserver.log[-1][0].json
    assert (asked["Cc"], asked["Bcc"]) == ("Bob <bob@example.org>", "carol@example.org")
    told = {each["Name"]: each["Value"] for each in asked["Headers"]}
    assert told == {
        "Auto-Submitted": "auto-generated",
        "List-Id": "<sale.mail.a-long-name.example>",
        "Feedback-ID": "sale:marketing:mail.a-long-nam",
        "List-Unsubscribe": "<x>",
    }
