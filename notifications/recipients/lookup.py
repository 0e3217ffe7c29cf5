"""Reads stored recipients for submission and delivery: those of many rows by one query."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.db import connection

from notifications.core.world import World
from notifications.db import dialect
from notifications.models import Recipient, RecipientAddress
from notifications.recipients.places import Place

_TABLE = Recipient._meta.db_table
_ADDRESSES = RecipientAddress._meta.db_table
_COLUMNS = "r.project, r.test, r.key, r.locale, r.timezone, r.country, r.choices"


class Person(NamedTuple):
    """A stored recipient as a send needs it.

    ``choices`` holds what was chosen, by category and channel (``preferences``), ``addresses``, by
    channel, the addresses in their order, verified ones first.
    """

    locale: str
    place: Place
    choices: Mapping[str, Mapping[str, bool]]
    addresses: dict[str, list[str]]


Whom = tuple[World, str]  # a project's or its tests', and the id of a stored recipient there


def find(wanted: Iterable[Whom]) -> dict[Whom, Person]:
    """Return those of these that are stored. Costs a query, and none where nobody is wanted."""
    found: dict[Whom, Person] = {}
    joined = f"LEFT JOIN {_ADDRESSES} a ON a.recipient_id = r.id"
    order = "ORDER BY a.verified DESC, a.place"
    for *columns, channel, address in _rows(
        f"{_COLUMNS}, a.channel, a.address", joined, order, wanted
    ):
        whom = (World(columns[0], bool(columns[1])), columns[2])
        if whom not in found:
            found[whom] = _person(columns)
        if channel is not None:
            found[whom].addresses.setdefault(channel, []).append(address)
    return found


def known(wanted: Iterable[Whom]) -> dict[Whom, Person]:
    """Return those of these that are stored, without addresses; costs a query, or none."""
    return {
        (World(columns[0], bool(columns[1])), columns[2]): _person(columns)
        for columns in _rows(_COLUMNS, "", "", wanted)
    }


def _person(columns: Any) -> Person:
    locale, timezone, country, choices = columns[3:]
    chosen = {} if choices == "{}" else json.loads(choices)
    return Person(locale, Place(timezone, country), chosen, {})


def _rows(columns: str, joined: str, order: str, wanted: Iterable[Whom]) -> list[tuple[Any, ...]]:
    """Read rows of these recipients. A statement of our own: acceptance waits for it."""
    keys: dict[World, set[str]] = defaultdict(set)
    for world, key in wanted:
        keys[world].add(key)
    if not keys:
        return []
    reading = f"SELECT {columns} FROM {_TABLE} r {joined} WHERE"  # noqa: S608 -- our own words and placeholders
    (world, some), *others = keys.items()
    if len(some) == 1 and not others:
        alone = f"{reading} r.project = %s AND r.test = %s AND r.key = %s {order}"
        return dialect.planned_once(alone, [*world, *some])
    is_postgres = connection.vendor == "postgresql"
    among = "= ANY(%s)" if is_postgres else "IN (SELECT value FROM json_each(%s))"
    conditions, parameters = [], []
    for world, some in keys.items():
        conditions.append(f"(r.project = %s AND r.test = %s AND r.key {among})")
        parameters += [*world, list(some) if is_postgres else json.dumps(list(some))]
    return dialect.all_of(f"{reading} {' OR '.join(conditions)} {order}", parameters)
