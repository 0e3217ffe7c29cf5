"""Which queue a notification travels through: ``<channel>.<priority>``.

Pure names, so that settings, workers, API and tests agree without importing models.
"""

from collections.abc import Mapping, Sequence
from typing import Any

CALLBACK_CHANNEL = "callback"  # what tells a submitting system how its notifications ended
CHANNELS = ("email", "sms", "push", "webhook", "chat", "simulator", CALLBACK_CHANNEL)
# Their recipients have a server each.
ENDPOINT_CHANNELS = ("webhook", CALLBACK_CHANNEL)
PRIORITIES = ("high", "medium", "low")
DEFAULT_PRIORITY = "medium"

QUEUE_NAMES = tuple(f"{channel}.{priority}" for channel in CHANNELS for priority in PRIORITIES)
JOBS_QUEUE = "jobs"

SEND_TASK = "notifications.send_notification"
SEND_TO_EACH_TASK = "notifications.send_to_each"
SEND_TO_AUDIENCE_TASK = "notifications.send_to_audience"
SENDING_TASKS = (SEND_TASK, SEND_TO_EACH_TASK, SEND_TO_AUDIENCE_TASK)


def queue_for(channel: str, priority: str) -> str:
    """Return the queue of a channel and priority, e.g. ``email.high``."""
    return f"{channel}.{priority}"


def callback_key(id_: Any, status: str) -> str:
    """Return the idempotency key of the callback that tells of a notification's final state."""
    return f"{CALLBACK_CHANNEL}:{id_}:{status}"


def default_weights(by_priority: Mapping[str, float]) -> dict[str, float]:
    """Return the weight of every queue by its name: its priority's, and medium's for jobs."""
    weights = {
        queue_for(channel, priority): by_priority[priority]
        for channel in CHANNELS
        for priority in PRIORITIES
    }
    return {**weights, JOBS_QUEUE: by_priority[DEFAULT_PRIORITY]}


def route_task(
    name: str,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    options: Mapping[str, Any],
    task: Any = None,
    **_: Any,
) -> dict[str, str] | None:
    """Celery router: send a foreign ``send_notification`` message to its own queue.

    Messages published by this project name their queue already. A message whose channel or
    priority is unknown goes to the jobs queue, where the task refuses it by name.
    """
    if name != SEND_TASK:
        return None
    kwargs = kwargs or {}
    queue = queue_for(str(kwargs.get("channel")), str(kwargs.get("priority", DEFAULT_PRIORITY)))
    return {"queue": queue if queue in QUEUE_NAMES else JOBS_QUEUE}
