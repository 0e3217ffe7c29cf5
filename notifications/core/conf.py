"""The figures that an operator may set; ``config.settings`` has each with its unit.

They are read when used, so that tests and processes may differ.
"""

from typing import Any

from django.conf import settings


def get(name: str) -> Any:
    """Return the setting ``NOTIFICATIONS_<name>``. Raises ``AttributeError`` if there is none."""
    return getattr(settings, f"NOTIFICATIONS_{name}")
