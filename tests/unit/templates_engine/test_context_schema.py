"""A check of a context costs linear time, and has a bound: attacks on both."""

import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from templates_engine.context_schema import BrokenRule, ContextValidator, check_schema
from templates_engine.errors import InvalidContext, InvalidTemplate
from templates_engine.rendering import CompiledVersion
from templates_engine.schema_cost import MAX_PATTERNS, cost_of, pattern_weight

CPU_BOUND = 3.0
"""Seconds of this thread's CPU; each of these attacks took a web process 4 to 52 s, or for ever."""

Json = dict[str, Any]


def of_a(rule: Json) -> Json:
    return {"properties": {"a": rule}}


def doubled(levels: int) -> Json:
    """Make a schema of which each level refers to the one below it twice."""
    twice = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}, {"$ref": f"#/$defs/d{n - 1}"}]}
        for n in range(1, levels)
    }
    return {"$defs": {"d0": {"type": "object"}, **twice}, "$ref": f"#/$defs/d{levels - 1}"}


def nested(depth: int, key: str = "not") -> Json:
    schema: Json = {}
    for _ in range(depth):
        schema = {key: schema}
    return schema


def chain(length: int) -> Json:
    steps = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(length)}
    return {"$defs": {**steps, f"d{length}": {}}, "$ref": "#/$defs/d0"}


def bits(count: int) -> str:
    return "".join(Random(7).choices("01", k=count))


