"""Probes for an orchestrator: is this process alive, and is it ready for requests?"""

import time
from collections.abc import Callable

from django.db import Error
from django.http import HttpRequest, HttpResponse, JsonResponse

from notifications.core import routing
from notifications.db import schema
from notifications.queueing import publisher
from scheduling import outages, watch

PROBE_EVERY = 1.0  # seconds


def live(_: HttpRequest) -> HttpResponse:
    """200 as long as the process answers: restart it when this fails."""
    return HttpResponse("alive\n", content_type="text/plain")


def ready(request: HttpRequest) -> HttpResponse:
    """200 when all that a request needs answers, else 503, with what became of each check.

    ``?without=broker`` leaves a check out. What is accepted while the broker is away is stored,
    and delivered once it is back: a load balancer need not take such a process out.
    """
    left_out = request.GET.getlist("without")
    checks = {name: check() for name, check in CHECKS.items() if name not in left_out}
    failed = [name for name, problem in checks.items() if problem]
    document = {
        "status": "not ready" if failed else "ready",
        "failed": failed,
        "checks": {name: problem or "ok" for name, problem in checks.items()},
    }
    return JsonResponse(document, status=503 if failed else 200)


def _database() -> str:
    """Write, and leave nothing behind; what this process met since then counts, too."""
    if outage := watch.database.outage or _written.outage():
        return outage.reason
    return ""


class _Written:
    """Whether the database takes a write, asked once a second however many probes come."""

    def __init__(self) -> None:
        self._until = 0.0
        self._outage: outages.Outage | None = None

    def outage(self) -> outages.Outage | None:
        if time.monotonic() >= self._until:
            self._outage = watch.refusal()
            if self._outage is not None:
                watch.database.saw(self._outage)
            self._until = time.monotonic() + PROBE_EVERY
        return self._outage


_written = _Written()


def _migrations() -> str:
    if watch.database.outage:
        return "unknown, as the database does not answer"
    try:
        missing = schema.missing()
    except Error:
        return "unknown, as the database does not answer"
    return f"{len(missing)} are not applied: run manage.py migrate" if missing else ""


def _broker() -> str:
    try:
        publisher.probe()
        publisher.depths([routing.JOBS_QUEUE])
    except Exception as error:  # noqa: BLE001 -- a probe: what it raises is the answer
        outage = outages.of(error)
        reason = outage.reason if outage else "it does not answer"
        return f"{reason}; what is accepted now is sent once it works"
    return ""


CHECKS: dict[str, Callable[[], str]] = {
    "database": _database,
    "broker": _broker,
    "migrations": _migrations,
}
