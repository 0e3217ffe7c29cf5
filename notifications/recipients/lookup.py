"""Reads stored recipients for submission and delivery: those of many rows by one query."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django.db.models import Q

from notifications.core.world import World
from notifications.models import Recipient


class Person(NamedTuple):
    """A stored recipient as a send needs it.

    ``choices`` holds what was chosen, by category and channel (``preferences``), ``addresses``, by
    channel, the addresses in their order, verified ones first.
    """

    locale: str
    choices: Mapping[str, Mapping[str, bool]]
    addresses: Mapping[str, list[str]]


Whom = tuple[World, str]  # a project's or its tests', and the id of a stored recipient there

_COLUMNS = (
    *("project", "test", "key", "locale", "choices"),
    *("addresses__channel", "addresses__address", "addresses__verified", "addresses__place"),
)


def find(wanted: Iterable[Whom]) -> dict[Whom, Person]:
    """Return those of these that are stored. Costs a query, and none where nobody is wanted."""
    among = _among(wanted)
    if among is None:
        return {}
    found: dict[Whom, Person] = {}
    addresses: dict[Whom, list[tuple[bool, int, str, str]]] = defaultdict(list)
    for project, test, key, locale, choices, *of_address in Recipient.objects.filter(
        among
    ).values_list(*_COLUMNS):
        whom = (World(project, test), key)
        found.setdefault(whom, Person(locale, choices, {}))
        channel, address, verified, place = of_address
        if channel is not None:
            addresses[whom].append((not verified, place, channel, address))
    for whom, ordered in addresses.items():
        for _, _, channel, address in sorted(ordered):
            found[whom].addresses.setdefault(channel, []).append(address)  # type: ignore[attr-defined]
    return found


def choices(wanted: Iterable[Whom]) -> dict[Whom, Mapping[str, Mapping[str, bool]]]:
    """Return what was chosen by those of these that are stored; costs a query, or none."""
    among = _among(wanted)
    if among is None:
        return {}
    rows = Recipient.objects.filter(among).values_list("project", "test", "key", "choices")
    return {(World(project, test), key): chosen for project, test, key, chosen in rows}


def _among(wanted: Iterable[Whom]) -> Q | None:
    """Return the condition of these recipients, None where there is none."""
    keys: dict[World, set[str]] = defaultdict(set)
    for world, key in wanted:
        keys[world].add(key)
    found = Q()
    for world, some in keys.items():
        found |= Q(**world.columns, key__in=some)
    return found if keys else None
