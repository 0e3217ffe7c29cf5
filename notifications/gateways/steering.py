"""The headers of a mail that are for this system: ``X-Notification-Priority`` and others."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from notifications.core.errors import InvalidField

PREFIX = "x-notification-"
_READERS: Mapping[str, Callable[[str], Any]] = {
    "priority": str,
    "reference": str,
    "idempotency-key": str,
    "expires": float,
    "countdown": float,
    "metadata": json.loads,
    "template": str,
    "context": json.loads,
}


def is_for_us(name: str) -> bool:
    """Return whether a header steers a notification, so that it is not sent."""
    return name.lower().startswith(PREFIX)


def is_sent(name: str) -> bool:
    """Return whether readers get a header: not what is for us, and not whom nobody is to see."""
    return not is_for_us(name) and name.lower() not in ("bcc", "resent-bcc")


def read(headers: Iterable[tuple[str, str]], *, without: Iterable[str] = ()) -> dict[str, Any]:
    """Return the fields that headers name, of those that are for us; ``without`` takes some out.

    Raises ``InvalidField``, also for two headers of one name.
    """
    found: dict[str, Any] = {}
    readers = {name: read for name, read in _READERS.items() if name not in without}
    for name, value in headers:
        if not is_for_us(name):
            continue
        word = name.lower().removeprefix(PREFIX)
        if word not in readers:
            known = ", ".join(f"X-Notification-{reader.title()}" for reader in readers)
            raise InvalidField(
                f"There is no header {name}.", field=f"headers.{name}", hint=f"Use one of: {known}."
            )
        field = word.replace("-", "_")
        if field in found:
            raise InvalidField(
                f"The header {name} is there twice.", field=f"headers.{name}", hint="Write it once."
            )
        try:
            found[field] = readers[word](value.strip())
        except (ValueError, RecursionError):
            raise InvalidField(
                "The header's value cannot be read.", field=f"headers.{name}"
            ) from None
    return found
