"""A job's definition as JSON: its schema, and the named errors for what does not fit it."""

from collections.abc import Iterable
from typing import Any

import jsonschema

from scheduling import conditions
from scheduling.models import DAY_SECONDS, Guarantee, Misfire, Overlap

MOMENT = {"type": "string", "format": "date-time", "description": "with its UTC offset"}
ZONE = {"type": "string", "description": "an IANA zone, e.g. Europe/Berlin", "default": "UTC"}


class JobError(ValueError):
    """A job that cannot be registered or found; the message says what to do."""


class InvalidJobError(JobError):
    """A definition that does not fit the schema."""


class HandlerNotAllowedError(JobError):
    """A handler that is not on the allow-list."""


class UnknownJobError(JobError):
    """No job has this name."""


def schema(handlers: Iterable[str]) -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of a job definition; durations are seconds."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Job",
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "handler", "schedule"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 200},
            "handler": {"type": "string", "enum": sorted(handlers)},
            "schedule": {"oneOf": [_cron(), _every(), _at(), _solar()]},
            "args": {"type": "array", "default": []},
            "kwargs": {"type": "object", "default": {}},
            "enabled": {"type": "boolean", "default": True},
            "description": {"type": "string", "default": ""},
            "start": MOMENT | {"description": "no fire before this moment"},
            "expires": MOMENT | {"description": "no fire after this moment"},
            "one_off": {"type": "boolean", "default": False},
            "queue": {"type": "string", "maxLength": 200},
            "priority": {"type": "integer", "minimum": 0, "maximum": 255},
            "message_expires": {"type": "integer", "minimum": 1},
            "misfire": {"enum": Misfire.values, "default": Misfire.LATEST},
            "misfire_cap": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 10},
            "grace": {"type": "integer", "minimum": 0},
            "overlap": {"enum": Overlap.values, "default": Overlap.ALLOW},
            "jitter": {"type": "integer", "minimum": 0, "maximum": DAY_SECONDS, "default": 0},
            "guarantee": {"enum": Guarantee.values, "default": Guarantee.AT_LEAST_ONCE},
            "timeout": {"type": "integer", "minimum": 1},
            "retries": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 0},
            "retry_backoff": {"type": "integer", "minimum": 0, "default": 10},
            "catch_up_on_resume": {"type": "boolean", "default": False},
            "condition": {"enum": ["", *conditions.names()], "default": ""},
        },
    }


def check(definition: dict[str, Any], handlers: Iterable[str]) -> None:
    """Raise ``HandlerNotAllowedError`` or ``InvalidJobError`` for one that does not fit."""
    allowed = sorted(handlers)
    handler = definition.get("handler")
    if isinstance(handler, str) and handler not in allowed:
        raise HandlerNotAllowedError(
            f"The task {handler!r} may not be scheduled; allowed: {', '.join(allowed) or 'none'}. "
            "Allow it by SCHEDULING_ALLOWED_TASKS, jobs.allow() or @jobs.job."
        )
    validator = jsonschema.Draft202012Validator(schema(allowed))
    error = jsonschema.exceptions.best_match(validator.iter_errors(definition))
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path) or "the job"
        raise InvalidJobError(f"{where}: {error.message}")


def _cron() -> dict[str, Any]:
    cron = {"type": "string", "description": "minute hour day-of-month month day-of-week"}
    return _object({"cron": cron, "timezone": ZONE}, required="cron")


def _every() -> dict[str, Any]:
    seconds = {"type": "number", "exclusiveMinimum": 0, "description": "seconds"}
    return _object({"every": seconds}, required="every")


def _at() -> dict[str, Any]:
    return _object({"at": MOMENT}, required="at")


def _solar() -> dict[str, Any]:
    return _object(
        {
            "solar": {"type": "string", "description": "e.g. sunset"},
            "latitude": {"type": "number", "minimum": -90, "maximum": 90},
            "longitude": {"type": "number", "minimum": -180, "maximum": 180},
        },
        required="solar",
    ) | {"required": ["solar", "latitude", "longitude"]}


def _object(properties: dict[str, Any], *, required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [required],
        "properties": properties,
    }
