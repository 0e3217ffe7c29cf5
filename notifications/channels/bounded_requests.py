"""Our bounded HTTP client for libraries that bring clients of their own: requests and botocore.

So each of their requests is over in the message's time, whatever its server does, and an endless
answer fills no memory.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from requests.adapters import BaseAdapter

from notifications.channels.base import Message
from notifications.channels.http_client import Answer, HttpClient
from notifications.core.errors import UnknownOutcome


class BoundedRequests:
    """Makes the requests of the message that this thread sends; others are refused.

    ``answer`` is the last that this message got, None before any.
    """

    def __init__(self) -> None:
        self._client = HttpClient()
        self._of_thread = threading.local()

    @contextmanager
    def sending(self, message: Message) -> Iterator[None]:
        """Bound the requests of this block, all together, by the message's time."""
        self._of_thread.ends = time.monotonic() + message.seconds_left()
        self._of_thread.answer = None
        try:
            yield
        finally:
            del self._of_thread.ends

    @property
    def answer(self) -> Answer | None:
        """The last answer of this thread; ``None`` before the first."""
        found: Answer | None = self._of_thread.answer
        return found

    def make(self, method: str, url: str, headers: Mapping[str, Any], body: Any) -> Answer:
        """Make one request. Raises as ``HttpClient.request``."""
        left = self._of_thread.ends - time.monotonic()
        if left <= 0 and self._of_thread.answer is not None:
            raise UnknownOutcome("The time for this message is over.", code="timeout")
        answer = self._client.request(
            method,
            url,
            timeout=left,
            content=body,
            headers={**_texts(headers), "Accept-Encoding": "identity"},
        )
        self._of_thread.answer = answer
        return answer

    def session(self) -> requests.Session:
        """Make a session of the library whose requests are ours."""
        return self.bound(requests.Session())

    def bound(self, session: requests.Session) -> requests.Session:
        """Let a session's requests be ours."""
        session.trust_env = False
        for scheme in ("https://", "http://"):
            session.mount(scheme, _Adapter(self.make))
        return session

    def for_botocore(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """Make a request for botocore, as a handler of its event ``before-send``."""
        answer = self.make(request.method, request.url, request.headers, request.body)
        return AWSResponse(request.url, answer.status, dict(answer.headers), _Raw(answer.body))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class _Adapter(BaseAdapter):
    def __init__(self, make: Callable[..., Answer]) -> None:
        super().__init__()
        self._make = make

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        answer = self._make(
            request.method or "GET", request.url or "", request.headers, request.body
        )
        response = requests.Response()
        response.status_code = answer.status
        response.headers.update(answer.headers)
        # A redirect is refused by its status, not followed with our credentials.
        response.headers.pop("location", None)
        response.url = request.url or ""
        response.request = request
        response._content = answer.body  # noqa: SLF001 -- the library has no other way in
        return response

    def close(self) -> None:
        """Let go of nothing: the connections are the client's."""


class _Raw:
    """An answer as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self._body


def _texts(headers: Mapping[str, Any]) -> dict[str, str]:
    return {n: v.decode("latin-1") if isinstance(v, bytes) else str(v) for n, v in headers.items()}
