"""What SNS posts to us: subscriptions to confirm, and what people answer by SMS."""

import json
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509.oid import NameOID
from django.test import RequestFactory
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from notifications.callbacks import replies
from notifications.channels.base import ForgedCallback, Reply
from notifications.models import Consent
from notifications.providers import anymail_service
from notifications.providers.sns import SnsProvider
from notifications.providers.sns_topic import Topic
from notifications.submission import save_recipient
from tests.integration.notifications.providers import peers

SECRETS = {"access_key_id": "test", "secret_access_key": "test"}
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


@pytest.fixture
def subscription() -> Callable[..., Any]:
    """Make the callback by which SNS asks for a subscription to be confirmed."""
    arn = "arn:aws:sns:eu-central-1:123456789012:bounces"
    body = {"Type": "SubscriptionConfirmation", "MessageId": "1", "TopicArn": arn, "Token": "t"}
    password = b64encode(b"aws:secret").decode()
    return lambda: RequestFactory().post(
        "/webhooks/ses",
        json.dumps(body),
        content_type="text/plain",
        headers={
            "x-amz-sns-message-type": "SubscriptionConfirmation",
            "x-amz-sns-message-id": "1",
            "Authorization": f"Basic {password}",
        },
    )


def subscriber(provider: Callable[..., Any], url: str) -> Any:
    place = {"endpoint_url": url, "region_name": "eu-central-1"}
    return provider(
        "anymail",
        settings={
            "service": "amazon_ses",
            "from": "a@example.org",
            "options": {"client_params": place},
        },
        secrets={
            "credentials": json.dumps({"client_params": KEYS}),
            "webhook": "aws:secret",
        },
    )


def test_a_subscription_of_sns_is_confirmed(
    provider: Callable[..., Any], httpserver: HTTPServer, subscription: Callable[..., Any]
) -> None:
    answer = (
        "<ConfirmSubscriptionResponse><ConfirmSubscriptionResult><SubscriptionArn>a"
        "</SubscriptionArn></ConfirmSubscriptionResult><ResponseMetadata><RequestId>1"
        "</RequestId></ResponseMetadata></ConfirmSubscriptionResponse>"
    )
    httpserver.expect_request("/", method="POST").respond_with_data(answer)
    ses = subscriber(provider, httpserver.url_for(""))
    assert ses.receipts(subscription()) == []
    form = parse_qs(httpserver.log[-1][0].data.decode())
    assert (form["Action"], form["Token"]) == (["ConfirmSubscription"], ["t"])


