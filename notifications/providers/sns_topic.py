"""What a topic of Amazon SNS posts: believed if it is of our topic, fresh, and signed by SNS.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from notifications.channels.base import ForgedCallback

OLDEST = timedelta(days=1)  # SNS tries again for an hour, and our clocks may differ
_KEPT = 10  # certificates
_ARN = re.compile(r"arn:aws(-cn|-us-gov)?:sns:([a-z0-9-]{1,30}):\d{12}:[A-Za-z0-9_-]{1,256}")
_OF_A_SUBSCRIPTION = (
    *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
)
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": _OF_A_SUBSCRIPTION,
    "UnsubscribeConfirmation": _OF_A_SUBSCRIPTION,
}
_HASHES: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 -- SNS's default

Fetch = Callable[[str], bytes]


def is_arn(text: object) -> bool:
    """Tell whether this is the name of a topic."""
    return isinstance(text, str) and _ARN.fullmatch(text) is not None


class Topic:
    """One topic. ``fetch`` reads an address of SNS; ``root`` is where the API is, if not there."""

    def __init__(self, arn: str, fetch: Fetch, root: str = "") -> None:
        self._arn = arn
        self._fetch = fetch
        match = _ARN.fullmatch(arn)
        end = "amazonaws.com.cn" if match and match[1] == "-cn" else "amazonaws.com"
        self._root = (root or f"https://sns.{match[2] if match else ''}.{end}").rstrip("/") + "/"
        self._keys: dict[str, RSAPublicKey] = {}

    def read(self, body: bytes) -> Mapping[str, Any]:
        """Return what SNS posted; a subscription is confirmed.

        Raises ``ForgedCallback``, and ``ValueError`` for what makes no sense.
        """
        message = json.loads(body)
        if not isinstance(message, dict) or message.get("Type") not in _SIGNED:
            raise ForgedCallback("It is not a message of SNS.")
        if message.get("TopicArn") != self._arn:
            raise ForgedCallback("It is of another topic.")
        self._check_signature(message)
        if abs(datetime.now(UTC) - datetime.fromisoformat(str(message["Timestamp"]))) > OLDEST:
            raise ForgedCallback("It is too old.")
        if message["Type"] == "SubscriptionConfirmation":
            self._fetch(self._of_sns(message.get("SubscribeURL")))
        return message

    def _check_signature(self, message: Mapping[str, Any]) -> None:
        names = _SIGNED[message["Type"]]
        signed = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
        how = _HASHES.get(str(message.get("SignatureVersion")))
        if how is None:
            raise ForgedCallback("It is not signed in a known way.")
        signature = base64.b64decode(str(message.get("Signature", "")))
        try:
            key = self._key(self._of_sns(message.get("SigningCertURL")))
            key.verify(signature, signed.encode(), PKCS1v15(), how)
        except InvalidSignature:
            raise ForgedCallback("The signature is not SNS's.") from None

    def _key(self, url: str) -> RSAPublicKey:
        if url not in self._keys:
            key = x509.load_pem_x509_certificate(self._fetch(url)).public_key()
            if not isinstance(key, RSAPublicKey):
                raise ForgedCallback("The certificate's key is not one that SNS uses.")
            if len(self._keys) >= _KEPT:
                self._keys.clear()
            self._keys[url] = key
        return self._keys[url]

    def _of_sns(self, url: object) -> str:
        """Return an address if it is one of SNS in the topic's region."""
        if not isinstance(url, str) or not url.startswith(self._root):
            raise ForgedCallback("It names an address outside SNS.")
        return url
