"""Reads stored recipients for submission and delivery: those of many rows by one query."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
_OF_CHANNEL = "AND a.channel = %s"
_KNOWN_ALONE = planned.Statement(f"SELECT {_COLUMNS} FROM {_TABLE} r WHERE {_ALONE}")  # noqa: S608 -- our own words and placeholders
_FIND_ALONE = planned.Statement(
    f"SELECT {_COLUMNS}, a.address FROM {_TABLE} r {_JOINED} {_OF_CHANNEL} WHERE {_ALONE} {_ORDER}"  # noqa: S608 -- as above
)


class Person(NamedTuple):
    """A stored recipient as a send needs it.

    ``choices`` holds what was chosen, by category and channel (``preferences``), ``addresses``, by
    channel, the addresses that were read, in their order, verified ones first.
    """

    locale: str
    place: Place
    choices: Mapping[str, Mapping[str, bool]]
    addresses: dict[str, list[str]]


Whom = tuple[World, str]  # a project's or its tests', and the id of a stored recipient there


def find(wanted: Iterable[Whom], channel: str = "") -> dict[Whom, Person]:
    """Return those of these that are stored, with their addresses of a channel, or with all.

    Costs a query, and none where nobody is wanted.
    """
    several = {*wanted}
    if channel and len(several) == 1:
        (whom,) = several
        person = _find_alone(*whom, channel)
        return {} if person is None else {whom: person}
    joined, of_channel = (f"{_JOINED} {_OF_CHANNEL}", [channel]) if channel else (_JOINED, [])
    found: dict[Whom, Person] = {}
    for project, test, key, *columns, its_channel, address in _rows(
        f"{_COLUMNS}, a.channel, a.address", joined, _ORDER, several, of_channel
    ):
        whom = (World(project, bool(test)), key)
        if (person := found.get(whom)) is None:
            person = found[whom] = _person(*columns)
        if its_channel is not None:
            person.addresses.setdefault(its_channel, []).append(address)
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


def _find_alone(world: World, key: str, channel: str) -> Person | None:
    """Read one recipient by a statement of its own: the acceptance of a send waits for it."""
    rows = _FIND_ALONE.rows(channel, *world, key)
    if not rows:
        return None
    person = _person(*rows[0][:-1])
    if addresses := [address for *_, address in rows if address is not None]:
        person.addresses[channel] = addresses
    return person


def _person(locale: str, timezone: str, country: str, choices: str) -> Person:
    return Person(locale, Place(timezone, country), _choices(choices), {})


@lru_cache(maxsize=1024)
def _choices(text: str) -> Mapping[str, Mapping[str, bool]]:
    """Read what somebody has chosen. Many choose the same, so what was read is kept."""
    found: dict[str, dict[str, bool]] = json.loads(text)
    return found


def _rows(
    columns: str, joined: str, order: str, wanted: Iterable[Whom], of_joined: Sequence[str] = ()
) -> list[tuple[Any, ...]]:
    """Read rows of these recipients, each after its project, whether it is a test, and its id.

    ``of_joined`` holds the parameters of ``joined``.
    """
    keys: dict[World, list[str]] = defaultdict(list)
    for world, key in wanted:
        keys[world].append(key)
    if not keys:
        return []
    is_postgres = connection.vendor == "postgresql"
    among = "= ANY(%s)" if is_postgres else "IN (SELECT value FROM json_each(%s))"
    conditions: list[str] = []
    parameters: list[Any] = [*of_joined]
    for world, some in keys.items():
        conditions.append(f"(r.project = %s AND r.test = %s AND r.key {among})")
        parameters += [*world, some if is_postgres else json.dumps(some)]
    return dialect.all_of(
        f"SELECT r.project, r.test, r.key, {columns} FROM {_TABLE} r {joined}"  # noqa: S608 -- our own words and placeholders
        f" WHERE {' OR '.join(conditions)} {order}",
        parameters,
    )
