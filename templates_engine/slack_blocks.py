"""Slack's blocks, checked against Slack's limits before they are sent.

https://docs.slack.dev/reference/block-kit. What Slack adds later passes: only what is known to be
refused is refused.
"""

from collections.abc import Iterator, Mapping
from typing import Any

MOST_BLOCKS = 50  # of a message
_LONGEST_ID = 255
# Kind → the longest text at each path, in characters. A path leads through objects and lists.
_TEXTS: Mapping[str, Mapping[str, int]] = {
    "section": {"text.text": 3000, "fields.text": 2000},
    "header": {"text.text": 150},
    "context": {"elements.text": 3000},
    "image": {"image_url": 3000, "alt_text": 2000, "title.text": 2000},
    "markdown": {"text": 12_000},
    "video": {"title.text": 199, "author_name": 49, "video_url": 3000, "thumbnail_url": 3000},
    "button": {"text.text": 75, "url": 3000, "value": 2000, "accessibility_label": 75},
    "confirm": {"title.text": 100, "text.text": 300, "confirm.text": 30, "deny.text": 30},
    "option": {"text.text": 75, "description.text": 75, "value": 150, "url": 3000},
}
_ITEMS: Mapping[str, Mapping[str, int]] = {
    "section": {"fields": 10},
    "context": {"elements": 10},
    "actions": {"elements": 25},
    "overflow": {"options": 5},
    "static_select": {"options": 100, "option_groups": 100},
    "multi_static_select": {"options": 100, "option_groups": 100},
    "checkboxes": {"options": 10},
    "radio_buttons": {"options": 10},
}
# Each has at least one of these.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "section": ("text", "fields"),
    "header": ("text",),
    "context": ("elements",),
    "actions": ("elements",),
    "image": ("image_url", "slack_file"),
    "markdown": ("text",),
    "rich_text": ("elements",),
    "button": ("text",),
}
_TEXT_OBJECTS = ("mrkdwn", "plain_text")


def problem(blocks: object) -> str:
    """Say what Slack would refuse of blocks, and where; ``""`` for nothing. Shows no text."""
    if not isinstance(blocks, list) or not blocks:
        return "blocks must be a list of objects, and not empty."
    if len(blocks) > MOST_BLOCKS:
        return f"There are {len(blocks)} blocks; Slack takes {MOST_BLOCKS} in a message."
    ids = [block.get("block_id") for block in blocks if isinstance(block, dict)]
    named = [id_ for id_ in ids if isinstance(id_, str)]
    if len(set(named)) < len(named):
        return "Two blocks have the same block_id."
    for number, block in enumerate(blocks):
        if not isinstance(block, dict) or not _is_text(block.get("type")):
            return f"blocks[{number}] must be an object with a type."
        problem = next(_problems(f"blocks[{number}]", block), "")
        if problem:
            return problem
    return ""


def is_text_object(value: Mapping[str, Any]) -> bool:
    """Tell an object whose ``text`` Slack reads for control characters."""
    return value.get("type") in _TEXT_OBJECTS


def _problems(place: str, value: object, role: str = "") -> Iterator[str]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _problems(f"{place}[{number}]", item, role)
        return
    if not isinstance(value, dict):
        return
    kind = value.get("type") or role
    if isinstance(kind, str):
        yield from _of_kind(place, value, kind)
    for name, inner in value.items():
        yield from _problems(f"{place}.{name}", inner, _ROLES.get(name, ""))


# What an object without a type is, by the name that it stands under.
_ROLES = {"confirm": "confirm", "options": "option"}


def _of_kind(place: str, value: Mapping[str, Any], kind: str) -> Iterator[str]:
    if kind in _TEXT_OBJECTS and not _is_text(value.get("text")):
        yield f"{place}.text must be text, and not empty."
    needed = _NEEDED.get(kind)
    if needed and not any(value.get(name) for name in needed):
        yield f"{place} needs {' or '.join(needed)}."
    for name in ("block_id", "action_id"):
        yield from _too_long(f"{place}.{name}", value.get(name), _LONGEST_ID)
    for path, most in _TEXTS.get(kind, {}).items():
        for where, text in _at(place, value, path.split(".")):
            yield from _too_long(where, text, most)
    for name, most in _ITEMS.get(kind, {}).items():
        items = value.get(name)
        if isinstance(items, list) and len(items) > most:
            yield f"{place}.{name} has {len(items)} items; Slack takes {most}."


def _at(place: str, value: object, path: list[str]) -> Iterator[tuple[str, object]]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _at(f"{place}[{number}]", item, path)
    elif not path:
        yield place, value
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(f"{place}.{path[0]}", value[path[0]], path[1:])


def _too_long(place: str, text: object, most: int) -> Iterator[str]:
    if isinstance(text, str) and len(text) > most:
        yield f"{place} has {len(text):,} characters; Slack takes {most:,}."


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
