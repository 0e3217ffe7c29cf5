"""Traces, where ``NOTIFICATIONS_TRACING`` asks for them: the request, the wait, each provider call.

A row keeps the ``traceparent`` (W3C Trace Context) of what accepted it, so the trace goes on in
whichever process sends it. A span has ids, names and results; never content or a recipient.
OpenTelemetry, of the extra ``otel``, is loaded at the first span.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse

from notifications.core.attempt import Claim, Report
from notifications.core.conf import conf
from notifications.core.retry import Decision


def _spans() -> Any:
    return import_module("notifications.tracing.spans")


def answered(request: HttpRequest, answer: Callable[[HttpRequest], HttpResponse]) -> HttpResponse:
    """Answer a request within a span: its client's trace goes on, or a new one begins."""
    response: HttpResponse = _spans().answered(request, answer) if conf.tracing else answer(request)
    return response


@contextmanager
def submission() -> Iterator[None]:
    """Have what is accepted within be of one span; around a function, of one for each call."""
    if not conf.tracing:
        yield
        return
    with _spans().submission():
        yield


def traceparent() -> str:
    """Return what a row keeps of the current span; empty where nothing is traced."""
    return str(_spans().traceparent()) if conf.tracing else ""


def attempted(kept: Iterable[tuple[Report, Decision]], now: datetime) -> None:
    """Trace the calls of these attempts, which ended ``now``, and before a first one the wait."""
    if conf.tracing:
        _spans().attempted([(r, d) for r, d in kept if r.claim.traceparent], now)


def ended(claims: Sequence[Claim], ids: set[UUID], status: str, reason: str, now: datetime) -> None:
    """Trace the wait of those of the claims that ended without a call."""
    if conf.tracing:
        waited = [claim for claim in claims if claim.id in ids and claim.traceparent]
        _spans().ended(waited, status, reason, now)


def flush() -> None:
    """Hand over what was traced and not sent yet, before the process ends."""
    if conf.tracing:
        _spans().flush()
