"""The optional JSON Schema of a version's context (draft 2020-12), bounded in what it costs.

Patterns run on an engine whose time is linear in the text (Rust's ``regex``), so lookaround and
backreferences are not to be had. ``schema_cost`` bounds the rest: the work of one check is at most
the schema's rules times the context's values, and the patterns' parts times its characters.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from templates_engine.errors import InvalidTemplate
from templates_engine.schema_cost import BadSchema, Cost, cost_of

MAX_WORK = 20_000_000
"""Units of one check: a rule looking at a value, or a pattern's part at a character (< 50 ns)."""
_REGEX_BYTES = 2_000_000  # of one compiled pattern
_SHOWN = 200  # characters of a rule in an error

_compiled = partial(
    Draft202012Validator,
    pattern_options=RegexOptions(size_limit=_REGEX_BYTES),
    validate_formats=False,
    offline=True,
    mask="it",  # a message never shows the value, which may be a secret
)


class BrokenRule(ValueError):
    """The context breaks a rule; ``path`` is like ``items[0].price``, the text is the rule."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(problem)
        self.path = path


@dataclass(frozen=True, slots=True)
class ContextValidator:
    """A schema, ready to check contexts. Share it freely between threads."""

    schema: Any
    cost: Cost
    compiled: Draft202012Validator

    @classmethod
    def of(cls, schema: Any) -> "ContextValidator":
        """Compile a schema. Raises ``BadSchema``."""
        cost = cost_of(schema)  # first: the compiler follows references without end
        try:
            return cls(schema, cost, _compiled(schema))
        except ValidationError as error:
            raise BadSchema(_wrong(error)) from None
        except ValueError as error:
            raise BadSchema(f"It cannot be compiled: {error}") from None

    def check(self, context: Mapping[str, Any]) -> None:
        """Refuse a context that does not fit, or is too large to look at. Raises ``BrokenRule``."""
        if self._work(context) > MAX_WORK:
            raise BrokenRule("", "it is too large to be checked by so many rules")
        try:
            self.compiled.validate(dict(context))
        except ValidationError as error:
            raise BrokenRule(_path(error.instance_path), self._rule(error)) from None
        except ValueError:  # not JSON, or nested by hundreds of levels
            raise BrokenRule("", "it must be JSON, and not nested too deeply") from None

    def _work(self, context: Mapping[str, Any]) -> int:
        values, characters = _size(context)
        return self.cost.rules * values + self.cost.patterns * characters

    def _rule(self, error: ValidationError) -> str:
        rule = self.schema
        for step in error.schema_path:
            rule = _at(rule, step)
        if rule is None:  # the path has no place for a property without a name
            return error.message[:_SHOWN]
        name = error.schema_path[-1] if error.schema_path else "the schema"
        return f"it must satisfy {name}: {json.dumps(rule)[:_SHOWN]}"


def check_schema(schema: Mapping[str, Any] | None) -> None:
    """Refuse a schema that is wrong, asks for other documents, or has no bound to its work.

    Raises: InvalidTemplate.
    """
    if schema is None:
        return
    if not isinstance(schema, dict):
        raise InvalidTemplate("The context schema must be a JSON object.")
    try:
        ContextValidator.of(schema)
    except BadSchema as error:
        raise InvalidTemplate(
            f"The context schema cannot be used. {error}",
            hint="See docs/templates.md for what a schema may hold.",
        ) from None


def may_be_empty(schema: object, path: Sequence[str]) -> bool:
    """Return whether a schema says of a value, by its path of names, that it may be empty.

    By ``"minLength": 0``, by the type ``null``, or by an empty text among its ``enum``.
    """
    rule = schema
    for name in path:
        properties = rule.get("properties") if isinstance(rule, Mapping) else None
        rule = properties.get(name) if isinstance(properties, Mapping) else None
    if not isinstance(rule, Mapping):
        return False
    types = rule.get("type", ())
    return (
        rule.get("minLength") == 0
        or "null" in (types if isinstance(types, list) else [types])
        or any(value in ("", None) for value in rule.get("enum", ()))
    )


def _wrong(error: ValidationError) -> str:
    place = _path(error.instance_path) or "its root"
    if error.instance_path[-1:] == ["pattern"] and error.schema_path[-1:] == ["pattern"]:
        return (
            f"The pattern at {place} is not supported: it is wrong or too large, or it looks "
            "ahead, behind or back at a group, which has no bound in time."
        )
    return f"It is wrong at {place}: {error.message[:_SHOWN]}"


def _at(rule: Any, step: str | int) -> Any:
    if isinstance(rule, list):
        return rule[step] if isinstance(step, int) and step < len(rule) else None
    return rule.get(str(step)) if isinstance(rule, Mapping) else None


def _path(steps: Sequence[str | int]) -> str:
    """Write a path like ``items[0].price``."""
    words = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return "".join(words).removeprefix(".")


def _size(value: Any) -> tuple[int, int]:
    """Count the values in a value, itself included, and the characters of texts and names."""
    values = characters = 0
    left = [value]
    while left:
        item = left.pop()
        values += 1
        if isinstance(item, str):
            characters += len(item)
        elif isinstance(item, Mapping):
            characters += sum(map(len, filter(_is_text, item)))
            left += item.values()
        elif isinstance(item, list | tuple):
            left += item
    return values, characters


def _is_text(value: object) -> bool:
    return isinstance(value, str)
