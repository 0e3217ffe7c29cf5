"""What follows a notification in a Celery canvas: ``chain``, ``link`` and ``link_error``.

It is kept in the row, not in a message, so that it survives with the row: a finished
notification whose followers were not called yet stays due until they were.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from celery import current_app, signature

from notifications import clock
from notifications.models import Notification, Status

_FOLLOWERS = {Status.SENT: ("link", "chain"), Status.FAILED: ("link_error",)}


def of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Take what follows out of the options of an ``apply_async``, empty where nothing does."""
    return {name: options[name] for name in ("link", "link_error", "chain") if options.get(name)}


def follows(continuation: Mapping[str, Any] | None, status: Status) -> bool:
    """Tell whether something must be called once a notification reaches this state."""
    return any((continuation or {}).get(name) for name in _FOLLOWERS.get(status, ()))


def call(id_: UUID, status: Status, continuation: Mapping[str, Any]) -> None:
    """Call what follows, at least once, then note that it was done.

    Each gets the notification's id as its first argument, unless its signature is immutable.
    """
    for name in _FOLLOWERS[status]:
        following = list(continuation.get(name, ()))
        if name == "chain":
            _call(following.pop(), id_, chain=following)
        else:
            for one in following:
                _call(one, id_)
    Notification.objects.filter(id=id_, status=status).update(due_at=None, continuation=None)


def call_overdue(limit: int) -> int:
    """See to the notifications whose worker died before it could; gives how many."""
    overdue = Notification.objects.filter(
        status__in=list(_FOLLOWERS), due_at__lte=clock.now()
    ).order_by("due_at")
    rows = list(overdue.values_list("id", "status", "continuation")[:limit])
    for id_, status, continuation in rows:
        call(id_, Status(status), continuation or {})
    return len(rows)


def _call(following: Mapping[str, Any], id_: UUID, **options: Any) -> None:
    signature(following, app=current_app).apply_async((str(id_),), **options)
