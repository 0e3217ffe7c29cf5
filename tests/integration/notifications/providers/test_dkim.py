"""Mail that is signed by an account's key arrives with a signature that holds (RFC 6376)."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from notifications.channels.mail import StoredFile
from notifications.core.attempt import Result
from tests.servers.smtp import SmtpServer

KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
).decode()


def pem(
    key: Any,
    sort: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8,
    password: bytes = b"",
) -> str:
    hidden = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return str(key.private_bytes(serialization.Encoding.PEM, sort, hidden).decode())


PKCS1 = serialization.PrivateFormat.TraditionalOpenSSL
ED25519 = pem(ed25519.Ed25519PrivateKey.generate())
EC = ec.generate_private_key(ec.SECP256R1())
PUBLIC = (
    KEY.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
SHORT = """-----BEGIN RSA PRIVATE KEY-----
MIIBOgIBAAJBAOFdzHbVvW2fJjQTj2fjwVJG24F258DZ2rbm1Bm3WDX11DJVaiDg
18rgs/nslDfmpPU5eVaUMM2BYAMr4LxE/kUCAwEAAQJAJ+kKiojzkPQ8OcC1Brro
w39U5CqAhECQYQ+jxCIZ9wQKyyBqb+gDl85UjrSX/iRneR4Zbtt3xe3jGw/eJ49i
CQIhAPBOzC9QyOvfjQqa8E3POqOMbZ01Xs8/3o7WwxWTnwKfAiEA8BU6JBYjZwxq
MkgQduAJ5BVXB+o4obW+f6C4LIiQmJsCIQCEsE3IVogKze5YC8Nig2lygwjHhH+s
WizunCEuGcv0KwIgPKGvwENTB4hMHYyzk8H63X5CL36IdNZ4WLUXLjADDHcCIDld
swzf0o+aQEMwre5RpOe602ZibHbyNCaGNFYKqT1o
-----END RSA PRIVATE KEY-----
"""
UNUSABLE = [
    ("not a key", "not a key in PEM"),
    (PEM[:300], "cut off"),
    (PEM[:300] + "\n-----END PRIVATE KEY-----", "cut off"),
    (PEM.replace("\n", " "), "line breaks"),
    (PEM.replace("\n", "\\n"), "line breaks"),
    (PUBLIC, "public half"),
    (pem(EC), "key of EC"),
    (pem(EC, PKCS1), "key of EC"),
    (ED25519, "key of Ed25519"),
    (pem(KEY, password=b"x"), "encrypted"),
    (pem(KEY, PKCS1, b"x"), "encrypted"),
    (SHORT, "512 bits"),
]
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
        *((key, {}, problem) for key, problem in UNUSABLE),
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
    with pytest.raises(ValueError, match=problem) as refused:
        signing(smtp_server.url, key, **settings)
    assert smtp_server.greetings == 0
    assert not any(line in str(refused.value) for line in key.split() if len(line) > 20)


@pytest.mark.parametrize("key", [PEM.replace("\n", "\r\n"), pem(KEY, PKCS1)])
def test_a_key_is_taken_as_programs_write_it(
    signing: Callable[..., Any], smtp_server: SmtpServer, message: Callable[..., Any], key: str
) -> None:
    assert signing(smtp_server.url, key).outcome_of(message()).result is Result.SENT
    assert dkim.verify(smtp_server.messages[0].octets, dnsfunc=record)