@pytest.mark.timeout(60)
def test_confirming_a_subscription_is_guarded_and_takes_a_bounded_time(
    provider: Callable[..., Any],
    peer: Callable[..., Any],
    subscription: Callable[..., Any],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    boto3.client("sns", region_name="eu-central-1", **KEYS)  # loads what need not count
    monkeypatch.setattr(anymail_service, "CONFIRM_SECONDS", 0.5)
    for behaviour in (peers.hang, peers.drip):
        slow = peer(behaviour)
        ses = subscriber(provider, f"http://127.0.0.1:{slow.port}")
        with pytest.raises(ValueError, match="cannot be confirmed"):
            ses.receipts(subscription())
        assert len(slow.connections) == 1  # and it is not tried again
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = False
    settings.OUTGOING_PRIVATE_HOSTS = []
    connected: list[object] = []
    ses = subscriber(provider, f"http://127.0.0.1:{peer(connected.append).port}")
    with pytest.raises(ValueError, match="cannot be confirmed"):
        ses.receipts(subscription())
    assert connected == []


TOPIC = "arn:aws:sns:eu-central-1:123456789012:replies"


@pytest.fixture(scope="module")
def signing() -> tuple[Any, bytes]:
    """A key as SNS has one, and its certificate."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    return key, made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def posted(
    provider: Callable[..., Any], httpserver: HTTPServer, signing: tuple[Any, bytes]
) -> Callable[..., Any]:
    """Post to an account of SNS what its topic would; ``changes`` come after the signature."""
    key, pem = signing
    httpserver.expect_request("/cert.pem").respond_with_data(pem)
    httpserver.expect_request("/confirm").respond_with_data("<ok/>")
    settings = {"region": "eu-central-1", "url": httpserver.url_for(""), "topic": TOPIC}
    sns = provider("sns", settings=settings, secrets=SECRETS)

    def posted(type_: str = "Notification", version: str = "2", **changes: Any) -> Any:
        text = {
            "originationNumber": "+4366412345678",
            "messageBody": "Stop",
            "inboundMessageId": "i1",
        }
        told = {"Type": type_, "MessageId": "m-1", "TopicArn": TOPIC, "Message": json.dumps(text)}
        told["Timestamp"] = changes.pop("at", datetime.now(UTC)).isoformat()
        if type_ != "Notification":
            told |= {"Token": "t", "SubscribeURL": httpserver.url_for("/confirm")}
        signed = "".join(f"{name}\n{told[name]}\n" for name in sorted(told))
        how = hashes.SHA256() if version == "2" else hashes.SHA1()
        told["Signature"] = b64encode(key.sign(signed.encode(), PKCS1v15(), how)).decode()
        told |= {"SignatureVersion": version, "SigningCertURL": httpserver.url_for("/cert.pem")}
        body = json.dumps({**told, **changes})
        return sns.receipts(RequestFactory().post("/", body, content_type="text/plain"))

    return posted


@pytest.mark.parametrize("version", ["1", "2"])
def test_sns_tells_what_people_answer_signed_in_either_way(
    posted: Callable[..., Any], httpserver: HTTPServer, version: str
) -> None:
    for _ in range(2):
        assert posted(version=version) == [Reply("+4366412345678", "Stop", id="i1")]
    assert [request.path for request, _ in httpserver.log] == ["/cert.pem"]  # kept
    assert posted("SubscriptionConfirmation", version) == []
    assert httpserver.log[-1][0].path == "/confirm"
    assert posted("UnsubscribeConfirmation", version) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"Message": json.dumps({"originationNumber": "+43664000000", "messageBody": "Stop"})},
        {"Signature": b64encode(b"x" * 256).decode()},
        {"SignatureVersion": "3"},
        {"TopicArn": TOPIC.replace("replies", "another")},
        {"SigningCertURL": "https://sns.eu-central-1.amazonaws.com.evil.example/cert.pem"},
        {"SigningCertURL": None},
        {"Type": "Other"},
        {"at": datetime.now(UTC) - timedelta(days=2)},
    ],
)
def test_what_sns_did_not_sign_for_our_topic_is_forged(
    posted: Callable[..., Any], changes: dict[str, Any]
) -> None:
    with pytest.raises(ForgedCallback):
        posted(**changes)


def test_an_account_without_a_topic_takes_no_answers(provider: Callable[..., Any]) -> None:
    sns = provider("sns", settings={"region": "eu-central-1"}, secrets=SECRETS)
    with pytest.raises(ForgedCallback):
        sns.receipts(RequestFactory().post("/", "{}", content_type="text/plain"))
    problems = SnsProvider.setting_problems({"region": "eu-central-1", "topic": "replies"})
    assert problems == ["topic: It must be the ARN of a topic, like arn:aws:sns:…."]


def test_certificates_come_from_the_topics_own_region() -> None:
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        raise ValueError

    told = {"Type": "Notification", "TopicArn": TOPIC, "SignatureVersion": "2", "Signature": ""}
    for host in ("sns.eu-central-1.amazonaws.com", "sns.us-east-1.amazonaws.com", "evil.example"):
        url = f"https://{host}/cert.pem"
        with pytest.raises((ForgedCallback, ValueError)):
            Topic(TOPIC, fetch).read(json.dumps({**told, "SigningCertURL": url}).encode())
    assert asked == ["https://sns.eu-central-1.amazonaws.com/cert.pem"]


@pytest.mark.django_db
def test_stop_by_sns_withdraws_the_same_consent_and_once(posted: Callable[..., Any]) -> None:
    ada = save_recipient("ada", addresses={"sms": "+4366412345678"})
    for _ in range(2):  # SNS posts again what it had no answer to
        replies.take(posted(), account="sns-a")
    ada.refresh_from_db()
    assert ada.choices == {"": {"sms": False}}
    withdrawn = Consent.objects.get()
    assert (withdrawn.means, withdrawn.source, withdrawn.text) == ("sms", "sns-a", "Stop")
