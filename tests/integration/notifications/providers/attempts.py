"""How a notification was tried."""

from notifications.models import Notification


def attempts(notification: Notification) -> list[tuple[int, str, str]]:
    """Return number, account and result of each attempt."""
    return [
        (attempt.number, attempt.provider, attempt.result)
        for attempt in notification.attempts.all()
    ]
