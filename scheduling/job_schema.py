"""A job's definition as JSON: its schema, and the named errors for what does not fit it."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scheduling import conditions, retries, rule_forms
from scheduling.terms import DAY_SECONDS, KEY_LENGTH, MISFIRE_CAP_LIMIT, Guarantee, Misfire, Overlap

if TYPE_CHECKING:
    import jsonschema

MOMENT = {"type": "string", "format": "date-time", "description": "with its UTC offset"}
TEXT = {"type": "string", "pattern": r"^[^\u0000]*$"}
"""What a database can keep."""
LONGEST_WAIT = 30 * DAY_SECONDS
"""Seconds before a retry."""
LARGEST = 2**31 - 1
"""Of a column of integers."""
ZONE = {"type": "string", "description": "an IANA zone, e.g. Europe/Berlin", "default": "UTC"}


NEEDS_OVERLAP = "A concurrency key needs the overlap policy skip or queue."
TOO_LONG_JITTER = "It must be below the time from one fire to the next, which is {:g} seconds."
HOW_TO_ALLOW = "Allow it by SCHEDULING_ALLOWED_TASKS, jobs.allow() or @jobs.job."


MOST_GROUPS = 100
"""Groups of one job."""


class JobError(ValueError):
    """A job that cannot be registered or found; the message says what to do."""


class InvalidJob(JobError):
    """A definition that cannot be kept; ``field`` is the path of what does not fit in it."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class HandlerNotAllowed(JobError):
    """A handler that is not on the allow-list."""


class JobExists(JobError):
    """A job of this name is there already."""


class UnknownJob(JobError):
    """No job has this name."""


