"""Reads stored recipients for submission and delivery: those of many rows by one query."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connection

from notifications.core.world import World
from notifications.db import dialect, planned
from notifications.models import Recipient, RecipientAddress
from notifications.recipients.places import Place

_TABLE = Recipient._meta.db_table
_ADDRESSES = RecipientAddress._meta.db_table
_COLUMNS = "r.locale, r.timezone, r.country, r.choices"
_JOINED = f"LEFT JOIN {_ADDRESSES} a ON a.recipient_id = r.id"
_ORDER = "ORDER BY a.verified DESC, a.place"
_ALONE = "r.project = %s AND r.test = %s AND r.key = %s"
_KNOWN_ALONE = planned.Statement(f"SELECT {_COLUMNS} FROM {_TABLE} r WHERE {_ALONE}")  # noqa: S608 -- our own words and placeholders
_FIND_ALONE = planned.Statement(
    f"SELECT {_COLUMNS}, a.channel, a.address FROM {_TABLE} r {_JOINED} WHERE {_ALONE} {_ORDER}"  # noqa: S608 -- as above
)


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
    several = {*wanted}
    if len(several) == 1:
        (whom,) = several
        person = _find_alone(*whom)
        return {} if person is None else {whom: person}
    found: dict[Whom, Person] = {}
    for project, test, key, *columns, channel, address in _rows(
        f"{_COLUMNS}, a.channel, a.address", _JOINED, _ORDER, several
    ):
        whom = (World(project, bool(test)), key)
        if (person := found.get(whom)) is None:
            person = found[whom] = _person(*columns)
        if channel is not None:
            person.addresses.setdefault(channel, []).append(address)
    return found


def known(wanted: Iterable[Whom]) -> dict[Whom, Person]:
    """Return those of these that are stored, without addresses; costs a query, or none."""
    several = {*wanted}
    if len(several) == 1:
        (whom,) = several
        rows = _KNOWN_ALONE.rows(*whom[0], whom[1])
        return {whom: _person(*rows[0])} if rows else {}
    return {
        (World(project, bool(test)), key): _person(*columns)
        for project, test, key, *columns in _rows(_COLUMNS, "", "", several)
    }


def _find_alone(world: World, key: str) -> Person | None:
    """Read one recipient by a statement of its own: the acceptance of a send waits for it."""
    person = None
    for *columns, channel, address in _FIND_ALONE.rows(*world, key):
        if person is None:
            person = _person(*columns)
        if channel is not None:
            person.addresses.setdefault(channel, []).append(address)
    return person


def _person(locale: str, timezone: str, country: str, choices: str) -> Person:
    return Person(locale, Place(timezone, country), _choices(choices), {})


@lru_cache(maxsize=1024)
def _choices(text: str) -> Mapping[str, Mapping[str, bool]]:
    """Read what somebody has chosen. Many choose the same, so what was read is kept."""
    found: dict[str, dict[str, bool]] = json.loads(text)
    return found


def _rows(columns: str, joined: str, order: str, wanted: Iterable[Whom]) -> list[tuple[Any, ...]]:
    """Read rows of these recipients, each after its project, whether it is a test, and its id."""
    keys: dict[World, list[str]] = defaultdict(list)
    for world, key in wanted:
        keys[world].append(key)
    if not keys:
        return []
    is_postgres = connection.vendor == "postgresql"
    among = "= ANY(%s)" if is_postgres else "IN (SELECT value FROM json_each(%s))"
    conditions, parameters = [], []
    for world, some in keys.items():
        conditions.append(f"(r.project = %s AND r.test = %s AND r.key {among})")
        parameters += [*world, some if is_postgres else json.dumps(some)]
    return dialect.all_of(
        f"SELECT r.project, r.test, r.key, {columns} FROM {_TABLE} r {joined}"  # noqa: S608 -- our own words and placeholders
        f" WHERE {' OR '.join(conditions)} {order}",
        parameters,
    )
