"""The OpenAPI document as generators of clients read it."""

import json
from typing import Any

INT32 = 2**31 - 1
DATA = frozenset({"example", "examples", "default", "enum", "const"})  # no schemas are in them

Json = dict[str, Any]


def mend(document: Json) -> None:
    """Say the size of each number, and leave out what misleads a generator.

    Without a size, Go and Java take 32 bits. A client sends the defaults of a body, so a default in
    a change would reset a field that the caller did not name. A default of a value that has several
    types becomes words, for Go's generator cannot write such a value. A header has no default: an
    empty one is refused, one that is left out is not. A field that one of several cases needs
    becomes one that all need where a generator reads `allOf`, so cases stand below `then`. A
    generator makes a type of each schema, so a schema that nothing refers to is removed.
    """
    for part in ("paths", "components"):
        document[part] = _sized(document[part])
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        if "properties" in schema and "allOf" in schema:
            schema.update({"if": {"type": "object"}, "then": {"allOf": schema.pop("allOf")}})
        if name.endswith("Change"):
            fields = schema["properties"].items()
            schema["properties"] = {field: _without_default(part) for field, part in fields}
    for name in schemas.keys() - _used(document):
        del schemas[name]


def _sized(part: Any) -> Any:
    if isinstance(part, list):
        return [_sized(item) for item in part]
    if not isinstance(part, dict):
        return part
    sized = {name: value if name in DATA else _sized(value) for name, value in part.items()}
    if "default" in sized and len(sized.get("anyOf", ())) > 1 and sized["default"] is not None:
        words = sized.get("description", "")
        sized["description"] = f"{words} By default {json.dumps(sized.pop('default'))}.".strip()
    if part.get("in") == "header":
        sized["schema"].pop("default", None)
    if part.get("type") == "number":
        sized["format"] = "double"
    elif part.get("type") == "integer" and part.get("maximum", INT32 + 1) > INT32:
        sized["format"] = "int64"
    return sized


def _without_default(field: Json) -> Json:
    others = {name: part for name, part in field.items() if name != "default"}
    if "anyOf" in others:
        others["anyOf"] = [_without_default(option) for option in others["anyOf"]]
    return others


def _used(document: Json) -> set[str]:
    schemas = document["components"]["schemas"]
    used: set[str] = set()
    names = _references(document["paths"])
    while new := names - used:
        used |= new
        names = {name for schema in new for name in _references(schemas[schema])}
    return used


def _references(part: Any) -> set[str]:
    if isinstance(part, list):
        return {name for item in part for name in _references(item)}
    if not isinstance(part, dict):
        return set()
    names = {name for value in part.values() for name in _references(value)}
    if isinstance(reference := part.get("$ref"), str):
        names.add(reference.rpartition("/")[2])
    return names