def schema(handlers: Iterable[str]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a job definition; durations are seconds."""
    alone = {"properties": {"overlap": {"enum": [Overlap.SKIP, Overlap.QUEUE]}}}
    return {
        **_shape(handlers, [rule() for rule in _KINDS.values()]),
        "dependentSchemas": {"concurrency_key": {**alone, "required": ["overlap"]}},
    }


def _shape(handlers: Iterable[str], rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Job",
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "handler", "schedule"],
        "properties": {
            "name": TEXT | {"minLength": 1, "maxLength": 200},
            "handler": {"type": "string", "enum": sorted(handlers)},
            "schedule": {"anyOf": rules},
            "args": {"type": "array", "default": []},
            "kwargs": {"type": "object", "default": {}},
            "enabled": {"type": "boolean", "default": True},
            "description": TEXT | {"default": ""},
            "start": MOMENT | {"description": "no fire before this moment"},
            "expires": MOMENT | {"description": "no fire after this moment"},
            "one_off": {"type": "boolean", "default": False},
            "queue": TEXT | {"maxLength": 200},
            "priority": {"type": "integer", "minimum": 0, "maximum": 255},
            "message_expires": _integer(1),
            "misfire": {"enum": Misfire.values, "default": Misfire.LATEST},
            "misfire_cap": {
                "type": "integer",
                "minimum": 1,
                "maximum": MISFIRE_CAP_LIMIT,
                "default": 10,
            },
            "grace": _integer(0),
            "overlap": {"enum": Overlap.values, "default": Overlap.ALLOW},
            "jitter": {"type": "integer", "minimum": 0, "maximum": DAY_SECONDS, "default": 0},
            "guarantee": {"enum": Guarantee.values, "default": Guarantee.AT_LEAST_ONCE},
            "timeout": _integer(1),
            "retries": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 0},
            "retry_backoff": _integer(0) | {"default": 10},
            "retry": _retry(),
            "groups": {
                "type": "array",
                "items": TEXT | {"minLength": 1, "maxLength": 100},
                "uniqueItems": True,
                "maxItems": MOST_GROUPS,
            },
            "concurrency": _integer(1) | {"default": 1},
            "concurrency_key": _key("jobs that have it share their runs at once"),
            "unique_key": _key("of the jobs that have it one run is let through in a period"),
            "unique_seconds": _integer(1) | {"description": "the period of unique_key"},
            "pause_after": _integer(1) | {"description": "failed runs in a row"},
            "catch_up_on_resume": {"type": "boolean", "default": False},
            "condition": {"enum": ["", *conditions.names()], "default": ""},
        },
        "dependentRequired": {
            "unique_key": ["unique_seconds"],
            "unique_seconds": ["unique_key"],
        },
    }


def check(definition: dict[str, Any], handlers: Iterable[str]) -> None:
    """Raise ``HandlerNotAllowed`` or ``InvalidJob`` for one that does not fit."""
    allowed = sorted(handlers)
    handler = definition.get("handler")
    if isinstance(handler, str) and handler not in allowed:
        raise HandlerNotAllowed(
            f"The task {handler!r} may not be scheduled; allowed: {', '.join(allowed) or 'none'}. "
            f"{HOW_TO_ALLOW}"
        )
    groups = definition.get("groups")
    if isinstance(groups, list) and len(groups) > MOST_GROUPS:
        # Before the validator compares each with each other.
        raise InvalidJob(f"groups: There are {MOST_GROUPS} at most.", field="groups")
    # How a rule's texts are written is refused later, in better words.
    shape = _shape(allowed, [rule(forms=False) for rule in _KINDS.values()])
    error = _rule_error(definition) or _best_error(shape, definition)
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path) or "the job"
        raise InvalidJob(f"{where}: {error.message}", field=_place_of(error))
    for key, value in definition.items():
        # No regular expression of JSON Schema's can say it.
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise InvalidJob(f"{key}: It holds half of a surrogate pair.", field=key)
    _refuse_contradictions(definition)


def _best_error(
    schema: dict[str, Any], definition: dict[str, Any]
) -> "jsonschema.ValidationError | None":
    import jsonschema  # noqa: PLC0415 -- 2 MB that a process without a job to check spares

    validator = jsonschema.Draft202012Validator(schema)
    return jsonschema.exceptions.best_match(validator.iter_errors(definition))


def _rule_error(definition: dict[str, Any]) -> "jsonschema.ValidationError | None":
    """Return what is wrong within a rule whose kind is plain, rather than that none fits."""
    rule = definition.get("schedule")
    kinds = [kind for kind in _KINDS if isinstance(rule, dict) and kind in rule]
    if len(kinds) != 1:
        return None
    own = {"type": "object", "properties": {"schedule": _KINDS[kinds[0]](forms=False)}}
    return _best_error(own, definition)


def _refuse_contradictions(definition: dict[str, Any]) -> None:
    """Raise ``InvalidJob`` for keys that do not go together. Moments are read later."""
    if "concurrency_key" in definition and definition.get("overlap", "allow") == Overlap.ALLOW:
        raise InvalidJob(NEEDS_OVERLAP, field="concurrency_key")
    try:
        start, expires = (datetime.fromisoformat(definition[key]) for key in ("start", "expires"))
        is_over = expires < start
    except (KeyError, ValueError, TypeError):
        return  # one is not given, or is refused by itself
    if is_over:
        raise InvalidJob("expires: It is before the start.", field="expires")


def _place_of(error: "jsonschema.ValidationError") -> str:
    """Return the path of the key at fault; also of one that is missing, or that no job has."""
    path = [str(part) for part in error.absolute_path]
    keys: list[str] = []
    if error.validator == "required":
        keys = [key for key in error.validator_value if key not in error.instance]
    elif error.validator == "dependentRequired":
        needed = [key for name in error.instance for key in error.validator_value.get(name, ())]
        keys = [key for key in needed if key not in error.instance]
    elif error.validator == "additionalProperties":
        keys = sorted(error.instance.keys() - error.schema["properties"].keys())
    return ".".join([*path, *keys[:1]])


def _integer(minimum: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": minimum, "maximum": LARGEST}


def _key(description: str) -> dict[str, Any]:
    return TEXT | {"minLength": 1, "maxLength": KEY_LENGTH, "description": description}


def _retry() -> dict[str, Any]:
    """Return the schema of how a failed run is tried again; see ``retries``."""
    seconds = {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT}
    how = {
        "strategy": {"enum": retries.names()},
        "wait": seconds,
        "longest": seconds,
        "waits": {"type": "array", "items": seconds, "minItems": 1, "maxItems": 1000},
    }
    policy = {
        "type": "object",
        "additionalProperties": False,
        "properties": how,
        "if": {"properties": {"strategy": {"const": "waits"}}, "required": ["strategy"]},
        "then": {"required": ["waits"]},
    }
    errors = {
        "type": "object",
        "additionalProperties": policy,
        "description": "by the error's class",
    }
    return {**policy, "properties": {**how, "errors": errors}}


def _cron(*, forms: bool = True) -> dict[str, Any]:
    cron = {"type": "string", "description": "minute hour day-of-month month day-of-week"}
    seconds = {"type": "boolean", "description": "whether a field of seconds comes first"}
    days = {
        "enum": ["and", "or"],
        "default": "and",
        "description": "whether day-of-month and day-of-week must both match",
    }
    own = {"cron": cron, "seconds": seconds, "days": days}
    rule = _object(own | _wrapping(forms=forms), required="cron")
    return rule | (rule_forms.CRON if forms else {})


def _every(*, forms: bool = True) -> dict[str, Any]:
    seconds = {"type": "number", "minimum": 1, "description": "seconds"}
    return _object({"every": seconds} | _wrapping(forms=forms), required="every")


def _at(*, forms: bool = True) -> dict[str, Any]:
    return _object({"at": MOMENT}, required="at")


def _rrule(*, forms: bool = True) -> dict[str, Any]:
    text = {"type": "string", "description": "an RRULE of RFC 5545, without DTSTART; UNTIL in UTC"}
    begin = MOMENT | {
        "description": "what it counts from; by default its registration, in whole minutes"
    }
    own = {"rrule": text | (rule_forms.RRULE if forms else {}), "from": begin}
    return _object(own | _wrapping(forms=forms), required="rrule")


def _wrapping(*, forms: bool) -> dict[str, Any]:
    """Return the zone, and the keys that leave out or move due times."""
    return {
        "timezone": ZONE | (rule_forms.ZONE if forms else {}),
        "between": {
            "type": "array",
            "items": {"type": "string"} | (rule_forms.OF_DAY if forms else {}),
            "minItems": 2,
            "maxItems": 2,
            "description": 'only between two times of day, like ["08:00", "20:00"]',
        },
        "holidays": {"type": "string", "minLength": 2, "description": "like DE or DE-BY"},
        "calendar": {
            "type": "string",
            "pattern": "^[A-Za-z0-9_-]{1,100}$",
            "description": "a file NAME.ics of holidays in the folder SCHEDULING_CALENDARS",
        },
        "business_days": {"type": "boolean", "description": "not on weekends"},
        "on_holiday": {"enum": ["skip", "next", "previous"], "default": "skip"},
    }


def _solar(*, forms: bool = True) -> dict[str, Any]:
    event = {"type": "string", "description": "e.g. sunset"}
    return _object(
        {
            "solar": event | (rule_forms.SOLAR if forms else {}),
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


_KINDS: dict[str, Callable[..., dict[str, Any]]] = {
    "cron": _cron,
    "every": _every,
    "at": _at,
    "rrule": _rrule,
    "solar": _solar,
}
