"""The optional JSON Schema of a version's context (draft 2020-12)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from templates_engine.errors import InvalidTemplate

MAX_PATTERN = 200
# A group that repeats, or three loose repetitions, can take a regular expression minutes.
_REPEATED_GROUP = re.compile(r"\)[*+{?]")
_LOOSE = re.compile(r"(?<!\\)[*+]|\{\d*,\d*\}")


def check_schema(schema: Mapping[str, Any] | None) -> None:
    """Refuse a schema that is wrong, asks for other documents, or could take for ever.

    Raises: InvalidTemplate.
    """
    if schema is None:
        return
    if not isinstance(schema, dict):
        raise InvalidTemplate("The context schema must be a JSON object.")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = error.json_path.removeprefix("$").lstrip(".")
        raise InvalidTemplate(
            f"The context schema is wrong at {place or 'its root'}: {error.message}"
        ) from error
    for key, value in _members(schema):
        if key in ("$ref", "$dynamicRef") and not str(value).startswith("#"):
            raise InvalidTemplate("A $ref of the context schema must stay inside it.")
        if key == "patternProperties":
            raise InvalidTemplate("patternProperties is not supported.")
        if key == "pattern" and isinstance(value, str) and _may_take_for_ever(value):
            raise InvalidTemplate(
                "A pattern of the context schema could take for ever.",
                hint="Repeat no groups, and use * or + at most twice.",
            )


def _may_take_for_ever(pattern: str) -> bool:
    return (
        len(pattern) > MAX_PATTERN
        or bool(_REPEATED_GROUP.search(pattern))
        or len(_LOOSE.findall(pattern)) > 2
    )


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
        for item in value.values():
            yield from _members(item)
    elif isinstance(value, list):
        for item in value:
            yield from _members(item)
