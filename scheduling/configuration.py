"""Settings of this package: from Django where a project has it, else from the environment."""

import os
import sys
from typing import Any

DEFAULT_FIRES_KEPT_DAYS = 30
LONGEST_KEPT_DAYS = 36_500


class BadSetting(ValueError):
    """A setting that cannot be used; the text names it and says what it must be."""


def uses_django() -> bool:
    """Return whether this process has a Django project."""
    if os.environ.get("DJANGO_SETTINGS_MODULE"):
        return True
    django = sys.modules.get("django.conf")
    return django is not None and bool(django.settings.configured)


def read(name: str, default: Any) -> Any:
    """Return a setting: Django's, else the environment variable of this name, else ``default``."""
    if uses_django():
        from django.conf import settings  # noqa: PLC0415 -- a process without Django has none

        if hasattr(settings, name):
            return getattr(settings, name)
    return os.environ.get(name, default)


def read_list(name: str) -> list[str]:
    """Return a setting that is a list; in the environment its parts are divided by commas."""
    value = read(name, ())
    parts = value.split(",") if isinstance(value, str) else value
    return [part.strip() for part in parts if part.strip()]


def fires_kept_days() -> float:
    """Return for how many days ended fires are kept; 0: for ever. Raises ``BadSetting``."""
    value = read("SCHEDULING_FIRES_KEPT_DAYS", DEFAULT_FIRES_KEPT_DAYS)
    try:
        days = float(value)
    except (TypeError, ValueError):
        days = -1.0
    if not 0 <= days <= LONGEST_KEPT_DAYS:
        raise BadSetting(
            f"SCHEDULING_FIRES_KEPT_DAYS is {value!r}; it must be a number of days from 0 to "
            f"{LONGEST_KEPT_DAYS}."
        )
    return days
