"""Signatures of mail (DKIM, RFC 6376) by dkimpy."""

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import dkim
import dkim.crypto

from notifications.core.errors import PermanentError

# What a reader sees and what mail programs act on; RFC 8058, 4 wants the last two signed.
SIGNED = (
    *("from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id"),
    *("in-reply-to", "references", "mime-version", "content-type", "content-transfer-encoding"),
    *("auto-submitted", "list-id", "feedback-id", "list-unsubscribe", "list-unsubscribe-post"),
)
# Signed once more than they are there, so that nobody can add one (RFC 6376, 8.15).
NO_MORE = (b"from", b"subject", b"to", b"date")
_AS_SENT = (b"relaxed", b"relaxed")
FEWEST_BITS = 1024  # RFC 8301, 3.2
_LABEL = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
_OTHER_SORTS = {
    bytes.fromhex("06032b6570"): "Ed25519",
    bytes.fromhex("06072a8648ce3d0201"): "EC",
}  # by the OID in PKCS #8
_UNUSABLE = (dkim.crypto.UnparsableKeyError, ArithmeticError, LookupError, TypeError, ValueError)
_WANTED = "It must be an RSA private key in PEM, as openssl genrsa -out dkim.pem 2048 writes it."


def key_problem(key: str) -> str:
    """Say why mail cannot be signed by a key, and what to do; ``""`` if it can.

    The text has no part of the key.
    """
    problem = _problem(key.strip())
    return f"{problem} {_WANTED}" if problem else ""


def _problem(key: str) -> str:
    label = _LABEL.search(key)
    if label is None:
        return "It is not a key in PEM."
    if "PRIVATE KEY" not in label[1]:
        return "It is the public half of a key, or a certificate."
    if "ENCRYPTED" in key.partition("-----END")[0]:
        return "It is encrypted. Remove its passphrase: openssl rsa -in KEY -out dkim.pem."
    if label[1] not in ("PRIVATE KEY", "RSA PRIVATE KEY"):
        return _of_another_sort(label[1].removesuffix(" PRIVATE KEY"))
    if "\n" not in key:
        return "It has lost its line breaks. Name its file rather than its text."
    try:
        private = dkim.crypto.parse_pem_private_key(_octets(key))
        bits = private["modulus"].bit_length()
        is_whole = private["modulus"] == private["prime1"] * private["prime2"]
    except _UNUSABLE:
        return _unreadable(key)
    if bits < FEWEST_BITS:
        return f"It has {bits} bits; receivers ignore signatures by fewer than {FEWEST_BITS:,}."
    return "" if is_whole else "It is damaged."


def _unreadable(key: str) -> str:
    body = "".join(line for line in key.splitlines() if not line.startswith("-"))
    try:
        octets = b64decode(body)
    except ValueError:
        octets = b""
    sorts = [sort for oid, sort in _OTHER_SORTS.items() if oid in octets[:40]]
    return _of_another_sort(sorts[0]) if sorts else "It is cut off or damaged."


def _of_another_sort(sort: str) -> str:
    return f"It is a key of {sort}. Use an RSA key, whose signatures every large receiver verifies."


def _octets(key: str) -> bytes:
    return key.strip().replace("\r\n", "\n").encode()


class Signer:
    """Signs the mails of one account. Raises ``ValueError`` for a key that cannot be used."""

    def __init__(self, key: str, selector: str, domain: str) -> None:
        if problem := key_problem(key):
            raise ValueError(f"dkim_key: {problem}")
        self._key = _octets(key)
        self._selector, self._domain = selector.encode(), domain.encode()

    @property
    def record_name(self) -> str:
        """The name of the TXT record that has the public key."""
        return f"{self._selector.decode()}._domainkey.{self._domain.decode()}"

    def is_of(self, record: str) -> bool:
        """Tell whether a TXT record has the public key of this signer."""
        match = re.search(r"(?:^|;)\s*p=([A-Za-z0-9+/=\s]+)", record)
        if match is None:
            return False
        try:
            public = dkim.crypto.parse_public_key(b64decode("".join(match[1].split())))
        except (dkim.crypto.UnparsableKeyError, ValueError):
            return False
        private = dkim.crypto.parse_pem_private_key(self._key)
        return bool(public["modulus"] == private["modulus"])

    def signed(self, mail: bytes) -> bytes:
        """Return a mail below its signature. Raises ``PermanentError`` for one without a From."""
        head = mail.partition(b"\r\n\r\n")[0].lower()
        names = [line.partition(b":")[0].strip() for line in head.split(b"\r\n")]
        included = [name for name in names if name.decode("ascii", "replace") in SIGNED]
        try:
            signature: bytes = dkim.sign(
                mail,
                self._selector,
                self._domain,
                self._key,
                canonicalize=_AS_SENT,
                include_headers=[*included, *NO_MORE],
            )
        except (dkim.DKIMException, ValueError) as error:
            raise PermanentError(
                f"The mail cannot be signed ({type(error).__name__}).", code="dkim", elsewhere=True
            ) from None
        return signature + mail


def of_account(settings: Mapping[str, Any], key: str, sender: str) -> Signer:
    """Make the signer of an account that has a key; its domain is the sender's by default."""
    domain = settings.get("dkim_domain") or sender.rpartition("@")[2]
    return Signer(key, settings["dkim_selector"], domain)
