"""What the web answers while the database is out: 503, and at once where asking would wait."""

import sys
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from scheduling import watch

RETRY_AFTER = 5  # seconds
ANSWERED = ("/healthz/", "/static/", "/metrics")
"""Paths that are asked for all the same: they tell of it, or need no database."""

Answer = Callable[[HttpRequest], HttpResponse]


def while_out(answer: Answer) -> Answer:
    """Refuse requests that would wait for a database that is known to be silent or locked.

    Each of them would hold one of a few threads until its own patience is over.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        outage = watch.database.outage
        if outage is None or not outage.makes_wait or request.path.startswith(ANSWERED):
            return answer(request)
        return _away()

    return middleware


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an exception that no view has caught; Django calls it while the exception is up."""
    error = sys.exc_info()[1]
    if error is not None and request.method == "GET" and watch.is_of_a_query(error):
        return HttpResponse(
            "The database takes too long for this page. Narrow down what it searches.\n",
            content_type="text/plain",
            status=422,
        )
    if error is None or watch.database_outage(error) is None:
        return defaults.server_error(request)
    return _away()


def _away() -> HttpResponse:
    return HttpResponse(
        "The database is not available now. Try again in a moment.\n",
        content_type="text/plain",
        status=503,
        headers={"Retry-After": str(RETRY_AFTER)},
    )
