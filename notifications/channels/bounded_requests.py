"""Our bounded HTTP client for libraries that bring clients of their own: requests and botocore.

So each of their requests is over in the message's time, whatever its server does, and an endless
answer fills no memory.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.session import Session as BotocoreSession

from notifications.channels import requests_adapter
from notifications.channels.http_client import Answer, HttpClient
from notifications.channels.outgoing import Reach
from notifications.core.errors import UnknownOutcome


class BoundedRequests:
    """Makes the requests of the message that this thread sends; others are refused.

    ``reach`` says who chose the addresses. ``answer`` is the last that this message got, None
    before any.
    """

    def __init__(self, reach: Reach = Reach.ACCOUNT) -> None:
        self._client = HttpClient(reach=reach)
        self._of_thread = threading.local()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Bound the requests of this block, all together, by so many seconds."""
        self._of_thread.ends = time.monotonic() + seconds
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

    def make(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> Answer:
        """Make one request. Raises as ``HttpClient.request``."""
        left = self._of_thread.ends - time.monotonic()
        if left <= 0 and self._of_thread.answer is not None:
            raise UnknownOutcome("The message's time limit has passed.", code="timeout")
        answer = self._client.request(method, url, timeout=left, content=body, headers=headers)
        self._of_thread.answer = answer
        return answer

    def session(self) -> requests.Session:
        """Make a session of the library whose requests are ours."""
        return self.bound(requests.Session())

    def bound(self, session: requests.Session) -> requests.Session:
        """Let a session's requests be ours."""
        return requests_adapter.mount(session, self.make)

    def for_botocore(self) -> BotocoreSession:
        """Make a session of botocore whose clients' requests are ours, of every service."""
        session = BotocoreSession()
        session.register("before-send", self._send_for_botocore)
        return session

    def _send_for_botocore(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        headers = requests_adapter.texts(request.headers)
        answer = self.make(request.method, request.url, headers, request.body)
        return AWSResponse(request.url, answer.status, dict(answer.headers), _Raw(answer.body))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class _Raw:
    """An answer as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self._body
