"""What a fire is published as. Pure; ``message_rows`` reads it from a schedule's row."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, TypeVar

from celery import Task
from celery.app.task import Context
from kombu.utils.json import loads

FIRE_HEADER = "scheduling_fire"
DUE_HEADER = "scheduled_for"
"""By which a task knows the due time that it runs for: ``self.request.headers``."""
DESTINATION = ("queue", "exchange", "routing_key", "priority")
HARD_TIMEOUT_MARGIN = 5.0
"""Seconds from the soft time limit, which a task may catch, to the hard one."""
LONGEST_TEXT = 16 * 2**20
"""Characters of a row's JSON; a broker that is given more may end the connection for all."""
EMPTY = {None, "", "[]", "{}"}
PROTOCOL_HEADERS = frozenset(dir(Context)) | {
    *("task", "lang", "argsrepr", "kwargsrepr", "compression", "type", "priority"),
    *("content_type", "content_encoding", "body", "exchange", "routing_key"),
}
"""Names by which Celery reads a message's headers; another value there breaks its receipt."""

Json = TypeVar("Json", list[Any], dict[str, Any])


class MalformedMessage(ValueError):
    """A row whose message cannot be made; it says which column is at fault, not its value."""

    def __init__(self, message: str, *, column: str) -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True)
class Message:
    """A fire, ready to be published. ``task`` is ``None`` if it is not registered here."""

    fire: Any
    """As its backend has it."""
    name: str
    task: Task | None
    args: Sequence[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    """For ``apply_async``; the id makes a second publication of the same fire recognisable."""

    @property
    def is_done_when_accepted(self) -> bool:
        """Whether the task's ``apply_async`` itself is durable and idempotent by task id."""
        return bool(getattr(self.task, "accepted_is_done", False))


def read_headers(text: str | None) -> dict[str, Any]:
    """Return the headers in a row's JSON. Raises ``MalformedMessage``."""
    headers = read("headers", text, {})
    if taken := sorted(PROTOCOL_HEADERS & headers.keys()):
        raise MalformedMessage(
            f"Its headers have names that Celery itself uses: {', '.join(taken)}.",
            column="headers",
        )
    return headers


def read(column: str, text: str | None, empty: Json) -> Json:
    """Read a column's JSON, which most often is empty."""
    if text is None or text in EMPTY:
        return empty
    if len(text) > LONGEST_TEXT:
        raise MalformedMessage(
            f"Its {column} have more than {LONGEST_TEXT} characters.", column=column
        )
    try:
        value = loads(text)
    except Exception as error:  # noqa: BLE001 -- a typed value of kombu's may raise anything
        # Its own text may quote the value.
        name = type(error).__name__
        raise MalformedMessage(
            f"Its {column} cannot be read as JSON ({name}).", column=column
        ) from None
    if not isinstance(value, type(empty)):
        expected = "an object" if isinstance(empty, dict) else "a list"
        raise MalformedMessage(f"Its {column} must be {expected} in JSON.", column=column)
    return value


def as_received(args: Any, kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return arguments as a worker will read them. Raises ``MalformedMessage``."""
    return read("args", json.dumps(args), []), read("kwargs", json.dumps(kwargs), {})


def options(
    fire: Any, job: str, headers: Mapping[str, Any], *, timeout: float | None
) -> dict[str, Any]:
    """Return the options for ``apply_async`` that every fire has: id, headers and time limits."""
    limits: dict[str, Any] = {}
    if timeout is not None:
        limits = {"soft_time_limit": timeout, "time_limit": timeout + HARD_TIMEOUT_MARGIN}
    own = {
        "periodic_task_name": job,
        "celery_beat_task": True,
        FIRE_HEADER: str(fire.id),
        DUE_HEADER: fire.scheduled_for.astimezone(UTC).isoformat(),
    }
    return {**limits, "task_id": str(fire.id), "headers": {**headers, **own}}
