"""Mail that is signed by an account's key arrives with a signature that holds (RFC 6376)."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from notifications.channels.mail import StoredFile
from notifications.core.attempt import Result
from tests.servers.smtp import SmtpServer

KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
).decode()
ED25519 = (
    ed25519.Ed25519PrivateKey.generate()
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    .decode()
)
RECORD = b"v=DKIM1; k=rsa; p=" + b64encode(
    KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
)
RAW = "From: shop@shop.example\r\nSubject: =?utf-8?q?x?=\r\n\r\nGrüße\r\n.\r\n".encode()


@pytest.fixture
def signing(provider: Callable[..., Any]) -> Callable[..., Any]:
    def make(url: str, key: Any = PEM, **settings: Any) -> Any:
        given = {"from": "Shop <shop@shop.example>", "dkim_selector": "s1", **settings}
        return provider("smtp", settings=given, secrets={"url": url, "dkim_key": key})

    return make


def record(name: bytes, timeout: int = 0) -> bytes:
    assert name == b"s1._domainkey.shop.example."
    return RECORD


@pytest.mark.parametrize("pipelining", [False, True])
def test_every_sort_of_mail_arrives_with_a_signature_that_holds(
    signing: Callable[..., Any],
    make_smtp_server: Callable[..., SmtpServer],
    message: Callable[..., Any],
    pipelining: bool,
) -> None:
    server = make_smtp_server(pipelining=pipelining)
    file = StoredFile(4, "x", lambda: b"%PDF", "a.pdf", "application/pdf")
    raw = StoredFile(len(RAW), "y", lambda: RAW)
    contents = [
        {"subject": "Grüße, Ada " * 20, "text": "Dear Ada\n.\n  \n\n", "html": "<p>Dear Ada</p>"},
        {"subject": "Sale", "text": "Sale", "list": "sale", "headers": {"X-Order": "7"}},
        {"subject": "Bill", "text": "Grüße", "attachments": (file,), "cc": ("b@example.org",)},
        {"raw": raw},
    ]
    mails = [message(content=content) for content in contents]
    mails.append(message(recipient="jörg@example.org"))
    outcomes = [outcome for _, outcome in signing(server.url).send_many(mails)]
    assert {outcome.result for outcome in outcomes} == {Result.SENT}
    assert len(server.messages) == 5
    for got in server.messages:
        assert dkim.verify(got.octets, dnsfunc=record), got.octets
        changed = got.octets.replace(b"From: ", b"From: eve@b.example, ", 1)
        assert not dkim.verify(changed, dnsfunc=record)
        added = got.octets.replace(b"From:", b"From: eve@b.example\r\nFrom:", 1)
        assert not dkim.verify(added, dnsfunc=record)
    signed = str(server.messages[1].message["DKIM-Signature"]).replace(" ", "")
    assert {"list-id", "feedback-id", "auto-submitted"} <= set(
        signed.partition("h=")[2].partition(";")[0].split(":")
    )


@pytest.mark.parametrize(
    ("key", "settings", "problem"),
    [
        ("not a key", {}, "RSA private key in PEM"),
        (PEM[:300], {}, "RSA private key in PEM"),
        (ED25519, {}, "Ed25519"),
        (PEM, {"dkim_selector": ""}, "dkim_selector"),
    ],
)
def test_a_key_that_cannot_be_used_is_told_and_sends_nothing_unsigned(
    signing: Callable[..., Any],
    smtp_server: SmtpServer,
    key: Any,
    settings: dict[str, Any],
    problem: str,
) -> None:
    with pytest.raises(ValueError, match=problem):
        signing(smtp_server.url, key, **settings)
    assert smtp_server.greetings == 0
