"""The parts that make up a channel's content, and how each kind of part is treated."""

from collections.abc import Collection
from typing import Any

PARTS: dict[str, tuple[str, ...]] = {
    "email": ("subject", "markdown", "html", "text"),
    "sms": ("text",),
    "push": ("title", "body", "data"),
    "webhook": ("body",),
    "chat": ("text", "blocks"),
}
# Any other channel, such as a simulator.
GENERIC_PARTS = ("subject", "body")

# Written instead of HTML, which is made of it.
MARKDOWN_PARTS = frozenset({"markdown"})
# Escaped, CSS inlined, links checked.
HTML_PARTS = frozenset({"html"})
# One line each: a line break in a value is folded into a space, so it can't start a header.
HEADER_PARTS = frozenset({"subject", "title"})
# Rendered to JSON and handed on as an object.
JSON_PARTS = frozenset({"data"})
# Whose body may be JSON: values in it are escaped as JSON asks.
JSON_CHANNELS = frozenset({"webhook", "callback"})
# Rendered to JSON, a list of Slack's blocks: values are escaped for JSON and for Slack.
BLOCK_PARTS = frozenset({"blocks"})
# At least one of each group must be given.
NEEDED_PARTS: dict[str, tuple[frozenset[str], ...]] = {
    "email": (frozenset({"subject"}), frozenset({"markdown", "html", "text"})),
    "sms": (frozenset({"text"}),),
    "push": (frozenset({"title"}), frozenset({"body"})),
    "webhook": (frozenset({"body"}),),
    "chat": (frozenset({"text"}),),
}

DEFAULT_LOCALE = "default"
MARKETING = "marketing"
"""The category of messages that people may unsubscribe from."""

Content = dict[str, str | dict[str, str] | list[Any]]
"""Part name → text; ``data`` → an object of texts; ``blocks`` → a list of objects."""
Sources = dict[str, str]
"""Part name → template source."""
Variants = dict[str, Sources]
"""Locale → its sources; ``default`` is the one that every other falls back to."""


def is_reserved(key: str) -> bool:
    """Return whether push services keep a key of ``data`` for themselves.

    https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
    """
    return key in ("from", "message_type") or key.startswith(("google.", "gcm."))


def may_be_json(part: str, channel: str) -> bool:
    """Return whether a part is JSON, or may be."""
    return part in JSON_PARTS or (part == "body" and channel in JSON_CHANNELS)


def parts_of(channel: str) -> tuple[str, ...]:
    """Return the part names of a channel, in the order people write them."""
    return PARTS.get(channel, GENERIC_PARTS)


def locale_chain(locale: str | None, among: Collection[str]) -> list[str]:
    """Where to look among locales for one's sources: ``de_AT`` → ``de-AT``, ``de``, ``default``.

    Letter case does not count (BCP 47, 2.1.1): Django says ``de-at``.
    """
    words = (locale or "").replace("_", "-").split("-")
    chain = ["-".join(words[:count]) for count in range(len(words), 0, -1)]
    # Of two that differ in case alone, one not as it was asked for: capitals come first.
    known = {name.lower(): name for name in sorted(among, reverse=True)}
    found = [name if name in among else known.get(name.lower(), "") for name in chain]
    return [*(name for name in found if name), DEFAULT_LOCALE]


def locales_of(variants: Variants) -> list[str]:
    """Return the locales in the order to show them: the default first. JSON keeps no order."""
    return sorted(variants, key=lambda name: (name != DEFAULT_LOCALE, name))
