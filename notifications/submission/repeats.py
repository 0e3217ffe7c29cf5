"""A batch that is asked for again is the first one: its id follows from what asks for it."""

import json
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from itertools import chain
from typing import Any
from uuid import UUID, uuid5

from notifications.core.errors import InvalidNotification
from notifications.core.world import LIVE, World
from notifications.models import Batch
from notifications.submission.writing import used_before

Fields = Mapping[str, Any]
Item = Fields | Callable[[], Fields]  # a row's fields, or what returns them or raises why not

_ORIGINS = UUID("5d0f6c1e-6c0a-4a57-9d2b-3f8f6f1f0b9e")
# What no content hash of a notification has, either (``identity.content_hash``).
_LEFT_OUT = frozenset({"eta", "countdown", "local_time", "expires", "retry", "callback_url"})

_encode = json.JSONEncoder(sort_keys=True, default=str).encode


def of_key(key: str, content: str, *, world: World = LIVE, **columns: Any) -> tuple[Batch, bool]:
    """Return the batch of a world's idempotency key, and whether this call made it.

    ``content`` is its ``content_hash``. Raises ``IdempotencyConflict`` if it was another.
    """
    whose = f"of {world.namespace} " if world.namespace else ""
    columns |= world.columns
    return _first(f"{whose}key {key}", content, "idempotency_key", columns)


def of_task(task: str, content: str, **columns: Any) -> tuple[Batch, bool]:
    """Return the batch of a run of a task, as ``of_key`` does."""
    return _first(f"task {task}", content, "task_id", columns)


def to_one(recipient: Any) -> dict[str, Any]:
    """Return the field of one of a list: ``to`` for ``{"recipient": …}``, else ``recipient``."""
    return {"to" if isinstance(recipient, Mapping) else "recipient": recipient}


def content_hash(rows: Iterable[Item], common: Fields) -> str:
    """Return whether two batches ask for the same, in the same order; when makes no difference."""
    digest = blake2b(digest_size=16)
    for item in chain([common], rows):
        digest.update(_encode(_content(item)).encode() + b"\n")
    return digest.hexdigest()


def _first(origin: str, content: str, field: str, columns: Fields) -> tuple[Batch, bool]:
    batch, created = Batch.objects.get_or_create(
        id=uuid5(_ORIGINS, origin), defaults={**columns, "content_hash": content}
    )
    if batch.content_hash != content:
        raise used_before(field)
    return batch, created


def _content(item: Item) -> Fields | str:
    try:
        fields = item() if callable(item) else item
    except InvalidNotification as error:
        return str(error)
    return {name: value for name, value in fields.items() if name not in _LEFT_OUT}
