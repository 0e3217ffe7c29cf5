"""Probes for an orchestrator: is this process alive, and is it ready for requests?"""

from collections.abc import Callable

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse

from notifications import doorbell, routing


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
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return "it does not answer"
    return ""


def _migrations() -> str:
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Error:
        return "unknown, as the database does not answer"
    return f"{len(missing)} are not applied: run manage.py migrate" if missing else ""


def _broker() -> str:
    try:
        doorbell.depths([routing.JOBS_QUEUE])
    except doorbell.BrokerAway:
        return "it does not answer; what is accepted now is sent once it does"
    return ""


CHECKS: dict[str, Callable[[], str]] = {
    "database": _database,
    "broker": _broker,
    "migrations": _migrations,
}
