"""Probes for an orchestrator: is this process alive, and is it ready for requests?"""

from collections.abc import Callable

from django.db import Error
from django.http import HttpRequest, HttpResponse, JsonResponse

from notifications.db import schema
from notifications.monitoring import servers
from scheduling import watch


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
    outage = servers.database()
    return outage.reason if outage else ""


def _migrations() -> str:
    if watch.database.outage:
        return "unknown, as the database does not answer"
    try:
        missing = schema.missing()
    except Error:
        return "unknown, as the database does not answer"
    return f"{len(missing)} are not applied: run manage.py migrate" if missing else ""


def _broker() -> str:
    outage = servers.broker()
    return f"{outage.reason}; what is accepted now is sent once it works" if outage else ""


CHECKS: dict[str, Callable[[], str]] = {
    "database": _database,
    "broker": _broker,
    "migrations": _migrations,
}
