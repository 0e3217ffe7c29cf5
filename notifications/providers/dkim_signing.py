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


class Signer:
    """Signs the mails of one account. Raises ``ValueError`` for a key that cannot be used."""

    def __init__(self, key: str, selector: str, domain: str) -> None:
        self._key = key.strip().encode()
        self._selector, self._domain = selector.encode(), domain.encode()
        try:
            self.signed(b"From: a@b.example\r\n\r\n")
        except (PermanentError, ArithmeticError, KeyError, TypeError, IndexError) as error:
            raise ValueError(
                "The DKIM key must be an RSA private key in PEM. Ed25519 (RFC 8463) is not signed "
                "with: large receivers do not verify it, so mail needs the RSA signature anyway."
            ) from error

    @property
    def record_name(self) -> str:
        """The name of the TXT record that has the public key."""
        return f"{self._selector.decode()}._domainkey.{self._domain.decode()}"

    def is_of(self, record: str) -> bool:
        """Tell whether a TXT record has the public key of this signer."""
        found = re.search(r"(?:^|;)\s*p=([A-Za-z0-9+/=\s]+)", record)
        if found is None:
            return False
        try:
            public = dkim.crypto.parse_public_key(b64decode("".join(found[1].split())))
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
