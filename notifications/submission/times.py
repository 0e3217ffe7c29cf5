"""When a notification is due, and when it expires."""

import math
from datetime import UTC, datetime, timedelta

from django.utils import timezone

from notifications.core import errors
from notifications.submission.fields import Request

FARTHEST = timedelta(days=3660)


def scheduled_at_of(request: Request, now: datetime) -> datetime | None:
    """Return the due time, None for now. Raises ``InvalidTime``."""
    if request.eta is not None and request.countdown is not None:
        raise errors.InvalidTime("Give eta or countdown, not both.", field="eta")
    if request.countdown is not None:
        due = now + _seconds(request.countdown, "countdown")
    elif request.eta is not None:
        due = _time(request.eta, "eta")
    else:
        return None
    if due > now + FARTHEST:
        raise errors.InvalidTime(
            "It must be at most ten years from now.",
            field="countdown" if request.eta is None else "eta",
        )
    return due if due > now else None


def expires_at_of(
    request: Request, now: datetime, scheduled_at: datetime | None
) -> datetime | None:
    """Return the expiry, None for never. Raises ``InvalidTime``."""
    if request.expires is None:
        return None
    if isinstance(request.expires, datetime | str):
        expires_at = _time(request.expires, "expires")
    else:
        # Celery counts it from the call, not from the due time.
        expires_at = now + _seconds(request.expires, "expires")
    if expires_at <= now:
        raise errors.InvalidTime("The expiry is in the past.", field="expires")
    if scheduled_at is not None and expires_at <= scheduled_at:
        raise errors.InvalidTime("It would expire before it is due.", field="expires")
    return expires_at


def _seconds(value: float, field: str) -> timedelta:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (isinstance(value, float) and not math.isfinite(value)):
        raise errors.InvalidTime(f"{field} must be a number of seconds.", field=field)
    try:
        return timedelta(seconds=max(min(value, 1e10), -1e10))
    except OverflowError:
        raise errors.InvalidTime(f"{field} is out of range.", field=field) from None


def _time(value: datetime | str, field: str) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise errors.InvalidTime(
                f"{field} is not a time.",
                field=field,
                hint="Write it as 2026-12-24T18:00:00+01:00.",
            ) from None
        if value.tzinfo is None:
            raise errors.InvalidTime(
                f"{field} has no UTC offset, so its time zone is unknown.",
                field=field,
                hint="Write it like 2026-12-24T18:00:00+01:00.",
            )
    if not isinstance(value, datetime):
        raise errors.InvalidTime(f"{field} is not a time.", field=field)
    try:
        aware = value if value.tzinfo else timezone.make_aware(value)
        return aware.astimezone(UTC)
    except (OverflowError, ValueError):
        raise errors.InvalidTime(f"{field} is out of range.", field=field) from None
