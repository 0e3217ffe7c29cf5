"""What a template may print and build. Only plain values get out, and none of unbounded size."""

from collections.abc import Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from jinja2 import Undefined
from markupsafe import Markup, escape

from templates_engine.budget import LimitReached, current, spend

T = TypeVar("T")

PRINTED_AS_THEY_ARE = (int, float, Decimal, date, time, UUID)
# Values up to this length are paid for by the weight of the expression that prints them.
FREE_LENGTH = 64
# Their colon ends a scheme that is no danger.
_WEB = ("https://", "http://")
# Nodes of a list or dict that a template builds: without it, eight nested lists of
# ten print a hundred million items.
MAX_NODES = 10_000


class BadValue(Exception):
    """A value of the wrong kind. The message never shows the value, which may be a secret."""


def printable(value: Any) -> str:
    """Return the text of a value that may stand in a message.

    Raises: BadValue for None and for what only a programmer would want to read; UndefinedError.
    """
    if isinstance(value, str):
        if len(value) > FREE_LENGTH:
            spend(len(value))
        return value
    if isinstance(value, PRINTED_AS_THEY_ARE):
        return str(value)
    if isinstance(value, Undefined):
        return str(value)
    if value is None:
        raise BadValue("It would print a null. Give it a value by |default('…', true).")
    kind = type(value).__name__
    raise BadValue(f"It would print a {kind}. Use a loop, |join or |tojson, or one of its items.")


def emit_text(value: Any) -> str:
    """Print into a part that is not HTML."""
    if type(value) is str and len(value) <= FREE_LENGTH:
        return value
    return printable(value)


def emit_html(value: Any) -> str:
    """Print into HTML, escaped unless it was made by the template itself."""
    text = value if type(value) is str and len(value) <= FREE_LENGTH else printable(value)
    if ":" in text and not text.startswith(_WEB):
        current().printed_colon = True
    return escape(text)


def join_text(values: Iterable[Any]) -> str:
    """Concatenate for ``~`` outside HTML."""
    return paid("".join([printable(value) for value in values]))


def join_html(values: Iterable[Any]) -> str:
    """Concatenate for ``~`` in HTML: one piece of markup makes the rest escaped."""
    texts = [printable(value) for value in values]
    if any(isinstance(text, Markup) for text in texts):
        return paid(Markup("").join(texts))
    return paid("".join(texts))


def paid(value: T) -> T:
    """Pay for a value by its length, and return it."""
    if isinstance(value, str | list | tuple | dict | range) and len(value) > FREE_LENGTH:
        spend(len(value))
    return value


def measured(value: T) -> T:
    """Pay for a list or dict that a template builds, by all that it holds.

    Raises: LimitReached.
    """
    left = MAX_NODES
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        left -= 1 + (len(item) // 100 if isinstance(item, str) else 0)
        if left < 0:
            raise LimitReached("It builds a list that holds too much.")
        if isinstance(item, Mapping):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item[: left + 1])
    spend(MAX_NODES - left)
    return value
