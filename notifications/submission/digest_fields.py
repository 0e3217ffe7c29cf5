"""What a notification says of the digest that it goes with."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from notifications.core.errors import InvalidField
from notifications.core.text import can_be_kept, shown
from notifications.models.digest import LONGEST_DIGEST_KEY

LONGEST_WINDOW = 7 * 86_400  # seconds
LONGEST_TEMPLATE = 100  # characters of its name
MOST_ITEMS = 500
ITEMS = 50  # that the template gets where nothing else is said
FIRST = ("together", "at_once")
NAMES = ("key", "window", "template", "first", "limit")


class Spec(NamedTuple):
    """What a notification says of its digest; ``window`` is in seconds."""

    key: str
    window: float
    template: str
    first: str
    limit: int


def check(given: object) -> Spec:
    """Read what it says. Raises ``InvalidField``, which names the field."""
    if not isinstance(given, Mapping):
        raise InvalidField("It must be an object with key, window and template.", field="digest")
    if unknown := given.keys() - set(NAMES):
        name = min(map(str, unknown))
        raise InvalidField(
            f"A digest has no {shown(name)}.",
            field=f"digest.{name}",
            hint=f"Known fields: {', '.join(NAMES)}.",
        )
    for name, longest in (("key", LONGEST_DIGEST_KEY), ("template", LONGEST_TEMPLATE)):
        value = given.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= longest or not can_be_kept(value):
            raise InvalidField(
                f"It must be text of 1 to {longest} characters.", field=f"digest.{name}"
            )
    window = given.get("window")
    is_number = isinstance(window, int | float) and not isinstance(window, bool)
    if not is_number or not math.isfinite(window) or not 1 <= window <= LONGEST_WINDOW:  # type: ignore[arg-type,operator]  # a number
        raise InvalidField(f"It must be 1 to {LONGEST_WINDOW} seconds.", field="digest.window")
    first = given.get("first", FIRST[0])
    if first not in FIRST:
        raise InvalidField(f"It must be one of: {', '.join(FIRST)}.", field="digest.first")
    limit = given.get("limit", ITEMS)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MOST_ITEMS:
        raise InvalidField(f"It must be 1 to {MOST_ITEMS}.", field="digest.limit")
    return Spec(given["key"], float(given["window"]), given["template"], first, limit)
