"""Every regular expression of the product costs linear time, or is given little by its caller.

They are found in the code, so that a new one is tried from its first day. The bound is of this
thread's processor time; one that goes back again and again takes seconds at these sizes.
"""

import ast
import importlib
import re
import time
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest

from notifications.admin import cell_text
from notifications.channels import addresses
from notifications.operations import person
from tests.structure import PACKAGES, ROOT

SIZE = 10_000
"""Characters: what takes a thousandth of a second here in linear time takes seconds in squares."""
CPU_BOUND = 0.3
"""Seconds for one search."""
METHODS = ("match", "fullmatch", "search", "sub", "split", "findall", "finditer")

# What is called with those that are handed to another module.
HANDED_ON = dict.fromkeys(
    (
        *("notifications.providers.sns _SENDER", "notifications.providers.twilio _SENDER"),
        "notifications.core.setting_values FILE_KIND",
    ),
    "fullmatch",
)
# Those whose callers give them less, with the characters that they give at most and why.
SHORT: dict[str, tuple[int, str]] = {
    "notifications.admin.cell_text TOKEN": (
        cell_text.LONGEST_FORMAT,
        "text_of() takes a longer format as none",
    ),
}

PARTS = (
    *(
        "a",
        "A",
        "@",
        "a@",
        "a.",
        ".",
        "1",
        "+1",
        "1.",
        "a1",
        "_1",
        " ",
        "\t",
        "\n",
        "<",
        "<a",
        "<tr>",
    ),
    *("<!--", "{{", "{{ a", "{%", "(", "[", '"', "'", "\\", ";", "; ", "; a=", "=", "/", "a/", "-"),
    *("a-", "_", "#", ":", "1:", "a:1", "%", "&", "workflows/", "p=", "-----BEGIN "),
)


class Found(NamedTuple):
    """A regular expression, where it stands, and what is called with it."""

    place: str
    pattern: "re.Pattern[Any]"
    methods: set[str]


@cache
def found() -> list[Found]:
    """Return those that modules and classes keep, and those that stand where they are used."""
    texts = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text()
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if "migrations" not in path.parts
    }
    used: dict[str, set[str]] = {}
    for text in texts.values():
        for name, method in re.findall(rf"\b(\w+)\.({'|'.join(METHODS)})\b", text):
            used.setdefault(name, set()).add(method)
    there = []
    for name, text in texts.items():
        if "re." not in text or "\nimport re\n" not in text:
            continue  # each test process asks: the others are not parsed
        for key, pattern in kept(importlib.import_module(name)):
            place = f"{name} {key}"
            methods = used.get(key.rpartition(".")[2], {HANDED_ON.get(place, "search")})
            there.append(Found(place, pattern, methods))
        there += written(name, ast.parse(text))
    return there


def kept(loaded: Any) -> Iterator[tuple[str, "re.Pattern[Any]"]]:
    for key, value in vars(loaded).items():
        if isinstance(value, re.Pattern):
            yield key, value
        elif isinstance(value, type) and value.__module__ == loaded.__name__:
            yield from (
                (f"{key}.{name}", member)
                for name, member in vars(value).items()
                if isinstance(member, re.Pattern)
            )


def written(name: str, tree: ast.Module) -> Iterator[Found]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if getattr(node.func.value, "id", "") == "re" and node.func.attr in METHODS:
            text = node.args[0]
            place = f"{name} {ast.unparse(text)}"
            match text:
                case ast.Constant(value=given):
                    pass
                case ast.Name(id=constant):
                    given = getattr(importlib.import_module(name), constant)
                case _:
                    given = COMPOSED[place]
            yield Found(place, re.compile(given), {node.func.attr})


# Those that are put together where they are used, as they are then.
COMPOSED: dict[str, Any] = {
    "notifications.channels.addresses f'{_ATEXT}+(?: {_ATEXT}+)*'": (
        f"{addresses._ATEXT}+(?: {addresses._ATEXT}+)*"
    ),
    "notifications.providers.sns b'<%b>([^<]*)</%b>' % (tag.encode(), tag.encode())": (
        b"<MessageId>([^<]*)</MessageId>"
    ),
    "notifications.operations.person _NAMED_AS_RECIPIENT.format(re.escape(key))": (
        person._NAMED_AS_RECIPIENT.format("customer")
    ),
    "notifications.operations.person _QUOTED.format(re.escape(key))": (
        person._QUOTED.format("customer")
    ),
}


@pytest.mark.parametrize("found_pattern", found(), ids=lambda found_pattern: found_pattern.place)
def test_every_regular_expression_costs_linear_time(found_pattern: Found) -> None:
    size = SHORT.get(found_pattern.place, (SIZE, ""))[0]
    for part in PARTS:
        for end in ("", "\N{SNOWMAN}"):
            text: Any = part * (size // len(part)) + end
            given = text.encode() if isinstance(found_pattern.pattern.pattern, bytes) else text
            for method in found_pattern.methods:
                begun = time.thread_time()
                # These three go through the whole text alike.
                name = "findall" if method in ("sub", "split", "finditer") else method
                getattr(found_pattern.pattern, name)(given)
                took = time.thread_time() - begun
                assert took < CPU_BOUND, f"{part!r} {method}: {took:.1f} s"


def test_what_is_said_of_their_callers_is_of_one_that_there_is() -> None:
    assert SHORT.keys() | COMPOSED.keys() <= {pattern.place for pattern in found()}
