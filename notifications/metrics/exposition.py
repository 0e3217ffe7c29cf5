"""``/metrics``: on the web's address, and for workers and schedulers on METRICS_PORT.

Whoever is asked gives what all processes with the same VAR_DIR counted, each under the label
``process``. So one machine needs one address, and containers one each.
"""

import hmac
import struct
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from notifications.metrics import slots
from notifications.metrics.state import StateCollector


class ProcessesCollector(Collector):
    """Adds up what each process tree counted."""

    def collect(self) -> Iterator[Metric]:
        """Give each family once, with the samples of every slot."""
        families: dict[str, Metric] = {}
        for folder in slots.alive():
            for found in _counted(folder):
                family = families.setdefault(
                    found.name, Metric(found.name, found.documentation, found.type)
                )
                for sample in found.samples:
                    labels = {**sample.labels, "process": folder.name}
                    family.add_sample(sample.name, labels, sample.value)
        yield from families.values()


def _counted(folder: Path) -> list[Metric]:
    collector = MultiProcessCollector(None, path=str(folder))  # type: ignore[no-untyped-call]  # the library's
    for patience in (True, False):
        try:
            return list(collector.collect())  # type: ignore[no-untyped-call]  # the library's
        except struct.error:  # a file that a new child is just making: it is whole in a moment
            if not patience:
                raise
    return []


def exposed(*, with_state: bool) -> bytes:
    """Write the metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(ProcessesCollector())
    if with_state:
        registry.register(StateCollector())
    return generate_latest(registry)


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scrape; with METRICS_TOKEN set, only who sends it as a bearer."""
    token = settings.METRICS_TOKEN
    given = request.headers.get("Authorization", "")
    if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        return HttpResponse("a bearer token is needed\n", "text/plain", status=401)
    return HttpResponse(exposed(with_state=True), CONTENT_TYPE_LATEST)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        token = settings.METRICS_TOKEN
        given = self.headers.get("Authorization", "")
        if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            self.send_error(401)
            return
        body = exposed(with_state=False)
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: a scrape every few seconds is no event."""


def serve() -> ThreadingHTTPServer | None:
    """Answer scrapes of this worker or scheduler on METRICS_PORT, if that is set."""
    if not settings.METRICS_PORT:
        return None
    server = ThreadingHTTPServer((settings.METRICS_HOST, settings.METRICS_PORT), _Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
