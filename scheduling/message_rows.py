"""The message of a fire, read from its schedule's row."""

from typing import Any

from celery import Celery
from django_celery_beat.models import PeriodicTask

from scheduling import messages
from scheduling.messages import DESTINATION, MalformedMessage, Message, read, read_headers
from scheduling.models import Fire


def message_of(app: Celery, fire: Fire) -> Message:
    """Read the message of a fire. Raises ``MalformedMessage``."""
    row = fire.schedule.periodic_task
    args, kwargs, headers = read_json(row)
    options, call = _options(fire, row, headers), fire.call or {}
    if queue := call.get("queue"):
        options["queue"] = queue
    return Message(
        fire=fire,
        name=row.task,
        task=app.tasks.get(row.task),
        args=args,
        kwargs=call.get("kwargs", kwargs),
        options=options,
    )


def read_json(row: PeriodicTask) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Return a row's args, kwargs and headers. Raises ``MalformedMessage``."""
    if not row.task:
        raise MalformedMessage("It names no task.", column="task")
    return (
        read("args", row.args, []),
        read("kwargs", row.kwargs, {}),
        read_headers(row.headers),
    )


def _options(fire: Fire, row: PeriodicTask, headers: dict[str, Any]) -> dict[str, Any]:
    """Return the options for ``apply_async``: id, headers, queue, priority, expiry and others."""
    destination = {
        name: value for name in DESTINATION if (value := getattr(row, name)) not in {None, ""}
    }
    # The expiry is of a message that nobody took; a run that failed is tried again after it, too.
    expiry = {"expires": row.expires_} if row.expires_ and not fire.attempt else {}
    timeout = fire.schedule.timeout_seconds
    own = messages.options(fire, row.name, headers, timeout=timeout)
    return {**destination, **expiry, **own}
