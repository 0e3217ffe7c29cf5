"""What every provider that is reached over HTTP has in common."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

from notifications.channels.base import Account, Message, Provider
from notifications.channels.http_client import Answer, HttpClient
from notifications.core.errors import AccountRefused, PermanentError, TransientError, UnknownOutcome

_TRY_AGAIN = {408, 423, 425, 429}
RETRY_AFTER_LIMIT = 86_400.0  # seconds; a longer wish is a mistake or an attack


class HttpProvider(Provider):
    """Makes one request after the other over kept connections.

    Subclasses write ``send`` with ``self.request``.
    """

    at_once: ClassVar[int] = 64
    is_shared = True

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self.client = self.make_client()

    def make_client(self) -> HttpClient:
        """Make the client; an account may name a ``ca_file`` to trust."""
        return HttpClient(ca_file=self.account.settings.get("ca_file"))

    def request(self, message: Message, method: str, url: str, **options: Any) -> Answer:
        """Make one request within the message's time."""
        return self.client.request(method, url, timeout=message.seconds_left(), **options)

    def close(self) -> None:
        self.client.close()


def classify(
    answer: Answer, detail: str = "", code: str = "", *, is_recipients_url: bool = False
) -> None:
    """Return for 2xx; raise a ``DeliveryError`` for anything else.

    5xx, 408, 423, 425 and 429 may pass (RFC 9110, 15), but 504 leaves open whether the server
    behind the gateway did it. A redirect is not followed, for it would lead around the check of
    the address; it says nothing of the message, and is laid on the account unless the URL came
    with the message. ``detail`` and ``code`` are the provider's own, where it gave them.
    """
    status = answer.status
    if 200 <= status < 300:
        return
    code = code or f"HTTP {status}"
    if status == 504:
        raise UnknownOutcome(detail or "The gateway got no answer.", code=code)
    if status >= 500 or status in _TRY_AGAIN:
        raise TransientError(
            detail or "The server refused the request for now.",
            code=code,
            retry_after=retry_after(answer.headers),
        )
    if 300 <= status < 400:
        raise _redirected(code, is_recipients_url=is_recipients_url)
    raise PermanentError(detail or "The server refused.", code=code)


def _redirected(code: str, *, is_recipients_url: bool) -> TransientError:
    words = "The server answers with a redirect to another address; redirects are not followed."
    if not is_recipients_url:
        return AccountRefused(words, code=code)
    error = TransientError(words, code=code)
    error.local = True
    return error


def credentials_refused(answer: Answer, detail: str = "") -> None:
    """Raise ``AccountRefused`` for 401 and 403."""
    if answer.status in (401, 403):
        raise AccountRefused(
            detail or "The credentials were refused.", code=f"HTTP {answer.status}"
        )


def too_long(text: str, most: int, service: str) -> str:
    """Say that a text has more characters than a service takes, ``""`` if it has not."""
    if len(text) <= most:
        return ""
    return f"The text has {len(text):,} characters; {service} takes {most:,}."


def json_object(answer: Answer) -> dict[str, Any]:
    """Read an answer as a JSON object; an empty one where it is something else."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def accepted(answer: Answer, *path: str) -> str:
    """Find the provider's id in the answer of an accepted message.

    Raises ``UnknownOutcome`` where it is missing: somebody said yes, but hardly the provider.
    """
    found: Any = json_object(answer)
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, str | int) or not found:
        raise UnknownOutcome("The answer is not in the provider's format.", code="bad_answer")
    return str(found)


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


def wish(given: object, headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait that an answer names in its JSON, else those of its headers."""
    if isinstance(given, int | float) and given >= 0:
        return float(min(given, RETRY_AFTER_LIMIT))
    return retry_after(headers)
