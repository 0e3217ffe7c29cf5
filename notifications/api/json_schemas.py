"""Words of JSON Schema that several bodies share; what they document is checked elsewhere."""

from typing import Any

Json = dict[str, Any]

NUL_FREE = "^[^\\u0000]*$"
ONE_LINE = "^[^\\u0000\\r\\n]*$"
NULL: Json = {"type": "null"}
EMPTY: Json = {"maxLength": 0}
"""Of a text."""
SOME: Json = {"minLength": 1}
"""Of a text."""


def text(longest: int | None = None, pattern: str = NUL_FREE) -> Json:
    """Say of a text what a database keeps of it, and at most how many characters."""
    return {"pattern": pattern} | ({} if longest is None else {"maxLength": longest})


def whole(pattern: str) -> str:
    r"""Return a pattern of Python's, which ends with ``\Z``, as JSON Schema writes it."""
    return pattern.replace("\\Z", "$")


def either(*patterns: str) -> str:
    """Return the pattern of a text that matches one of these whole, or is empty."""
    inner = (
        pattern.removeprefix("^").removesuffix("\\Z").removesuffix("$") for pattern in patterns
    )
    return "^(?:" + "|".join(("", *inner)) + ")$"


def number(least: float, most: float) -> Json:
    """Say between which figures a number is, both included."""
    return {"minimum": least, "maximum": most}


def given(*names: str) -> Json:
    """Say that these texts are given."""
    return {"properties": dict.fromkeys(names, SOME), "required": [*names]}


def lacking(*names: str) -> Json:
    """Say that these texts are empty, or not given."""
    return {"properties": dict.fromkeys(names, EMPTY)}


def some_of(*cases: Json) -> Json:
    """Say that one of these holds; below `allOf`, for generators take `anyOf` for several types."""
    return {"allOf": [{"anyOf": [*cases]}]}


def both(*parts: Json) -> Json:
    """Say what each of these says of an object's properties."""
    properties: Json = {}
    required: list[str] = []
    for part in parts:
        properties |= part.get("properties", {})
        required += part.get("required", [])
    return {"properties": properties} | ({"required": required} if required else {})
