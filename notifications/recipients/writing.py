"""Writes stored recipients with their addresses, a thousand for the price of a few statements.

The caller's transaction holds each row until its end, so what is written of one is one save's.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from notifications.core.world import World
from notifications.db import clock, dialect
from notifications.db.bulk_insert import Table
from notifications.models import Recipient, RecipientAddress

_ROWS = Table(Recipient, "id")
_ADDRESSES = Table(RecipientAddress, "id")
_TABLE = Recipient._meta.db_table
_COLUMNS = ("locale", "timezone", "country", "attributes")


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a channel, in the form in which the channel keeps it."""

    channel: str
    address: str
    verified: bool = False


@dataclass(slots=True)
class Wanted:
    """What is to be saved of one: the columns and the channels that are named."""

    columns: dict[str, Any] = field(default_factory=dict)
    addresses: dict[str, list[Address]] = field(default_factory=dict)


def write(wanted: Mapping[str, Wanted], world: World) -> set[str]:
    """Save recipients by their ids in the current transaction; return the ids that are new."""
    now = clock.now()
    ids, created = _locked(wanted, world, now)
    _change(
        {ids[key]: recipient.columns for key, recipient in wanted.items() if key not in created},
        now,
    )
    _replace_addresses(
        {ids[key]: recipient.addresses for key, recipient in wanted.items()}, ids, created
    )
    return created


def _locked(
    wanted: Mapping[str, Wanted], world: World, now: datetime
) -> tuple[dict[str, int], set[str]]:
    """Return the primary keys of these ids, their rows locked, and the ids that are new.

    Of several that save an id for the first time, the constraint lets one make the row, and the
    others wait for it.
    """
    ids: dict[str, int] = {}
    created: set[str] = set()
    base = {**_ROWS.defaults, **world.columns, "created_at": now, "updated_at": now}
    while missing := sorted(wanted.keys() - ids.keys()):  # one may be deleted in between
        recipients = Recipient.objects.filter(**world.columns)
        there = set(recipients.filter(key__in=missing).values_list("key", flat=True))
        new = [{**base, **wanted[key].columns, "key": key} for key in missing if key not in there]
        made = _ROWS.insert_numbered(new, "key", skip_taken=True)
        created |= made.keys()
        ids |= made
        if others := [key for key in missing if key not in made]:
            locked = recipients.filter(key__in=others).order_by("key").select_for_update()
            ids |= locked.values_list("key", "pk")
    return ids, created


def _change(columns: Mapping[int, Mapping[str, Any]], now: datetime) -> None:
    """Write the columns that are named of rows that were there."""
    if not columns:
        return
    given = [[_text(values.get(name)) for values in columns.values()] for name in _COLUMNS]
    if connection.vendor == "postgresql":
        dialect.count_of(
            f"UPDATE {_TABLE} AS r SET locale = COALESCE(g.locale, r.locale),"  # noqa: S608 -- our own words and placeholders
            " timezone = COALESCE(g.timezone, r.timezone),"
            " country = COALESCE(g.country, r.country),"
            " attributes = COALESCE(g.attributes::jsonb, r.attributes), updated_at = %s"
            " FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[])"
            " AS g (id, locale, timezone, country, attributes) WHERE r.id = g.id",
            [now, list(columns), *given],
        )
        return
    named = ", ".join(f"{name} = COALESCE(%s, {name})" for name in _COLUMNS)
    moment = dialect.write(now)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {_TABLE} SET {named}, updated_at = %s WHERE id = %s",  # noqa: S608 -- as above
            [(*values, moment, key) for key, *values in zip(columns, *given, strict=True)],
        )


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _replace_addresses(
    wanted: Mapping[int, Mapping[str, list[Address]]], ids: Mapping[str, int], created: set[str]
) -> None:
    """Make the addresses of each channel that is named those that are given."""
    new_owners = {ids[key] for key in created}
    kept = _kept([owner for owner, named in wanted.items() if named and owner not in new_owners])
    gone: list[int] = []
    new: list[dict[str, Any]] = []
    for owner, named in wanted.items():
        for channel, some in named.items():
            before = kept.get((owner, channel), ())
            if [address[1:] for address in before] == [
                (address.address, address.verified) for address in some
            ]:
                continue
            gone += [pk for pk, *_ in before]
            new += [
                {
                    "recipient_id": owner,
                    "channel": channel,
                    "address": address.address,
                    "verified": address.verified,
                    "place": place,
                }
                for place, address in enumerate(some)
            ]
    if gone:
        RecipientAddress.objects.filter(pk__in=gone).delete()
    _ADDRESSES.insert(new)


def _kept(owners: Sequence[int]) -> dict[tuple[int, str], list[tuple[int, str, bool]]]:
    """Return the addresses of recipients in their order, by owner and channel."""
    found: dict[tuple[int, str], list[tuple[int, str, bool]]] = defaultdict(list)
    if owners:
        rows = RecipientAddress.objects.filter(recipient__in=owners).values_list(
            *("recipient", "channel", "pk", "address", "verified")
        )
        for owner, channel, *address in rows:
            found[owner, channel].append((address[0], address[1], address[2]))
    return found