@pytest.mark.parametrize(
    ("schema", "make"),
    [
        (of_a({"pattern": r"^\S+@\S+$"}), lambda n: "@" * n),
        (of_a({"pattern": "[a-z]+b"}), lambda n: "a" * n),
        (of_a({"pattern": "a*a*b"}), lambda n: "a" * n),
        (of_a({"pattern": "(a+)+$"}), lambda n: "a" * n + "!"),
        (of_a({"pattern": "[01]*1[01]{70}x"}), bits),
        (of_a({"uniqueItems": True}), lambda n: [{"n": i} for i in range(n // 5)]),
        (of_a({"uniqueItems": True}), lambda n: [[i] if i % 2 else i for i in range(n // 5)]),
        (of_a({"items": {"enum": list(range(90))}}), lambda n: [89] * n),
        pytest.param(
            of_a({"items": {"anyOf": [{"const": i} for i in range(40)]}}),
            lambda n: [39] * n,
            marks=pytest.mark.slow,
        ),
        (doubled(9), lambda n: [{}] * n),
    ],
)
def test_a_check_of_the_largest_context_costs_a_bounded_time(
    schema: Json, make: Callable[[int], object]
) -> None:
    check_schema(schema)
    validator = ContextValidator.of(schema)
    for size in (125_000, 250_000):
        context = {"a": make(size)}
        begun = time.thread_time()
        with suppress(BrokenRule):
            validator.check(context)
        assert time.thread_time() - begun < CPU_BOUND


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "#"}, "leads back to itself"),
        ({"allOf": [{"$ref": "#"}]}, "leads back to itself"),
        (of_a({"$ref": "#/properties/a"}), "leads back to itself"),
        ({"$defs": {"n": {"items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}, "back to itself"),
        (doubled(30), "more than 5,000 rules"),
        (nested(2_000), "levels deep"),
        (nested(2_000, "no-keyword"), "levels deep"),
        (chain(500), "levels deep"),
        ({"allOf": [{"type": "object"}] * 5_000}, "more than 5,000 rules"),
        (nested(12, "unevaluatedProperties"), "may not be nested"),
        (of_a({"pattern": "[01]*1[01]{3000}"}), "2,000 parts of patterns"),
        (of_a({"pattern": "(((a{20}){20}){20}){20}"}), "2,000 parts of patterns"),
        (of_a({"pattern": r"^(?=.*\d).+$"}), "pattern at properties.a.pattern is not supported"),
        (of_a({"pattern": r"(a)\1"}), "pattern at properties.a.pattern is not supported"),
        (of_a({"pattern": "("}), "pattern at properties.a.pattern is not supported"),
        (of_a({"pattern": "a{" + "9" * 5_000 + "}"}), "2,000 parts of patterns"),
        (of_a({"$ref": "file:///etc/passwd"}), "stay inside it"),
        (of_a({"$ref": "#name"}), "stay inside it"),
        (of_a({"$ref": "#/$defs/none"}), "no schema at #/\\$defs/none"),
        (of_a({"$dynamicRef": "#a"}), "not supported"),
        (of_a({"$id": "https://shop.example/a"}), "at the root only"),
    ],
)
def test_a_schema_without_a_bound_is_refused_before_anything_is_checked(
    schema: Json, words: str
) -> None:
    with pytest.raises(InvalidTemplate, match=words):
        check_schema(schema)


@pytest.mark.parametrize("part", ["[", "[a", "\\p{", "(?", "a{1", "{1", "[[:", "\\k<"])
def test_looking_at_a_pattern_costs_linear_time(part: str) -> None:
    begun = time.thread_time()
    with pytest.raises(InvalidTemplate):
        check_schema(of_a({"pattern": part * 100_000}))
    assert time.thread_time() - begun < CPU_BOUND


def test_a_stored_schema_that_would_be_refused_now_refuses_contexts_and_never_runs() -> None:
    for schema in ({"$ref": "#"}, of_a({"pattern": "(?=x)"}), doubled(40)):
        stored = CompiledVersion(1, "old", "sms", "transactional", frozenset(), {}, schema)
        for _ in range(2):
            with pytest.raises(InvalidContext, match="its context schema cannot be used"):
                stored.check({"a": "x"})


def test_properties_named_like_keywords_are_no_keywords() -> None:
    names = {"$ref": {"type": "string"}, "pattern": {"type": "integer"}, "$id": {}}
    validator = ContextValidator.of({"properties": names, "enum": [{"$ref": "x", "pattern": 1}]})
    validator.check({"$ref": "x", "pattern": 1})


def test_what_a_schema_may_say_is_still_checked() -> None:
    validator = ContextValidator.of(
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "$id": "https://shop.example/schema",
            "definitions": {"line": {"required": ["price"], "additionalProperties": False}},
            "properties": {
                "lines": {"items": {"$ref": "#/definitions/line"}},
                "code": {"pattern": r"^\d{6}$"},
            },
        }
    )
    validator.check({"lines": [], "code": "123456"})
    for context, path, words in (
        ({"code": "12345x"}, "code", r'it must satisfy pattern: "^\\d{6}$"'),
        ({"lines": [{}]}, "lines[0]", 'it must satisfy required: ["price"]'),
        ({"lines": {}, "code": "1\n"}, "code", "it must satisfy pattern"),
    ):
        with pytest.raises(BrokenRule) as broken:
            validator.check(context)
        assert broken.value.path == path
        assert words in str(broken.value)


@pytest.mark.parametrize("name", ["0", "", "a/b~c", "a%b", "$ref"])
def test_a_broken_rule_is_told_whatever_its_property_is_called(name: str) -> None:
    pointer = name.replace("~", "~0").replace("/", "~1").replace("%", "%25")
    rule = {"type": "string"}
    for schema in (
        {"properties": {name: rule}},
        {"$defs": {name: rule}, "properties": {name: {"$ref": f"#/$defs/{pointer}"}}},
    ):
        with pytest.raises(BrokenRule, match='"string"'):
            ContextValidator.of(schema).check({name: 7})


def test_a_context_that_is_not_json_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    validator = ContextValidator.of(
        of_a({"uniqueItems": True, "type": ["array", "object", "null"]})
    )
    for value in (object(), [deep, deep], "\ud800"):
        with pytest.raises(BrokenRule):
            validator.check({"a": value})


@pytest.mark.parametrize(
    ("pattern", "weight"),
    [
        ("abc", 3),
        (r"^\d{4}-\d{2}$", 9),
        ("[a-z]{2,5}", 5),
        ("(ab){3}", 9),
        ("((a{2}){3}){4}", 40),
        (r"\{3}", 3),
        (r"\p{L}{3}", 3),
    ],
)
def test_a_pattern_is_weighed_with_its_repetitions_written_out(pattern: str, weight: int) -> None:
    assert pattern_weight(pattern) == weight
    assert cost_of({"pattern": pattern}).patterns == weight <= MAX_PATTERNS
