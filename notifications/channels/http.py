"""What an HTTP answer means for an attempt."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from notifications.errors import PermanentError, TransientError

_TRY_AGAIN = {408, 423, 425, 429}
RETRY_AFTER_LIMIT = 86_400.0  # seconds; a longer wish is a mistake or an attack


def classify(status: int, headers: Mapping[str, str]) -> None:
    """Return for 2xx; raise ``TransientError`` or ``PermanentError`` for anything else.

    5xx, 408, 423, 425 and 429 may pass (RFC 9110, 15); a redirect is refused, for it would
    lead around the check of the address.
    """
    if 200 <= status < 300:
        return
    code = f"HTTP {status}"
    if status >= 500 or status in _TRY_AGAIN:
        raise TransientError(
            "The server refused for now.", code=code, retry_after=retry_after(headers)
        )
    if 300 <= status < 400:
        raise PermanentError("Redirects are not followed.", code=code)
    raise PermanentError("The server refused.", code=code)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After (RFC 9110, 10.2.3), seconds or a date, as seconds from now."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_LIMIT) if math.isfinite(seconds) else None


def describe(error: Exception) -> str:
    """Say what happened without the URL, which may hold a secret."""
    return f"{type(error).__name__.removesuffix('Error')}: the request got no answer."
