"""How much work a JSON Schema may make per value and per character: counted, not measured.

A ``$ref`` costs what it refers to, each time. So doubled references are counted in full although
the walk looks at each schema once, and a reference that leads back to itself is refused.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

MAX_DEPTH = 50
"""Levels of a schema, its references followed."""
MAX_RULES = 5_000
"""Keywords, and members of their lists, with all references written out."""
MAX_PATTERNS = 2_000
"""Parts of all patterns, repetitions such as ``{20}`` written out."""

_ONE = frozenset(
    {
        *("additionalProperties", "contains", "else", "if", "items", "not", "propertyNames"),
        *("then", "unevaluatedItems", "unevaluatedProperties"),
    }
)
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS = frozenset({"dependentSchemas", "properties"})
_AGAIN = frozenset({"unevaluatedItems", "unevaluatedProperties"})  # look at all beside them again
_AGAIN_FACTOR = 4
_UNIQUE_ITEMS = 20  # rules' worth of hashing, per element
_UNSUPPORTED = frozenset({"$dynamicRef", "$recursiveRef", "patternProperties"})

# Of a regular expression: what stands for one character, a group's begin or end, a repetition.
# What does not end is one to the end, so that nothing is looked at twice; the compiler refuses it.
_TOKEN = re.compile(
    r"\\[pPk][{<][^}>]*+[}>]?|\\.|\[(?:\\.|[^\]\\])*+\]?|\{\d+(?:,\d*)?\}|\(\?[a-zA-Z:=!<>P]*|.",
    re.DOTALL,
)


class BadSchema(ValueError):
    """A schema that is not supported, or whose work has no bound; the text says why."""


class Cost(NamedTuple):
    """What a schema costs at most: ``rules`` per value, ``patterns`` per character."""

    rules: int
    patterns: int
    repeats: bool = False
    """Whether it looks at a value again: ``unevaluatedProperties`` or ``unevaluatedItems``."""


def cost_of(schema: Any) -> Cost:
    """Count a schema's cost. Raises ``BadSchema``."""
    _check_depth(schema)
    cost = _Walk(schema).cost(schema, "#", ())
    if cost.rules > MAX_RULES or cost.patterns > MAX_PATTERNS:
        raise BadSchema(
            f"It has more than {MAX_RULES:,} rules, or more than {MAX_PATTERNS:,} parts of "
            "patterns, with each $ref and each repetition written out."
        )
    return cost


@dataclass(frozen=True, slots=True)
class _Walk:
    root: Any
    known: dict[str, Cost] = field(default_factory=dict)

    def cost(self, schema: Any, place: str, way: tuple[str, ...]) -> Cost:
        """Count a schema; ``way`` are the references that led to it."""
        if not isinstance(schema, Mapping):
            return Cost(1, 0)
        if unsupported := _UNSUPPORTED & schema.keys():
            raise BadSchema(f"{min(unsupported)} is not supported.")
        if "$id" in schema and schema is not self.root:
            raise BadSchema("$id is supported at the root only.")
        parts = [self.cost(sub, place, way) for sub in _subschemas(schema)]
        if "$ref" in schema:
            parts.append(self.referred(schema["$ref"], way))
        rules = sum(map(_own_rules, schema, schema.values())) + sum(part.rules for part in parts)
        patterns = sum(part.patterns for part in parts)
        if isinstance(pattern := schema.get("pattern"), str):
            patterns += pattern_weight(pattern)
        repeats = any(part.repeats for part in parts)
        if _AGAIN & schema.keys():
            if repeats:
                raise BadSchema("unevaluatedProperties and unevaluatedItems may not be nested.")
            return Cost(rules * _AGAIN_FACTOR, patterns * _AGAIN_FACTOR, repeats=True)
        return Cost(rules, patterns, repeats)

    def referred(self, reference: Any, way: tuple[str, ...]) -> Cost:
        """Count what a ``$ref`` refers to."""
        if not isinstance(reference, str) or not re.match(r"#(/|$)", reference):
            raise BadSchema("A $ref must stay inside it: #/$defs/NAME.")
        if reference in way:
            raise BadSchema(f"The $ref {reference} leads back to itself.")
        if len(way) >= MAX_DEPTH:
            raise BadSchema(f"Its references go more than {MAX_DEPTH} levels deep.")
        if reference not in self.known:
            subschema = _subschema(self.root, reference)
            self.known[reference] = self.cost(subschema, reference, (*way, reference))
        return self.known[reference]


def _subschemas(schema: Mapping[str, Any]) -> Iterator[Any]:
    for key, value in schema.items():
        if key in _ONE:
            yield value
        elif key in _LISTS and isinstance(value, list):
            yield from value
        elif key in _MAPS and isinstance(value, Mapping):
            yield from value.values()


def _own_rules(key: str, value: Any) -> int:
    if key == "uniqueItems":
        return _UNIQUE_ITEMS
    return 1 + len(value) if isinstance(value, list) and key not in _LISTS else 1


def _subschema(root: Any, reference: str) -> Any:
    part = root
    for step in reference.split("/")[1:]:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(part, list) and name.isascii() and name.isdecimal():
            part = dict(enumerate(part)).get(int(name))
        else:
            part = part.get(name) if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping | bool):
        raise BadSchema(f"There is no schema at {reference}.")
    return part


def _check_depth(schema: Any) -> None:
    level = [schema]
    for _ in range(MAX_DEPTH):
        level = [item for value in level for item in _inside(value)]
        if not level:
            return
    raise BadSchema(f"It is more than {MAX_DEPTH} levels deep.")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []


def pattern_weight(pattern: str) -> int:
    """Count the parts of a regular expression, as if its repetitions were written out."""
    groups = [0]
    last = 0
    for part in _TOKEN.findall(pattern):
        if part.startswith("("):
            groups.append(1)
            last = 0
        elif part == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        elif part.startswith("{") and len(part) > 1:
            # Python reads no number of more than 4,300 digits; these are enough to be refused.
            times = max(int(number[:9]) for number in re.findall(r"\d+", part))
            groups[-1] += last * (times - 1)
            last *= times
        else:
            groups[-1] += 1
            last = 1
    return sum(groups)
