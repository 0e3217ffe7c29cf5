"""What follows a notification in a Celery canvas: links, the rest of a chain, a chord.

It is kept in the row, not in a message, so that it survives with the row; ``followers`` calls it
once the notification has ended. What could never be called is refused before there is a row.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from celery import Celery
from celery.app import default_app
from celery.exceptions import QueueNotFound
from celery.utils.functional import maybe_list
from kombu.exceptions import EncodeError
from kombu.utils import json as typed_json

from notifications.core.errors import InvalidFollower, InvalidNotification
from notifications.core.routing import SEND_TASK
from notifications.db import clock
from notifications.submission import addressing, field_types, requests

SIGNATURES = ("link", "link_error", "chain", "chord")
_FROZEN = "reply_to"  # an option of signatures that have an id of Celery's making
_MEMBERSHIP = ("group_id", "group_index", "root_id", "parent_id")
# What another option of a message says of its own notification.
_OPTIONS = ("eta", "countdown", "expires")

Json = dict[str, Any]


def of(options: Mapping[str, Any]) -> Json:
    """Take what follows out of the options of an ``apply_async``; empty where nothing does.

    Signatures become plain JSON. Raises a subclass of ``InvalidNotification`` for what is not a
    signature, what cannot be kept, and what names a task or queue that does not exist.
    """
    kept: Json = {}
    for name in SIGNATURES:
        if options.get(name):
            found = [_as_json(link, name) for link in maybe_list(options[name])]
            kept[name] = found[0] if name == "chord" else found
    if not kept:
        return {}
    return kept | {name: options[name] for name in _MEMBERSHIP if options.get(name) is not None}


def use_of(task_id: str | None, options: Mapping[str, Any]) -> str:
    """Tell which use of a signature a call is; empty for a call whose id its caller chose.

    Celery keeps the id that it makes for a signature in that signature: the last of a chain has it
    again when the chain is used again. What called it tells one use from another, and is the same
    when a message is delivered again. What nothing called is another use each time.
    """
    callers = [options.get("parent_id"), options.get("root_id"), options.get("group_id")]
    if options.get("parent_id"):
        return " ".join(str(caller or "") for caller in callers)
    if options.get(_FROZEN):
        return uuid.uuid4().hex
    others = [str(caller) for caller in callers if caller and caller != task_id]
    return " ".join(others)


def signature_of(kept: Json) -> Any:
    """Return the signature that was kept, with the types that JSON does not have."""
    return default_app.signature(typed_json.loads(json.dumps(kept)))


def timing(options: Mapping[str, Any]) -> Json:
    """Take the times of a notification out of the options of an ``apply_async``."""
    return {name: options[name] for name in _OPTIONS if options.get(name) is not None}


def _as_json(value: Any, field: str) -> Json:
    if not isinstance(value, Mapping):
        raise InvalidFollower(
            f"{field} must be a Celery signature.", field=field, hint="Make one with task.s(…)."
        )
    try:
        text = typed_json.dumps(value)
        kept = field_types.json_object(json.loads(text), field)
        tasks = list(_tasks_in(typed_json.loads(text)))
    except InvalidNotification:
        raise
    except (
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        EncodeError,
        RecursionError,
    ) as error:
        raise InvalidFollower(
            f"{field} is not a signature that can be kept ({type(error).__name__}).", field=field
        ) from None
    for task in tasks:
        _check(task, field)
    return kept


def _tasks_in(signature: Json) -> Iterator[Json]:
    """Yield the signatures of single tasks in a canvas, however nested, with their links."""
    options, kwargs = signature["options"], signature["kwargs"]
    match signature.get("subtask_type"):
        case "group" | "chain":
            inner = list(kwargs["tasks"])
        case "chord":
            header = kwargs["header"]
            inner = [*([header] if isinstance(header, dict) else header), kwargs["body"]]
        case "xmap" | "xstarmap" | "chunks":
            inner = [kwargs["task"]]
        case _:
            inner = []
            yield signature
    for name in ("link", "link_error"):
        inner += maybe_list(options.get(name)) or []
    for part in inner:
        yield from _tasks_in(part)


def _check(task: Json, field: str) -> None:
    name, options = task["task"], task["options"]
    if not isinstance(name, str) or not name:
        raise InvalidFollower(f"{field} names no task.", field=field)
    if name == SEND_TASK:
        request = requests.read({**timing(options), **task["kwargs"]})
        addressing.check_alone(request, clock.now())
        return
    try:
        route = default_app.amqp.router.route(dict(options), name, task["args"], task["kwargs"])
    except QueueNotFound as error:
        raise InvalidFollower(
            f"{field}: {error}", field=field, hint="Name a queue of CELERY_TASK_QUEUES."
        ) from None
    if _is_registered(default_app, name):
        return
    # Workers of another project may know it, if it goes to a queue of theirs.
    queue = getattr(route.get("queue"), "name", route.get("queue"))
    if queue in (None, default_app.conf.task_default_queue):
        raise InvalidFollower(
            f"{field} names the task {name!r}, which does not exist.",
            field=field,
            hint="Name a registered task, or give its signature the queue of a worker that has it.",
        )


def _is_registered(app: Celery, name: str) -> bool:
    """Return whether this project has the task, also where its module was not imported yet."""
    if name not in app.tasks:
        app.loader.import_default_modules()
    return name in app.tasks
