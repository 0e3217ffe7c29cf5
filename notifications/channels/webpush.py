"""Push to browsers (RFC 8030), encrypted (RFC 8291) and signed (VAPID, RFC 8292)."""

import json
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from http_ece import ECEException
from py_vapid import Vapid
from pywebpush import WebPusher, WebPushException

from notifications.channels.base import Account, Message
from notifications.channels.http import HttpProvider, classify, credentials_refused
from notifications.channels.http_client import HttpClient
from notifications.errors import InvalidRecipient, PermanentError

FOREVER = 2_419_200  # seconds: four weeks, as long as push services keep a message


class WebPushProvider(HttpProvider):
    """Sends to one browser; the recipient is its subscription, as JSON."""

    kind = "webpush"
    channels = ("push",)
    setting_names = {"subject": "Whom a push service may ask, like mailto:push@example.org."}
    secret_names = {"vapid_private_key": "The VAPID key: PEM, or the raw key in base64url."}

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        key = account.secrets["vapid_private_key"]
        pem = key.startswith("-----")
        self._vapid = Vapid.from_pem(key.encode()) if pem else Vapid.from_string(key)

    def make_client(self) -> HttpClient:
        # The endpoint is the browser's word, so it must not lead into our own network.
        return HttpClient(guarded=not settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES)

    def send(self, message: Message) -> str:
        subscription = _subscription(message.recipient)
        endpoint = str(subscription["endpoint"])
        ttl = FOREVER if message.ttl is None else min(message.ttl, FOREVER)
        answer = self.request(
            message,
            "POST",
            endpoint,
            content=_encrypted(subscription, message),
            headers={
                **self._signed_for(endpoint),
                "Content-Encoding": "aes128gcm",
                "Content-Type": "application/octet-stream",
                "TTL": str(ttl),
            },
        )
        if answer.status in (404, 410):  # RFC 8030, 7.3
            raise InvalidRecipient("The subscription is over.", code=f"HTTP {answer.status}")
        credentials_refused(answer)
        classify(answer)
        return answer.headers.get("location", "")

    def _signed_for(self, endpoint: str) -> dict[str, str]:
        parts = urlsplit(endpoint)
        claims = {
            "sub": self.account.settings["subject"],
            "aud": f"{parts.scheme}://{parts.netloc}",
        }
        signed: dict[str, str] = self._vapid.sign(claims)
        return signed


def _subscription(recipient: str) -> dict[str, Any]:
    try:
        found = json.loads(recipient)
        if found["endpoint"] and found["keys"]["p256dh"] and found["keys"]["auth"]:
            return dict(found)
    except (ValueError, TypeError, KeyError):
        pass
    raise InvalidRecipient("The recipient is no push subscription.", code="bad_subscription")


def _encrypted(subscription: dict[str, Any], message: Message) -> bytes:
    content = {name: value for name, value in message.content.items() if value}
    try:
        encoded = WebPusher(subscription).encode(json.dumps(content).encode(), "aes128gcm")
    except (WebPushException, ECEException, ValueError, IndexError) as error:
        raise InvalidRecipient("The subscription's keys are none.", code="bad_keys") from error
    if encoded is None:
        raise PermanentError("There is nothing to send.", code="empty")
    return bytes(encoded["body"])
