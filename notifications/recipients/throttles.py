"""Throttles of a project: checked, kept, and found for a send.

Few and rarely changed, so each process keeps them for a moment; where a project has none, asking
costs nothing.
"""

import time
from collections.abc import Mapping
from typing import NamedTuple

from notifications.core.errors import InvalidField, UnknownTemplate
from notifications.core.text import shown
from notifications.core.throttles import Rest
from notifications.core.world import World
from notifications.models import Throttle
from notifications.models.recipient import ADDRESSED
from notifications.recipients import categories
from notifications.recipients.categories import Kind
from templates_engine import catalog
from templates_engine.errors import TemplateError

KEPT_FOR = 1.0  # seconds for which a process believes what it has read
MOST = 1000  # in a period
SHORTEST, LONGEST = 1, 30 * 86_400  # seconds of a period
FIELDS = ("limit", "period", "rest", "template")


class Limit(NamedTuple):
    """A throttle as a send needs it; ``period`` is in seconds."""

    id: int
    limit: int
    period: int
    rest: str
    template: str


_kept: dict[World, tuple[float, dict[tuple[str, str], Limit]]] = {}


def of(world: World, kind: Kind | None, channel: str) -> Limit | None:
    """Return the throttle for a notification: its channel's, else that of all channels together.

    What recipients cannot refuse has none.
    """
    if kind is None or kind.required:
        return None
    known = _of_world(world)
    return known.get((kind.name, channel)) or known.get((kind.name, ""))


def _of_world(world: World) -> Mapping[tuple[str, str], Limit]:
    now = time.monotonic()
    expires, known = _kept.get(world, (0.0, {}))
    if now >= expires:
        rows = Throttle.objects.filter(**world.columns)
        known = {
            (row.category, row.channel): Limit(
                row.pk, row.limit, row.period, row.rest, row.template
            )
            for row in rows
        }
        _kept[world] = (now + KEPT_FOR, known)
    return known


def check(row: Throttle) -> None:
    """Check a throttle. Raises a subclass of ``InvalidNotification``, which names the field."""
    world = World(row.project, row.test)
    kind = categories.require(row.category, world)
    if kind.required:
        raise InvalidField(f"{kind.name} is sent at once, always.", field="category")
    if row.channel and row.channel not in ADDRESSED:
        raise InvalidField(f"There are {', '.join(ADDRESSED)}.", field="channel")
    for name, least, most in (("limit", 1, MOST), ("period", SHORTEST, LONGEST)):
        value = getattr(row, name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InvalidField(f"It is a whole number from {least} to {most}.", field=name)
    if row.rest not in set(Rest):
        raise InvalidField(f"There are {', '.join(Rest)}.", field="rest")
    if row.rest != Rest.DIGEST:
        if row.template:
            raise InvalidField("Only a digest has a template.", field="template")
        return
    if not row.channel:
        raise InvalidField("A digest is of one channel.", field="channel")
    try:
        version = catalog.published(row.template, world.namespaces)
    except TemplateError as error:
        raise UnknownTemplate(str(error), field="template", hint=error.hint) from None
    if version.channel != row.channel:
        raise UnknownTemplate(
            f"Template {shown(row.template)} is for {version.channel}.", field="template"
        )


def save(row: Throttle) -> bool:
    """Save the throttle of a category on a channel; return whether it is new.

    Raises as ``check``.
    """
    check(row)
    kept, created = Throttle.objects.update_or_create(
        project=row.project,
        test=row.test,
        category=row.category,
        channel=row.channel,
        defaults={name: getattr(row, name) for name in FIELDS},
    )
    row.pk = kept.pk
    forget()
    return created


def forget() -> None:
    """Look again at the next use."""
    _kept.clear()
