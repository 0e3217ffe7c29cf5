"""The library ``requests`` over our HTTP client: bounded in time, in size and in where it leads."""

from collections.abc import Callable, Mapping
from typing import Any

import requests
from requests.adapters import BaseAdapter

from notifications.channels.http_client import Answer

Make = Callable[[str, str, Mapping[str, str], Any], Answer]
"""Makes one request of this method, URL, headers and body. Raises as ``HttpClient.request``."""


def mount(session: requests.Session, make: Make) -> requests.Session:
    """Let ``make`` do all requests of a session; neither proxies nor redirects are followed."""
    session.trust_env = False
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(make))
    return session


class _Adapter(BaseAdapter):
    def __init__(self, make: Make) -> None:
        super().__init__()
        self._make = make

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        answer = self._make(
            request.method or "GET", request.url or "", texts(request.headers), request.body
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


def texts(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return headers as our client takes them, without a wish that the answer be packed."""
    plain = {n: v.decode("latin-1") if isinstance(v, bytes) else str(v) for n, v in headers.items()}
    return {**plain, "Accept-Encoding": "identity"}
