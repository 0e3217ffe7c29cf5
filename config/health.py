"""Probes for an orchestrator: is this process alive, and is it ready for requests?"""

from django.db import Error, connection
from django.http import HttpRequest, HttpResponse


def live(_: HttpRequest) -> HttpResponse:
    """200 as long as the process answers: restart it when this fails."""
    return HttpResponse("alive\n", content_type="text/plain")


def ready(_: HttpRequest) -> HttpResponse:
    """200 when the database answers, else 503: send no requests here until it does.

    A missing broker is no reason: what is accepted is stored, and delivered once it is back.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return HttpResponse("the database does not answer\n", "text/plain", status=503)
    return HttpResponse("ready\n", content_type="text/plain")
