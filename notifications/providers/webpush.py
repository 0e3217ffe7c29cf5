"""Push to browsers (RFC 8030), encrypted (RFC 8291) and signed (VAPID, RFC 8292)."""

import json
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from http_ece import ECEException
from py_vapid import Vapid
from pywebpush import WebPusher, WebPushException

from notifications.channels import addresses, options, recipients
from notifications.channels.base import Account, Content, Fit, Message, setting_problem
from notifications.channels.http import HttpProvider, classify, credentials_refused
from notifications.channels.http_client import HttpClient
from notifications.channels.outgoing import Reach
from notifications.core.errors import InvalidRecipient, MalformedRecipient, PermanentError

SIGNED_FOR = 12 * 3600  # seconds; at most 24 h (RFC 8292, 2), and clocks differ
LARGEST_PAYLOAD = 4096 - 103  # bytes before encryption adds header, delimiter and tag (RFC 8291, 4)
LENGTHS = (65, 16)  # bytes of a browser's public key, and of its secret (RFC 8291, 2)
# What py_vapid signs for: no endpoint at an IPv6 address, no site with a path.
_ORIGIN = re.compile(r"https?://[^/?#:\[]+(:\d+)?([/?#]|$)")
_SITE = re.compile(r"//[a-z0-9-]+(\.[a-z0-9-]+)+", re.IGNORECASE)


class WebPushProvider(HttpProvider):
    """Sends to one browser; the recipient is its subscription, as JSON."""

    kind = "webpush"
    channels = ("push",)
    setting_names = {"subject": "Whom a push service may contact, like mailto:push@example.org."}
    option_names = options.OF_PUSH
    secret_names = {"vapid_private_key": "The VAPID key: PEM, or the raw key in base64url."}

    @classmethod
    def setting_problems(cls, settings: Mapping[str, Any]) -> list[str]:
        return [*filter(None, [setting_problem("subject", settings, _check_subject)])]

    @classmethod
    def secret_problem(cls, name: str, value: str) -> str:
        try:
            curve = getattr(_vapid(value).private_key, "curve", None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            curve = None
        if isinstance(curve, SECP256R1):
            return ""
        return "It must be a private key of the curve P-256, in PEM or raw in base64url."

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._vapid = _vapid(account.secrets["vapid_private_key"])

    @classmethod
    def takes(cls, recipient: str) -> Fit:
        return Fit.NO if _read(recipient) is None else Fit.CERTAIN

    @classmethod
    def refuses(cls, content: Content) -> str:
        size = len(_plain(content))
        if size > LARGEST_PAYLOAD:
            return f"The notification has {size} bytes; push services take {LARGEST_PAYLOAD}."
        return ""

    def make_client(self) -> HttpClient:
        # The endpoint is the browser's word, so it must not lead into our own network.
        return HttpClient(reach=Reach.RECIPIENT)

    def send(self, message: Message) -> str:
        subscription = _subscription(message.recipient)
        endpoint = str(subscription["endpoint"])
        answer = self.request(
            message,
            "POST",
            endpoint,
            content=_encrypted(subscription, message),
            headers={
                **self._signed_for(endpoint),
                "Content-Encoding": "aes128gcm",
                "Content-Type": "application/octet-stream",
                **_wishes(message),
            },
        )
        if answer.status in (404, 410):  # RFC 8030, 7.3
            raise InvalidRecipient("The subscription is over.", code=f"HTTP {answer.status}")
        credentials_refused(answer)
        classify(answer, is_recipients_url=True)
        return answer.headers.get("location", "")

    def _signed_for(self, endpoint: str) -> dict[str, str]:
        parts = urlsplit(endpoint)
        claims = {
            "sub": self.account.settings["subject"],
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": str(int(time.time()) + SIGNED_FOR),
        }
        signed: dict[str, str] = self._vapid.sign(claims)
        return signed


def _vapid(key: str) -> Vapid:
    is_pem = key.startswith("-----")
    return Vapid.from_pem(key.encode()) if is_pem else Vapid.from_string(key)


def _check_subject(text: str) -> None:
    """Raise ``ValueError`` for what a push service could not ask (RFC 8292, 2.1)."""
    scheme, _, address = text.partition(":")
    if scheme == "https":
        usable = _SITE.fullmatch(address) is not None
    else:
        usable = scheme == "mailto" and addresses.sender(address) == ("", address)
    if not usable:
        raise ValueError("It must be like mailto:push@example.org or https://example.org.")


def _wishes(message: Message) -> dict[str, str]:
    """Write the headers of RFC 8030, 5.2 to 5.4."""
    given = options.of(message.content)
    ttl = options.time_to_live(given, message.ttl)
    made = {"TTL": str(options.LONGEST_TTL if ttl is None else min(ttl, options.LONGEST_TTL))}
    if urgency := options.urgency(given):
        made["Urgency"] = urgency
    if topic := options.topic(given):
        made["Topic"] = topic
    return made


def _read(recipient: str) -> dict[str, Any] | None:
    """Read a subscription (Push API, 5), None where it is something else."""
    try:
        subscription = json.loads(recipient)
        endpoint, keys = recipients.url(subscription["endpoint"]), subscription["keys"]
        public, secret = _decoded(keys["p256dh"]), _decoded(keys["auth"])
        is_whole = (len(public), len(secret)) == LENGTHS and _ORIGIN.match(endpoint) is not None
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), public)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, MalformedRecipient):
        return None
    return {**subscription, "endpoint": endpoint} if is_whole else None


def _decoded(key: str) -> bytes:
    return urlsafe_b64decode(key + "=" * (-len(key) % 4))


def _subscription(recipient: str) -> dict[str, Any]:
    subscription = _read(recipient)
    if subscription is None:
        raise PermanentError(
            "The recipient is not a push subscription.", code="bad_subscription", elsewhere=True
        )
    return subscription


def _plain(content: Content) -> bytes:
    given = {name: value for name, value in content.items() if value and name != "options"}
    if image := options.of(content).get("image"):
        given["image"] = image
    return json.dumps(given, ensure_ascii=False, separators=(",", ":")).encode()


def _encrypted(subscription: dict[str, Any], message: Message) -> bytes:
    try:
        encoded = WebPusher(subscription).encode(_plain(message.content), "aes128gcm")
    except (WebPushException, ECEException, ValueError, IndexError) as error:
        raise InvalidRecipient("The subscription's keys are not valid.", code="bad_keys") from error
    if encoded is None:
        raise PermanentError("There is nothing to send.", code="empty")
    return bytes(encoded["body"])
