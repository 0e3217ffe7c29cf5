"""The categories of notifications: four that every project has, and its own.

``project_rows`` keeps a project's own for a moment. A required one cannot be refused.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from notifications.core.errors import InvalidField, UnknownCategory
from notifications.core.text import can_be_kept, shown
from notifications.core.world import World
from notifications.models import Category
from notifications.models.preference import CATEGORY_HINT, is_category_name
from notifications.models.recipient import ADDRESSED
from notifications.recipients import project_rows

MARKETING, SECURITY = "marketing", "security"
LONGEST_TITLE, LONGEST_DESCRIPTION = 100, 500  # characters
FIELDS = ("title", "description", "required", "default", "channel_defaults")


class Kind(NamedTuple):
    """A category as a send needs it."""

    name: str
    title: str
    description: str = ""
    required: bool = False
    default: bool = True
    channel_defaults: Mapping[str, bool] = {}

    def is_sent_by_default(self, channel: str) -> bool:
        """Return whether it is sent on a channel to who has chosen nothing."""
        return self.channel_defaults.get(channel, self.default)


STANDARD = {
    kind.name: kind
    for kind in (
        Kind(SECURITY, "Security", "Codes, and warnings about your account.", required=True),
        Kind("billing", "Billing", "Receipts, invoices and payments."),
        Kind("product", "Product", "What is new in what you use."),
        Kind(MARKETING, "Offers and news", "Offers, events and news.", default=False),
    )
}


def of(world: World) -> Mapping[str, Kind]:
    """Return a project's categories by name: the standard ones and its own."""
    return _read(project_rows.of(world).categories)


@lru_cache(maxsize=1024)
def _read(rows: tuple[str, ...]) -> Mapping[str, Kind]:
    own = {}
    for name, title, description, required, default, channel_defaults in map(json.loads, rows):
        defaults = json.loads(channel_defaults)
        own[name] = Kind(name, title, description, bool(required), bool(default), defaults)
    return {**STANDARD, **dict(sorted(own.items()))}


def kind_of(name: str, world: World, *, is_marketing: bool) -> Kind | None:
    """Return the category of a notification, by default that of its template; None for none.

    One that the project has deleted since is none.
    """
    name = name or (MARKETING if is_marketing else "")
    return of(world).get(name) if name else None


def require(name: object, world: World, *, field: str = "category") -> Kind:
    """Return a category. Raises ``UnknownCategory``."""
    known = of(world)
    if not isinstance(name, str) or name not in known:
        raise UnknownCategory(
            f"There is no category {shown(name)}.",
            field=field,
            hint=f"Use one of: {', '.join(known)}.",
        )
    return known[name]


def check(category: Category) -> None:
    """Check a category. Raises ``InvalidField``."""
    if not isinstance(category.name, str) or not is_category_name(category.name):
        raise InvalidField(
            f"{shown(category.name)} is not a valid name of a category.",
            field="name",
            hint=CATEGORY_HINT,
        )
    for name, longest in (("title", LONGEST_TITLE), ("description", LONGEST_DESCRIPTION)):
        value = getattr(category, name)
        if not isinstance(value, str) or len(value) > longest or not can_be_kept(value):
            raise InvalidField(f"It must be text of at most {longest} characters.", field=name)
    if category.name == SECURITY and not category.required:
        raise InvalidField("The category security must be required.", field="required")
    if category.name == MARKETING and category.required:
        raise InvalidField("The category marketing must not be required.", field="required")
    defaults = category.channel_defaults
    if not isinstance(defaults, Mapping):
        raise InvalidField('It must be an object like {"sms": false}.', field="channel_defaults")
    for channel, value in defaults.items():
        if channel not in ADDRESSED or not isinstance(value, bool):
            raise InvalidField(
                f"The key {shown(channel)} must be a channel, and its value true or false.",
                field="channel_defaults",
                hint=f"Use one of: {', '.join(ADDRESSED)}.",
            )


def save(category: Category) -> bool:
    """Save a category by its name; return whether it is new. Raises ``InvalidField``."""
    check(category)
    values = {name: getattr(category, name) for name in FIELDS}
    row, created = Category.objects.update_or_create(
        project=category.project, test=category.test, name=category.name, defaults=values
    )
    category.pk = row.pk
    forget()
    return created


def forget() -> None:
    """Look again at the next use."""
    project_rows.forget()
