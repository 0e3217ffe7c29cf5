"""What a template may print and build. Only plain values get out, and none of unbounded size."""

import json
from collections.abc import Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from jinja2 import Undefined
from markupsafe import Markup, escape

from templates_engine.budget import LimitReached, current, spend
from templates_engine.slack_blocks import is_text_object

T = TypeVar("T")

PRINTED_AS_THEY_ARE = (int, float, Decimal, date, time, UUID)
# Values up to this length are paid for by the weight of the expression that prints them.
FREE_LENGTH = 64
# Their colon ends a scheme that is not a danger.
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


class Printed(str):
    """What a macro printed: its values are marked already, and the rest is the author's."""

    __slots__ = ()


class Json(str):
    """What ``tojson`` wrote: it stands for itself, with its quotation marks."""

    __slots__ = ()


# Stand in a value for the characters that begin markup, or a link, in some chat service. Unicode
# keeps these for a program's own use (noncharacters), so that no text has them.
_MARKUP = {char: chr(0xFDD0 + place) for place, char in enumerate("&<>[]\\")}
_MARKED = str.maketrans(_MARKUP)
_AS_TYPED = {mark: char for char, mark in _MARKUP.items()}
_TYPED = str.maketrans(_AS_TYPED)
# https://docs.slack.dev/messaging/formatting-message-text#escaping
_FOR_SLACK = str.maketrans(
    {**_AS_TYPED, _MARKUP["&"]: "&amp;", _MARKUP["<"]: "&lt;", _MARKUP[">"]: "&gt;"}
)
_FOR_MARKDOWN = str.maketrans(
    {**_AS_TYPED, **{_MARKUP[char]: f"\\{char}" for char in "[]\\"}},
)


def emit_chat(value: Any) -> str:
    """Print into chat: what could be markup in a value is marked until its service is known."""
    text = emit_text(value)
    return text if isinstance(value, Printed) else text.translate(_MARKED)


# The others belong to JSON, and stand for nothing in Slack.
_MARKED_IN_BLOCKS = str.maketrans({char: _MARKUP[char] for char in "&<>"})


def emit_block(value: Any) -> str:
    """Print into a text of JSON, or as JSON what ``tojson`` wrote; marked as in chat."""
    text = emit_text(value)
    if isinstance(value, Printed):
        return text
    if not isinstance(value, Json):
        text = json.dumps(text, ensure_ascii=False)[1:-1]
    return text.translate(_MARKED_IN_BLOCKS)


def blocks_of(value: Any, *, in_text: bool = False) -> Any:
    """Return parsed blocks with each value as given, escaped where Slack reads markup."""
    if isinstance(value, str):
        return value.translate(_FOR_SLACK if in_text else _TYPED)
    if isinstance(value, list):
        return [blocks_of(item) for item in value]
    if isinstance(value, dict):
        reads = is_text_object(value)
        return {
            name.translate(_TYPED): blocks_of(inner, in_text=reads and name == "text")
            for name, inner in value.items()
        }
    return value


# What a text of JSON must not hold as it is (RFC 8259, 7); a NUL is left out of every content.
_IN_JSON = "".join(map(chr, range(1, 0x20))) + '"\\'
_MARKED_IN_JSON = str.maketrans(
    dict(zip(_IN_JSON, map(chr, (*range(0xFDD0, 0xFDF0), 0xFFFE)), strict=True))
)
_TYPED_IN_JSON = {ord(mark): char for char, mark in _MARKED_IN_JSON.items()}
_ESCAPED_IN_JSON = {mark: json.dumps(chr(char))[1:-1] for mark, char in _TYPED_IN_JSON.items()}


def emit_json(value: Any) -> str:
    """Print where JSON may be written: what would end a text in a value is marked."""
    text = emit_text(value)
    return text if isinstance(value, Printed | Json) else text.translate(_MARKED_IN_JSON)


def json_text(text: str) -> str:
    """Return a printed text with its values escaped where that makes JSON of it, else as given.

    So no value ends a text of JSON, and a value that is JSON itself stays what it is.
    """
    typed, escaped = text.translate(_TYPED_IN_JSON), text.translate(_ESCAPED_IN_JSON)
    if escaped == typed:
        return typed
    try:
        json.loads(escaped)
    except (ValueError, RecursionError):
        return typed
    return escaped


def chat_parts(text: str) -> dict[str, str]:
    """Return the parts of a printed chat text: ``text``, each value as it was given.

    Where values hold what could be markup, there are ``mrkdwn``, in which Slack's control
    characters are escaped in values, and ``markdown``, in which no value can make a link.
    """
    typed = text.translate(_TYPED)
    parts = {"text": typed}
    for name, table in (("mrkdwn", _FOR_SLACK), ("markdown", _FOR_MARKDOWN)):
        escaped = text.translate(table)
        if escaped != typed:
            parts[name] = escaped
    return parts


def own_chat_parts(text: str) -> dict[str, str]:
    """Return the parts of a chat text without a template: all of it is a value."""
    return chat_parts(text.translate(_MARKED))


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
