"""``/metrics``: on the web's address, and for workers and schedulers on METRICS_PORT.

Whoever is asked gives what all processes with the same VAR_DIR counted, each under the label
``process``. So one machine needs one address, and containers one each.
"""

import hmac
import ipaddress
import struct
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from notifications.metrics import process_folders
from notifications.monitoring.state import StateCollector
from scheduling import isolation, threads

log = structlog.get_logger(__name__)

OURS = "notifications_"
REFUSAL = "a bearer token is needed: METRICS_TOKEN"
_PROXIED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


class ProcessesCollector(Collector):
    """Adds up what each process tree counted."""

    def collect(self) -> Iterator[Metric]:
        """Return each family once, with the samples of every slot."""
        families: dict[str, Metric] = {}
        counted, _ = isolation.each(
            process_folders.alive(),
            lambda folder: (folder, _counted(folder)),
            stage="scrape",
            key=str,
        )
        for folder, metrics_found in counted:
            for found in metrics_found:
                if not found.name.startswith(OURS):
                    continue  # of a program that embeds us, and counts for itself
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


def _may_read(address: str, headers: Mapping[str, str]) -> bool:
    """Return whether a scrape is answered: with the bearer METRICS_TOKEN, where there is one.

    Where there is none, in production only this machine's own is: a proxy on it asks for others.
    """
    if settings.METRICS_TOKEN:
        given = headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode())
    if not getattr(settings, "IN_PRODUCTION", not settings.DEBUG):
        return True
    try:
        is_here = ipaddress.ip_address(address).is_loopback
    except ValueError:  # a Unix socket, behind which is a proxy
        return False
    return is_here and not any(headers.get(name) for name in _PROXIED)


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scrape, or say that it needs the token."""
    if not _may_read(str(request.META.get("REMOTE_ADDR", "")), request.headers):
        return HttpResponse(REFUSAL + "\n", "text/plain", status=401)
    return HttpResponse(exposed(with_state=True), CONTENT_TYPE_LATEST)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if not _may_read(str(self.client_address[0]), dict(self.headers)):
            self.send_error(401, REFUSAL)
            return
        body = exposed(with_state=False)
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: a scrape every few seconds is not an event."""


def serve() -> ThreadingHTTPServer | None:
    """Answer scrapes of this worker or scheduler on METRICS_PORT, if that is set."""
    if not settings.METRICS_PORT:
        return None
    address = settings.METRICS_HOST, settings.METRICS_PORT
    try:
        server = ThreadingHTTPServer(address, _Handler)
    except OSError as error:  # its work goes on without a scrape
        log.error(  # noqa: TRY400 -- the reason is the whole story
            "metrics_not_served",
            address=f"{address[0]}:{address[1]}",
            reason=error.strerror,
            hint="Set METRICS_PORT to a free port.",
        )
        return None
    server.daemon_threads = True
    threads.lasting("metrics", server.serve_forever).start()
    return server
