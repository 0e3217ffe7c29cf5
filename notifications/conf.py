"""The figures that an operator may set, each with its unit and its default.

They are read from Django's settings when used, so that tests and processes may differ.
"""

from typing import Any

from django.conf import settings

DEFAULTS: dict[str, Any] = {
    "NOTIFICATIONS_WINDOW": 200,  # messages per queue that new notifications may put on the broker
    "NOTIFICATIONS_RELEASE": 8,  # messages per queue that the sweep keeps there for due rows
    "NOTIFICATIONS_GRACE": 3.0,  # seconds that a message may be on its way before it counts as due
    "NOTIFICATIONS_LEASE": 60.0,  # seconds that a claim lasts
    "NOTIFICATIONS_PROVIDER_TIMEOUT": 15.0,  # seconds, shorter than the lease
    "NOTIFICATIONS_HOLD": 5.0,  # seconds that one batch may hold a worker's slot
    "NOTIFICATIONS_DATABASE_REST": 1.0,  # seconds that a slot rests while the database is away
    "NOTIFICATIONS_BATCH": {"high": 20, "medium": 100, "low": 500},  # rows per message
    "NOTIFICATIONS_SEND_RATE_LIMIT": "1000/s",
}


def get(name: str) -> Any:
    """Give the setting ``NOTIFICATIONS_<name>``, or its default."""
    full = f"NOTIFICATIONS_{name}"
    return getattr(settings, full, DEFAULTS[full])
