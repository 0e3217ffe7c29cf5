"""The requests to the issuer: guarded and bounded as all outgoing requests are.

The settings choose the issuer, so its host may be anywhere. The other addresses stand in a document
of the issuer's, and so reach what an account reaches: the public internet, and
``OUTGOING_PRIVATE_HOSTS``.
"""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
import structlog
from allauth.core.exceptions import ImmediateHttpResponse
from django.conf import settings
from django.http import HttpRequest
from django.shortcuts import render

from notifications.channels import requests_adapter
from notifications.channels.http_client import Answer, HttpClient
from notifications.channels.outgoing import Reach
from notifications.core.errors import DeliveryError

log = structlog.get_logger(__name__)

SECONDS = 10.0  # for all requests that one request of a browser leads to

_CLIENTS = {reach: HttpClient(reach=reach) for reach in (Reach.SETTINGS, Reach.ACCOUNT)}


class Session(requests.Session):
    """Makes the requests that one request of a browser leads to.

    Raises ``ImmediateHttpResponse``, which allauth answers with, where the issuer does not answer
    as it should.
    """

    def __init__(self, request: HttpRequest) -> None:
        super().__init__()
        self._request = request
        requests_adapter.mount(self, self._make)

    def get(self, url: str | bytes, **options: Any) -> requests.Response:
        """Fetch a JSON object; all that allauth fetches is one."""
        response = super().get(url, **options)
        try:
            is_object = isinstance(response.json(), dict)
        except ValueError:
            is_object = False
        if response.status_code != 200 or not is_object:
            raise self._away(f"HTTP {response.status_code}, which is not an answer of an issuer")
        return response

    def _make(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> Answer:
        own, asked = urlsplit(settings.ADMIN_OIDC_ISSUER), urlsplit(url)
        if own.scheme == "https" != asked.scheme:
            raise self._away("an address without TLS")
        reach = Reach.SETTINGS if asked.hostname == own.hostname else Reach.ACCOUNT
        try:
            return _CLIENTS[reach].request(
                method, url, timeout=self._seconds_left(), content=body, headers=headers
            )
        except DeliveryError as error:
            raise self._away(error.code or type(error).__name__) from error

    def _seconds_left(self) -> float:
        ends: float | None = getattr(self._request, "issuer_ends", None)
        if ends is None:
            ends = time.monotonic() + SECONDS
            self._request.issuer_ends = ends  # type: ignore[attr-defined]  # of all its sessions
        return ends - time.monotonic()

    def _away(self, why: str) -> ImmediateHttpResponse:
        log.warning("issuer_away", why=why)
        return ImmediateHttpResponse(render(self._request, "config/issuer_away.html", status=503))
