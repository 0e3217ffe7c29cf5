"""The way to the collector: an outage of it costs two lines of the log, and a process's end 1 s."""

import atexit
import logging
import os
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

log = structlog.get_logger(__name__)

AT_MOST = 1.0  # seconds that a process waits at its end for what is not sent yet

_QUIET = {
    OTLPSpanExporter.__module__: logging.CRITICAL,  # a line for each try, of which we tell one
    BatchSpanProcessor.__module__: logging.ERROR,
    "opentelemetry.sdk._shared_internal": logging.ERROR,  # "Queue full", while it is away
}


class Exporter(SpanExporter):
    """Sends by OTLP over HTTP, and logs when the collector goes away and when it is back."""

    def __init__(self) -> None:
        self._otlp = OTLPSpanExporter()
        self._is_away = False
        for name, level in _QUIET.items():
            logging.getLogger(name).setLevel(level)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them; the spans of a failure are lost."""
        result = self._otlp.export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away != self._is_away:
            self._is_away = is_away
            log.warning("traces_away" if is_away else "traces_back", collector=_collector())
        return result

    def shutdown(self) -> None:
        """Stop the exporter; what it has not sent yet is lost."""
        self._otlp.shutdown()  # type: ignore[no-untyped-call]


def _collector() -> str:
    """Return the host and port of the collector, without what else its address may hold."""
    named = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    address = next(filter(None, map(os.environ.get, named)), "http://localhost:4318")
    return urlsplit(address).netloc.rpartition("@")[2]


def send_at_exit(provider: TracerProvider) -> None:
    """Have the process send what waits as it ends, and wait ``AT_MOST`` for that.

    The provider must not do so itself: it waits for as long as the collector takes. No thread can
    begin while Python exits, so the one that sends begins now, and anew after a fork.
    """
    ending = _Ending(provider)
    os.register_at_fork(after_in_child=ending.begin)
    atexit.register(ending.end)


def flush(provider: TracerProvider) -> None:
    """Send what waits now, and wait ``AT_MOST`` for that."""
    sender = threading.Thread(target=provider.force_flush, name="traces-flush", daemon=True)
    sender.start()
    sender.join(AT_MOST)


class _Ending:
    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self.begin()

    def begin(self) -> None:
        self._asked, self._done = threading.Event(), threading.Event()
        threading.Thread(target=self._send, name="traces-end", daemon=True).start()

    def end(self) -> None:
        self._asked.set()
        self._done.wait(AT_MOST)

    def _send(self) -> None:
        self._asked.wait()
        self._provider.shutdown()
        self._done.set()
