"""Push by Firebase Cloud Messaging's HTTP v1 API.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
"""

import json
import threading
import time
from collections.abc import Mapping
from typing import Any

from google.auth.exceptions import GoogleAuthError
from google.auth.transport import Request as TokenRequest
from google.oauth2.service_account import Credentials

from notifications.channels.base import Account, Message
from notifications.channels.http import HttpProvider, accepted, classify, json_object
from notifications.channels.http_client import Answer, HttpClient
from notifications.errors import DeliveryError, InvalidRecipient, TransientError

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
LONGEST_TTL = 2_419_200  # seconds: four weeks, FCM's own limit
# The operator mends these: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
_OPERATORS = {"THIRD_PARTY_AUTH_ERROR", "UNAUTHENTICATED", "PERMISSION_DENIED"}


class FcmProvider(HttpProvider):
    """Sends to one device; the recipient is its registration token."""

    kind = "fcm"
    channels = ("push",)
    setting_names = {"url": "Where the API is.", "ca_file": "A certificate authority to trust."}
    secret_names = {"service_account": "The service account's key file, as JSON."}
    optional = frozenset({"url", "ca_file"})

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        key = json.loads(account.secrets["service_account"])
        url = account.settings.get("url", "https://fcm.googleapis.com").rstrip("/")
        self._url = f"{url}/v1/projects/{key['project_id']}/messages:send"
        self._credentials = Credentials.from_service_account_info(key, scopes=[SCOPE])  # type: ignore[no-untyped-call]  # google-auth has no types
        self._refreshing = threading.Lock()

    def send(self, message: Message) -> str:
        started = time.monotonic()
        headers = {"Authorization": f"Bearer {self._token(message.timeout)}"}
        answer = self.client.request(
            "POST",
            self._url,
            timeout=max(message.timeout - (time.monotonic() - started), 0.1),
            json={"message": body(message)},
            headers=headers,
        )
        _class(answer)
        return accepted(answer, "name")

    def _token(self, timeout: float) -> str:
        """Give an access token, fetched anew when it is about to expire."""
        with self._refreshing:
            if not self._credentials.valid:
                try:
                    self._credentials.refresh(_Transport(self.client, timeout))
                except (GoogleAuthError, DeliveryError) as error:
                    raise TransientError(
                        "There is no access token to be had.", code=type(error).__name__
                    ) from error
            return str(self._credentials.token)


def body(message: Message) -> dict[str, Any]:
    """Make FCM's message; what expires carries its time to live for every kind of device."""
    content = message.content
    made: dict[str, Any] = {
        "token": message.recipient,
        "notification": {"title": content.get("title", ""), "body": content.get("body", "")},
    }
    if content.get("data"):
        made["data"] = {str(name): str(value) for name, value in content["data"].items()}
    if message.ttl is not None:
        ttl = min(message.ttl, LONGEST_TTL)
        made["android"] = {"ttl": f"{ttl}s"}
        made["apns"] = {"headers": {"apns-expiration": str(int(time.time()) + ttl)}}
        made["webpush"] = {"headers": {"TTL": str(ttl)}}
    return made


def _class(answer: Answer) -> None:
    error = json_object(answer).get("error")
    error = error if isinstance(error, Mapping) else {}
    details = error.get("details")
    codes = [d.get("errorCode") for d in details or () if isinstance(d, Mapping)]
    code = str(next(filter(None, codes), error.get("status") or ""))[:50]
    detail = str(error.get("message") or "")
    if code == "UNREGISTERED" or "not a valid FCM registration token" in detail:
        raise InvalidRecipient(detail, code=code)
    if code in _OPERATORS or answer.status == 401:
        raise TransientError(detail or "The credentials were refused.", code=code or "HTTP 401")
    classify(answer, detail, code)


class _Transport(TokenRequest):
    """Lets google-auth fetch its tokens through our client, within the message's time."""

    def __init__(self, client: HttpClient, timeout: float) -> None:
        self._client = client
        self._timeout = timeout

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> "_Response":
        answer = self._client.request(
            method, url, timeout=self._timeout, content=body, headers=headers
        )
        return _Response(answer)


class _Response:
    """An answer as google-auth reads it."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.data = answer.body
