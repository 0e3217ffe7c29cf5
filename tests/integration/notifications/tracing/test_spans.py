"""A trace goes from the request through the wait to the call of the provider, in real processes."""

import json
import threading
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from notifications.models import Notification, Status
from notifications.operations import api_keys
from tests.servers.processes import Processes

Sent = list[ExportTraceServiceRequest]
Collector = tuple[Sent, dict[str, str]]

CALLER = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
RECIPIENT = "ada-the-recipient"
SECRET = "the-code-is-1234"


@pytest.fixture
def collector(httpserver: HTTPServer) -> Collector:
    """What the processes have sent to a collector: spans with their resources, as OTLP has them."""
    sent: Sent = []

    def take(request: Request) -> Response:
        sent.append(ExportTraceServiceRequest.FromString(request.data))
        return Response("", 200)

    httpserver.expect_request("/v1/traces", method="POST").respond_with_handler(take)
    sent_to = {
        "NOTIFICATIONS_TRACING": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": httpserver.url_for("").rstrip("/"),
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    return sent, sent_to


def spans(sent: Sent) -> list[Span]:
    return [
        span
        for request in sent
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def services(sent: Sent) -> set[str]:
    return {
        attribute.value.string_value
        for request in sent
        for resource in request.resource_spans
        for attribute in resource.resource.attributes
        if attribute.key == "service.name"
    }


def by_name(sent: Sent) -> dict[str, Span]:
    return {span.name: span for span in spans(sent)}


def said(span: Span) -> dict[str, str]:
    return {
        attribute.key: str(getattr(attribute.value, attribute.value.WhichOneof("value") or ""))
        for attribute in span.attributes
    }


def moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def post(address: str, key: str, fields: dict[str, Any], **headers: str) -> str:
    request = urllib.request.Request(
        f"{address}/api/v1/notifications",
        json.dumps(fields).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers},
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return str(json.load(response)["id"])


def test_a_callers_trace_goes_on_to_the_call_of_the_provider(
    transactional_db: None,
    processes: Processes,
    collector: Collector,
    wait_until: Callable[..., Any],
) -> None:
    sent, env = collector
    key = api_keys.create("traced").token
    _, address = processes.web(**env)
    worker = processes.worker("-c", "1", OTEL_SERVICE_NAME="mailer", **env)
    fields = {"channel": "simulator", "recipient": RECIPIENT, "body": SECRET}
    id_ = post(address, key, fields, traceparent=f"00-{CALLER}-{SPAN}-01")
    wait_until(lambda: "send simulator" in by_name(sent), hint=worker.output())
    wait_until(lambda: "POST /api/v1/notifications" in by_name(sent))

    assert services(sent) == {"notifications", "mailer"}
    found = by_name(sent)
    request, submit = found["POST /api/v1/notifications"], found["submit"]
    wait, call = found["wait"], found["send simulator"]
    assert {span.trace_id.hex() for span in (request, submit, wait, call)} == {CALLER}
    assert request.parent_span_id.hex() == SPAN
    assert submit.parent_span_id == request.span_id
    assert wait.parent_span_id == call.parent_span_id == submit.span_id
    row = Notification.objects.get(id=id_)
    assert row.traceparent == f"00-{CALLER}-{submit.span_id.hex()}-01"
    assert said(request)["http.response.status_code"] == "201"
    assert said(call) == {
        "notification.id": id_,
        "notification.channel": "simulator",
        "notification.priority": "medium",
        "notification.attempt": "1",
        "notification.provider": "simulator",
        "notification.result": "sent",
        "notification.code": "",
        "notification.reason": "",
        "notification.next": "done",
    }
    # One moment after the other: accepted, waited, called.
    assert wait.end_time_unix_nano == call.start_time_unix_nano
    assert moment(wait.start_time_unix_nano) == row.scheduled_at
    assert moment(call.end_time_unix_nano) == row.sent_at
    everything = b"".join(batch.SerializeToString() for batch in sent)
    assert RECIPIENT.encode() not in everything
    assert SECRET.encode() not in everything
    assert key.encode() not in everything


def test_what_fails_or_is_too_late_says_so_and_no_more(
    transactional_db: None,
    processes: Processes,
    collector: Collector,
    wait_until: Callable[..., Any],
) -> None:
    sent, env = collector
    send = (
        "from notifications.submission import send\n"
        f"common = {{'channel': 'simulator', 'body': '{SECRET}'}}\n"
        f"send(**common, recipient='{RECIPIENT}?result=permanent&code=550')\n"
        f"send(**common, recipient='{RECIPIENT}', expires=0.001)\n"
    )
    processes.run("send", "python", "manage.py", "shell", "-v0", "-c", send, **env)
    assert not Notification.objects.filter(traceparent="").exists()
    worker = processes.worker("-c", "1", **env)
    ended = Notification.objects.filter(status__in=[Status.FAILED, Status.EXPIRED])
    wait_until(lambda: ended.count() == 2, hint=worker.output())
    worker.terminate()
    worker.wait()  # what it has not sent by now it sends as it ends
    traces = spans(sent)
    assert len({span.trace_id for span in traces}) == 2
    (call,) = [span for span in traces if span.name == "send simulator"]
    assert said(call)["notification.code"] == "550"
    assert call.status.code == 2
    expired = [said(span) for span in traces if said(span).get("notification.status")]
    assert [span["notification.status"] for span in expired] == ["expired"]
    everything = b"".join(batch.SerializeToString() for batch in sent)
    assert RECIPIENT.encode() not in everything
    assert SECRET.encode() not in everything


def test_an_outage_of_the_collector_is_two_lines_of_the_log(
    processes: Processes, httpserver: HTTPServer, collector: Collector
) -> None:
    _, env = collector
    statuses = [500, 503, 500, 200, 200]  # of each try; a 503 is tried again within an export
    answered: list[int] = []

    def answer(_: Request) -> Response:
        answered.append(statuses[len(answered)])
        return Response("", answered[-1])

    httpserver.clear()
    httpserver.expect_request("/v1/traces", method="POST").respond_with_handler(answer)
    trace = (
        "from notifications import tracing\n"
        "for _ in range(4):\n"
        "    with tracing.submission(): pass\n"
        "    tracing.flush()\n"
    )
    env |= {"OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_EXPORTER_OTLP_TIMEOUT": "0.5"}
    shell = ("python", "manage.py", "shell", "-v0", "-c", trace)
    said = processes.run("outage", *shell, **env)
    assert answered == [500, 503, 500, 200]
    lines = [line for line in said.splitlines() if line.strip()]
    assert len(lines) == 2, said
    assert "traces_away" in lines[0]
    assert "localhost:" in lines[0]
    assert "traces_back" in lines[1]
    assert all("warning" in line.lower() for line in lines)


def test_a_command_does_not_wait_for_a_collector_that_hangs(
    processes: Processes, httpserver: HTTPServer, collector: Collector
) -> None:
    _, env = collector
    has_ended = threading.Event()

    def hang(_: Request) -> Response:
        # The exporter would wait for 60 seconds: only a command that gives up ends before.
        has_ended.wait(50)
        return Response("", 200)

    httpserver.clear()
    httpserver.expect_request("/v1/traces", method="POST").respond_with_handler(hang)
    trace = "from notifications import tracing\nwith tracing.submission(): pass\n"
    env |= {"OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
    shell = ("python", "manage.py", "shell", "-v0", "-c", trace)
    processes.run("hanging", *shell, **env)
    assert not httpserver.log  # no request was answered: the command did not wait for it
    has_ended.set()


def test_untraced_rows_have_no_traceparent(accepted: Callable[..., Notification]) -> None:
    assert accepted().traceparent == ""
