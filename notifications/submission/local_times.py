"""Due times where the recipient is."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings

from notifications.core.errors import InvalidTime
from notifications.recipients.places import Place
from notifications.submission.fields import Request
from notifications.submission.times import scheduled_at_of

DAY = "([01][0-9]|2[0-3]):[0-5][0-9]"
"""The pattern of a time of day."""
MOMENT = f"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{DAY}(:[0-5][0-9])?"
"""The pattern of a day with its time."""
_OF_DAY, _MOMENT = re.compile(DAY), re.compile(MOMENT)
_HINT = "Write it like 09:00, or 2026-12-24T09:00."


def timed(request: Request, place: Place, now: datetime) -> Request:
    """Return a request with the due time that its ``local_time`` means where the recipient is.

    A time of day is the next one, counted from its ``eta`` or ``countdown`` where it has one. Who
    has no zone is in ``TIME_ZONE``. A time that a spring change skips is right after the gap.
    Raises ``InvalidTime``.
    """
    given = request.local_time
    zone = ZoneInfo(place.timezone or settings.TIME_ZONE)
    if isinstance(given, str) and _OF_DAY.fullmatch(given):
        due = _next(given, scheduled_at_of(request, now) or now, zone)
    elif isinstance(given, str) and _MOMENT.fullmatch(given):
        if request.eta is not None or request.countdown is not None:
            raise InvalidTime(
                "Give one due time: eta, countdown or local_time.", field="local_time"
            )
        due = _moment(given, zone)
    else:
        raise InvalidTime("It is not a valid local time.", field="local_time", hint=_HINT)
    return request._replace(eta=due, countdown=None, local_time="")


def _next(of_day: str, begin: datetime, zone: ZoneInfo) -> datetime:
    local = begin.astimezone(zone)
    hour, minute = map(int, of_day.split(":"))
    due = local.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
    # Compared as moments: within one zone Python compares what clocks show.
    if due.timestamp() < begin.timestamp():
        due += timedelta(days=1)
    return due


def _moment(text: str, zone: ZoneInfo) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone)
    except ValueError:
        raise InvalidTime(
            "This local time does not exist.", field="local_time", hint=_HINT
        ) from None
