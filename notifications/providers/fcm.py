"""Push by Firebase Cloud Messaging's HTTP v1 API.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
"""

import json
import re
import threading
import time
from collections.abc import Mapping
from typing import Any

from google.auth.exceptions import GoogleAuthError, RefreshError
from google.auth.transport import Request as TokenRequest
from google.oauth2.service_account import Credentials

from notifications.channels import options
from notifications.channels.base import Account, Content, Fit, Message
from notifications.channels.http import HttpProvider, accepted, classify, json_object
from notifications.channels.http_client import Answer, HttpClient
from notifications.core.errors import (
    AccountRefused,
    DeliveryError,
    InvalidRecipient,
    PermanentError,
    TransientError,
)
from templates_engine.parts import is_reserved

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
LARGEST_PAYLOAD = 4000  # bytes of notification and data; APNs, to which FCM hands on, takes 4096
_IN_A_KEY = ("project_id", "private_key", "client_email", "token_uri")
_TOKEN = re.compile(r"[^\s{}\[\]\"]+")
# The operator mends these: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
_OPERATORS = {"THIRD_PARTY_AUTH_ERROR", "UNAUTHENTICATED", "PERMISSION_DENIED"}


class FcmProvider(HttpProvider):
    """Sends to one device; the recipient is its registration token."""

    kind = "fcm"
    channels = ("push",)
    option_names = options.OF_PUSH
    setting_names = {"url": "The URL of the API.", "ca_file": "A certificate authority to trust."}
    secret_names = {"service_account": "The service account's key file, as JSON."}
    optional = frozenset({"url", "ca_file"})

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        key = json.loads(account.secrets["service_account"])
        url = account.settings.get("url", "https://fcm.googleapis.com").rstrip("/")
        self._url = f"{url}/v1/projects/{key['project_id']}/messages:send"
        self._credentials = Credentials.from_service_account_info(key, scopes=[SCOPE])  # type: ignore[no-untyped-call]  # google-auth has no types
        self._refreshing = threading.Lock()

    @classmethod
    def takes(cls, recipient: str) -> Fit:
        return Fit.CERTAIN if _TOKEN.fullmatch(recipient) else Fit.NO

    @classmethod
    def refuses(cls, content: Content) -> str:
        return _data_problem(content.get("data") or {}) or _too_large(content)

    @classmethod
    def secret_problem(cls, name: str, value: str) -> str:
        try:
            key = json.loads(value)
            is_key = isinstance(key, dict) and all(isinstance(key.get(n), str) for n in _IN_A_KEY)
        except (ValueError, RecursionError):
            is_key = False
        return "" if is_key else f"It must be a key file's JSON, with {', '.join(_IN_A_KEY)}."

    def send(self, message: Message) -> str:
        if not self.takes(message.recipient):
            raise PermanentError(
                "It is not a valid token of FCM.", code="not_a_token", elsewhere=True
            )
        deadline = time.monotonic() + message.seconds_left()
        headers = {"Authorization": f"Bearer {self._token(deadline)}"}
        answer = self.client.request(
            "POST",
            self._url,
            timeout=deadline - time.monotonic(),
            json={"message": body(message)},
            headers=headers,
        )
        _class(answer)
        return accepted(answer, "name")

    def _token(self, deadline: float) -> str:
        """Return an access token, fetched anew when it is about to expire.

        Raises ``TransientError`` where another thread's fetching lasts past the deadline.
        """
        if not self._refreshing.acquire(timeout=max(deadline - time.monotonic(), 0)):
            raise TransientError("No access token came in time.", code="timeout")
        try:
            if not self._credentials.valid:
                self._credentials.refresh(_Transport(self.client, deadline))
            return str(self._credentials.token)
        except (GoogleAuthError, DeliveryError) as error:
            raise AccountRefused(
                "No access token can be obtained.", code=type(error).__name__
            ) from error
        finally:
            self._refreshing.release()


def body(message: Message) -> dict[str, Any]:
    """Make FCM's message, which says its options in the words of every kind of device."""
    made: dict[str, Any] = {"token": message.recipient, **_payload(message.content)}
    given = options.of(message.content)
    android: dict[str, Any] = {}
    apns: dict[str, str] = {}
    webpush: dict[str, str] = {}
    ttl = options.time_to_live(given, message.ttl)
    if ttl is not None:
        ttl = min(ttl, options.LONGEST_TTL)
        android["ttl"] = f"{ttl}s"
        apns["apns-expiration"] = str(int(time.time()) + ttl if ttl else 0)
        webpush["TTL"] = str(ttl)
    urgent = options.is_urgent(given)
    if urgent is not None:
        android["priority"] = "HIGH" if urgent else "NORMAL"
        apns["apns-priority"] = "10" if urgent else "5"
        webpush["Urgency"] = options.urgency(given)
    if key := options.collapse_key(given):
        android["collapse_key"] = apns["apns-collapse-id"] = key
        webpush["Topic"] = options.topic(given)
    if android:
        made |= {"android": android, "apns": {"headers": apns}, "webpush": {"headers": webpush}}
    if image := given.get("image"):
        # An app on iOS fetches it if it may change the notification.
        payload = {"aps": {"mutable-content": 1}}
        shown = {"payload": payload, "fcm_options": {"image": image}}
        made["apns"] = {**made.get("apns", {}), **shown}
    return made


def _payload(content: Content) -> dict[str, Any]:
    made: dict[str, Any] = {
        "notification": {"title": content.get("title", ""), "body": content.get("body", "")},
    }
    if image := options.of(content).get("image"):
        made["notification"]["image"] = image
    if content.get("data"):
        made["data"] = {str(name): str(value) for name, value in content["data"].items()}
    return made


def _data_problem(data: Mapping[str, Any]) -> str:
    """Return which key of the data FCM keeps for itself, ``""`` if none is."""
    reserved = next(filter(is_reserved, data), "")
    return f"FCM keeps the data key {reserved[:50]!r} for itself." if reserved else ""


def _too_large(content: Content) -> str:
    size = len(json.dumps(_payload(content), ensure_ascii=False, separators=(",", ":")).encode())
    if size > LARGEST_PAYLOAD:
        return f"The notification has {size} bytes; FCM takes {LARGEST_PAYLOAD}."
    return ""


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
        raise AccountRefused(detail or "The credentials were refused.", code=code or "HTTP 401")
    if code == "SENDER_ID_MISMATCH":
        raise PermanentError(detail or "Another project's token.", code=code, elsewhere=True)
    classify(answer, detail, code)


class _Transport(TokenRequest):
    """Lets google-auth fetch its tokens through our client, before the message's deadline.

    A refusal is raised at once: given back, the library would sleep and ask anew, three times.
    """

    def __init__(self, client: HttpClient, deadline: float) -> None:
        self._client = client
        self._deadline = deadline

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
            method,
            url,
            timeout=self._deadline - time.monotonic(),
            content=body,
            headers=headers,
        )
        if answer.status != 200:
            raise RefreshError(f"The token endpoint answered {answer.status}.")  # type: ignore[no-untyped-call]  # as above
        return _Response(answer)


class _Response:
    """An answer as google-auth reads it."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.data = answer.body
