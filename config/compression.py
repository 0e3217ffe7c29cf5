"""Pages, styles and scripts are sent compressed: a page weighs a quarter of what it holds.

Answers of the API are not: they are small, and sent by the thousand. A proxy that compresses
leaves alone what is compressed already.
"""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware

Answer = Callable[[HttpRequest], HttpResponseBase]

KINDS = {"text/html", "text/css", "text/javascript", "application/javascript"}


def compress(answer: Answer) -> Answer:
    """Compress what browsers load; a middleware.

    Django's own adds random bytes, against BREACH (CVE-2013-3587), which guesses by size.
    """
    gzip = GZipMiddleware(answer)

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = answer(request)
        if response.headers.get("Content-Type", "").partition(";")[0] not in KINDS:
            return response
        return gzip.process_response(request, response)

    return middleware
