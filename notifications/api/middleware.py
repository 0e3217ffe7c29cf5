"""Around every request: its id, in the answer and in each line of the log."""

import contextlib
import re
import time
from collections.abc import Callable

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from uuid_utils.compat import uuid7

from notifications import tracing
from notifications.api import declared_charset, problems
from notifications.queueing import patience
from scheduling.postgresql import patience as database

log = structlog.get_logger(__name__)

HEADER = "X-Request-ID"
LITTLE = 65_536
"""Bytes of a body that are read although the request is refused."""
BROKER_PATIENCE = 1.0
"""Seconds for which a call waits for the broker; what it has not asked by then the sweep does."""
_PLAIN = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)

# Below /v2/ refusals are plain JSON.
_OWN_TYPES = (problems.CONTENT_TYPE, "application/json")

Answer = Callable[[HttpRequest], HttpResponse]


def request_id(answer: Answer) -> Answer:
    """Give each request an id: the caller's own where it is a plain word, else a new one."""

    def middleware(request: HttpRequest) -> HttpResponse:
        given = request.headers.get(HEADER, "")
        id_ = given if _PLAIN.fullmatch(given) else str(uuid7())
        request.id = id_  # type: ignore[attr-defined]
        with structlog.contextvars.bound_contextvars(request_id=id_):
            response = answer(request)
        response[HEADER] = id_
        if response.status_code >= 300:
            _read_rest(request)
        return response

    return middleware


def _read_rest(request: HttpRequest) -> None:
    """Read what a refused request still brings, if it is little.

    A server closes a connection on which a body was left unread (RFC 9112, 9.3), and the next
    request, which the client has sent on it meanwhile, fails without an answer.
    """
    length = request.headers.get("Content-Length", "")
    if length.isdecimal() and 0 < int(length) <= LITTLE:
        with contextlib.suppress(OSError):  # the client has gone
            request.read(LITTLE)


def api(answer: Answer) -> Answer:
    """Log each call of the API, and turn what Django itself refuses into problem documents."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(declared_charset.PATHS):
            return answer(request)
        started = time.monotonic()
        if _would_be_redirected(request):
            response = problems.answer(request, problems.Problem("https-required"))
        else:
            with database.one_call(), patience.waiting_at_most(BROKER_PATIENCE):
                response = tracing.answered(request, answer)
        if response.status_code >= 400 and response["Content-Type"] not in _OWN_TYPES:
            response = _as_problem(request, response)
        log.info(
            "api_call",
            method=request.method,
            path=request.path,
            status=response.status_code,
            ms=round((time.monotonic() - started) * 1000, 1),
        )
        return response

    return middleware


def _would_be_redirected(request: HttpRequest) -> bool:
    """Return whether a redirect to HTTPS would lose the request: clients follow it with a GET."""
    is_plain = settings.SECURE_SSL_REDIRECT and not request.is_secure()
    return is_plain and request.method not in ("GET", "HEAD", "OPTIONS")


def _as_problem(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    problem = problems.answer(request, problems.for_status(response.status_code))
    for name, value in response.items():
        if not name.lower().startswith("content-"):
            problem[name] = value
    return problem
