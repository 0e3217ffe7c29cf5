"""What tests of chains say often: a chain, and how far the steps of a run are."""

from datetime import timedelta
from typing import Any

from django.db.models import F

from notifications.models import ChainRun, Notification, Status


def step(recipient: str, wait: float | None = None, **more: Any) -> dict[str, Any]:
    made = {"channel": "simulator", "recipient": recipient, "body": "Your code is 1234", **more}
    return made if wait is None else {**made, "wait": wait}


def chain(*steps: dict[str, Any], stop_on: str = "sent", **more: Any) -> dict[str, Any]:
    return {"steps": list(steps), "stop_on": stop_on, **more}


def rows(started: Any) -> list[Notification]:
    return list(Notification.objects.filter(chain_run=started.id).order_by("chain_step", "id"))


def states(started: Any) -> list[tuple[str, str]]:
    return [(row.status, row.reason) for row in rows(started)]


def begun_earlier(started: Any, seconds: float) -> None:
    """Have the step that goes have begun, and been sent, that much earlier."""
    earlier = timedelta(seconds=seconds)
    away = Notification.objects.filter(chain_run=started.id, status=Status.SENDING)
    away.update(due_at=F("due_at") - earlier)
    ChainRun.objects.filter(pk=started.id).update(going_at=F("going_at") - earlier)
    sent = Notification.objects.filter(chain_run=started.id, sent_at__isnull=False)
    sent.update(sent_at=F("sent_at") - earlier)
