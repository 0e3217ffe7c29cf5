"""The spans themselves, by OpenTelemetry's API.

A project that has set up a tracer provider of its own keeps it. Elsewhere one is made that sends by
OTLP over HTTP, as the variables ``OTEL_…`` of OpenTelemetry's specification say.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from django.http import HttpRequest, HttpResponse
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import ProxyTracerProvider, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from notifications.core.attempt import Claim, Report, Result
from notifications.core.retry import Decision
from notifications.tracing import collector

_W3C = TraceContextTextMapPropagator()
_setup = threading.Lock()


def answered(request: HttpRequest, answer: Callable[[HttpRequest], HttpResponse]) -> HttpResponse:
    """Answer a request within a span, named by the route: a path may hold what a client chose."""
    if trace.get_current_span().get_span_context().is_valid:
        return answer(request)  # the project's own instrumentation has begun one
    with _tracer().start_as_current_span(
        str(request.method),
        context=_W3C.extract(request.headers),
        kind=SpanKind.SERVER,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        response = answer(request)
        route = request.resolver_match.route if request.resolver_match else ""
        span.update_name(f"{request.method} /{route}" if route else str(request.method))
        span.set_attribute("http.request.method", str(request.method))
        span.set_attribute("http.route", f"/{route}")
        span.set_attribute("http.response.status_code", response.status_code)
        if response.status_code >= 500:
            span.set_status(Status(StatusCode.ERROR))
        return response


@contextmanager
def submission() -> Iterator[None]:
    """Be a span; an error is told by its class, for its text may quote what was asked for."""
    with _tracer().start_as_current_span(
        "submit", kind=SpanKind.PRODUCER, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except Exception as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def traceparent() -> str:
    """Return the current span's ``traceparent``; empty if there is none, or it is not sampled."""
    if not trace.get_current_span().get_span_context().trace_flags.sampled:
        return ""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get("traceparent", "")


def attempted(kept: Sequence[tuple[Report, Decision]], now: datetime) -> None:
    """Write the span of each call, and of the wait before a first one."""
    for report, decision in kept:
        claim, outcome = report.claim, report.outcome
        if claim.attempt == 1:
            _waited(claim, report.started_at, {})
        span = _tracer().start_span(
            f"send {claim.channel}",
            context=_parent(claim),
            kind=SpanKind.CLIENT,
            start_time=_nanoseconds(report.started_at),
            attributes={
                **_names(claim),
                "notification.attempt": claim.attempt,
                "notification.provider": report.provider,
                "notification.result": outcome.result.value,
                "notification.code": outcome.code[:50],
                "notification.reason": decision.reason,
                "notification.next": decision.step.value,
            },
        )
        if outcome.result is not Result.SENT:
            span.set_status(Status(StatusCode.ERROR, outcome.result.value))
        span.end(_nanoseconds(max(now, report.started_at)))


def ended(claims: Sequence[Claim], status: str, reason: str, now: datetime) -> None:
    """Write the span of each wait that no call followed."""
    for claim in claims:
        _waited(
            claim, now, {"notification.status": str(status), "notification.reason": str(reason)}
        )


def flush() -> None:
    """Send what waits to be sent."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        collector.flush(provider)


def _waited(claim: Claim, until: datetime, more: dict[str, str]) -> None:
    """Write the wait of a row from when it was to be sent."""
    span = _tracer().start_span(
        "wait",
        context=_parent(claim),
        start_time=_nanoseconds(min(claim.scheduled_at, until)),
        attributes={**_names(claim), **more},
    )
    span.end(_nanoseconds(until))


def _names(claim: Claim) -> dict[str, str]:
    return {
        "notification.id": str(claim.id),
        "notification.channel": claim.channel,
        "notification.priority": claim.priority,
    }


def _parent(claim: Claim) -> Context:
    return _W3C.extract({"traceparent": claim.traceparent}, Context())


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000) * 1_000


def _tracer() -> Tracer:
    with _setup:
        if isinstance(trace.get_tracer_provider(), ProxyTracerProvider):
            named = Resource.create()
            # "unknown_service", and a colon and the executable's name if it is known.
            if str(named.attributes.get(SERVICE_NAME)).startswith("unknown_service"):
                named = named.merge(Resource({SERVICE_NAME: "notifications"}))
            provider = TracerProvider(resource=named, shutdown_on_exit=False)
            provider.add_span_processor(BatchSpanProcessor(collector.Exporter()))
            collector.send_at_exit(provider)
            trace.set_tracer_provider(provider)
    return trace.get_tracer("notifications")
