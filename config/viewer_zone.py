"""Times in the zone of whoever looks: their browser names it in a cookie.

Without the cookie, or for a name that this host does not know, ``TIME_ZONE`` stays.
"""

from collections.abc import Callable
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

COOKIE = "zone"
LONGEST = 64  # characters of a zone's name

Answer = Callable[[HttpRequest], HttpResponse]


def viewer_zone(answer: Answer) -> Answer:
    """Write times in the viewer's zone; a middleware."""

    def middleware(request: HttpRequest) -> HttpResponse:
        zone = zone_named(unquote(request.COOKIES.get(COOKIE, "")))
        if zone is None:
            return answer(request)
        with timezone.override(zone):
            return answer(request)

    return middleware


def zone_named(name: str) -> ZoneInfo | None:
    """Return the zone of a name, or None if there is none."""
    if not name or len(name) > LONGEST:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
