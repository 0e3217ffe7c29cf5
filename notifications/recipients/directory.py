"""Stored recipients: saved by the caller's id, checked by field, one as many.

What is saved again changes what it names, and leaves the rest. The addresses of a channel that is
named are those that are given, in their order.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from notifications.channels import CHANNELS
from notifications.core.errors import (
    FaultyRow,
    InvalidField,
    InvalidNotification,
    MalformedRecipient,
    UnknownArgument,
    UnknownChannel,
    UnknownRecipient,
)
from notifications.core.text import can_be_kept, shown, why_not_json
from notifications.core.world import LIVE, World
from notifications.db import clock
from notifications.models import Recipient, RecipientAddress
from notifications.models.recipient import ADDRESSED, KEY_HINT, is_key
from notifications.recipients import places
from scheduling import isolation

LONGEST_ATTRIBUTES = 16_384  # characters of JSON
MOST_ADDRESSES = 20  # of one recipient and channel
LONGEST_ADDRESS = 2000  # bytes, what a database's index can hold
_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}")

COLUMNS = ("locale", "timezone", "country", "attributes")
FIELDS = ("id", "addresses", *COLUMNS)

Given = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a channel, in the form in which the channel keeps it."""

    channel: str
    address: str
    verified: bool = False


@dataclass(slots=True)
class Saved:
    """What became of one of those who were to be saved: ``error`` says why nothing did."""

    key: str = ""
    created: bool = False
    error: InvalidNotification | None = None
    columns: dict[str, Any] = field(default_factory=dict)
    addresses: dict[str, list[Address]] = field(default_factory=dict)


def save(given: Given, *, world: World = LIVE) -> Saved:
    """Save one recipient. Raises a subclass of ``InvalidNotification``, which names the field."""
    saved = save_many([given], world=world)[0]
    if saved.error is not None:
        raise saved.error
    return saved


def save_many(given: Iterable[Given], *, world: World = LIVE) -> list[Saved]:
    """Save recipients in one transaction, and return what became of each, in order.

    What is wrong with one is its ``error``, and stops no other.
    """
    answers = [_checked(one) for one in given]
    fine = [one for one in answers if one.error is None]
    with transaction.atomic():
        faults = isolation.halving(
            fine, lambda part: _write(part, world), stage="insert", key=lambda one: one.key
        )
        for faulty, fault in faults:
            faulty.error = FaultyRow.of(fault.error)
    return answers


def get(key: str, *, world: World = LIVE) -> Recipient:
    """Return a stored recipient. Raises ``UnknownRecipient``."""
    found = Recipient.objects.filter(**world.columns, key=key) if is_key(key) else None
    if found is None or (row := found.first()) is None:
        raise UnknownRecipient(f"There is no recipient {shown(key)}.", field="id")
    return row


def remove(key: str, *, world: World = LIVE) -> None:
    """Delete a stored recipient with its addresses. Raises ``UnknownRecipient``.

    What was sent to it stays; ``operations.personal_data`` forgets that, too. What waits for it
    ends as suppressed, with the reason ``recipient_deleted``, when a worker takes it.
    """
    get(key, world=world).delete()


def check(given: Given) -> None:
    """Check a recipient. Raises a subclass of ``InvalidNotification``, which names the field."""
    if (error := _checked(given).error) is not None:
        raise error


def _checked(given: Given) -> Saved:
    try:
        return _read(given)
    except InvalidNotification as error:
        return Saved(error=error.with_traceback(None))
    except Exception as error:
        if isolation.concerns_everybody(error):
            raise
        return Saved(error=FaultyRow.of(type(error).__name__))


def _read(given: Given) -> Saved:
    if unknown := given.keys() - set(FIELDS):
        name = min(map(str, unknown))
        raise UnknownArgument(
            f"A recipient has no field {name!r}.", field=name, hint=f"It has {', '.join(FIELDS)}."
        )
    key = given.get("id", "")
    if not isinstance(key, str) or not is_key(key):
        raise InvalidField(f"A recipient has no id like {shown(key)}.", field="id", hint=KEY_HINT)
    checks = {
        "locale": _locale,
        "timezone": places.check_timezone,
        "country": places.check_country,
        "attributes": _attributes,
    }
    columns = {name: check(given[name]) for name, check in checks.items() if name in given}
    return Saved(key, columns=columns, addresses=_addresses(given.get("addresses", {})))


def _locale(value: Any) -> str:
    if value == "" or (isinstance(value, str) and _LOCALE.fullmatch(value)):
        return str(value)
    raise InvalidField(
        f"There is no locale {shown(value)}.", field="locale", hint="Give it like de or de-AT."
    )


def _attributes(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidField("The attributes must be a JSON object.", field="attributes")
    if why := why_not_json(value, "attributes"):
        raise InvalidField(f"They are not JSON: {why}.", field="attributes")
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > LONGEST_ATTRIBUTES:
        raise InvalidField(
            f"The attributes are larger than {LONGEST_ATTRIBUTES} characters.", field="attributes"
        )
    if not can_be_kept(text) or "\\u0000" in text:
        raise InvalidField("They hold a character that cannot be kept.", field="attributes")
    return dict(value)


def _addresses(given: Any) -> dict[str, list[Address]]:
    if not isinstance(given, Mapping):
        raise InvalidField(
            "The addresses must be an object: for each channel one address, or a list.",
            field="addresses",
        )
    return {channel: _of_channel(channel, some) for channel, some in given.items()}


def _of_channel(channel: Any, given: Any) -> list[Address]:
    if channel not in ADDRESSED:
        raise UnknownChannel(
            f"There is no channel {shown(channel)}.",
            field=f"addresses.{str(channel)[:50]}",
            hint=f"There are {', '.join(ADDRESSED)}.",
        )
    several = given if isinstance(given, list | tuple) else [given]
    if len(several) > MOST_ADDRESSES:
        raise InvalidField(
            f"There are more than {MOST_ADDRESSES} addresses.", field=f"addresses.{channel}"
        )
    found: dict[str, Address] = {}
    for number, one in enumerate(several):
        is_list = isinstance(given, list | tuple)
        address = _address(channel, one, f"addresses.{channel}" + f".{number}" * is_list)
        found.setdefault(address.address, address)
    return list(found.values())


def _address(channel: str, given: Any, place: str) -> Address:
    fields = {"address": given} if isinstance(given, str) else given
    if not isinstance(fields, Mapping) or not fields.keys() <= {"address", "verified"}:
        raise InvalidField(
            "It is neither an address nor an object.",
            field=place,
            hint='Give it like {"address": "ada@example.org", "verified": true}.',
        )
    text, verified = fields.get("address", ""), fields.get("verified", False)
    if not isinstance(text, str) or not can_be_kept(text):
        raise InvalidField("The address is not a text that can be kept.", field=place)
    if not isinstance(verified, bool):
        raise InvalidField("It is either true or false.", field=f"{place}.verified")
    try:
        kept = CHANNELS[channel].clean_recipient(text)
    except MalformedRecipient as error:
        raise MalformedRecipient(error.message, field=place, hint=error.hint) from None
    if len(kept.encode()) > LONGEST_ADDRESS:
        raise MalformedRecipient(
            f"The address is longer than {LONGEST_ADDRESS} bytes.", field=place
        )
    return Address(channel, kept, verified)


def _write(wanted: Sequence[Saved], world: World) -> None:
    """Write recipients, and say of each whether it was created."""
    with transaction.atomic():
        now = clock.now()
        keys = sorted({one.key for one in wanted})
        mine = Recipient.objects.filter(**world.columns, key__in=keys)
        there = set(mine.values_list("key", flat=True))
        Recipient.objects.bulk_create(
            [
                Recipient(**world.columns, key=key, created_at=now, updated_at=now)
                for key in keys
                if key not in there
            ],
            ignore_conflicts=True,  # somebody else was quicker
        )
        rows = {row.key: row for row in mine.order_by("key").select_for_update()}
        for one in wanted:
            one.created = one.key not in there
            there.add(one.key)
            row = rows[one.key]
            for name, value in one.columns.items():
                setattr(row, name, value)
            row.updated_at = now
        Recipient.objects.bulk_update(rows.values(), [*COLUMNS, "updated_at"], batch_size=500)
        _replace_addresses([(rows[one.key], one.addresses) for one in wanted if one.addresses])


def _replace_addresses(wanted: Sequence[tuple[Recipient, Mapping[str, list[Address]]]]) -> None:
    """Make the addresses of each channel that is named those that are given."""
    given: dict[tuple[int, str], list[Address]] = {
        (row.pk, channel): some for row, named in wanted for channel, some in named.items()
    }
    if not given:
        return
    kept: dict[tuple[int, str], list[RecipientAddress]] = defaultdict(list)
    owners = {row.pk for row, _ in wanted}
    for address in RecipientAddress.objects.filter(recipient__in=owners):
        kept[address.recipient_id, address.channel].append(address)
    gone, new = [], []
    for (owner, channel), some in given.items():
        before = [(one.address, one.verified) for one in kept[owner, channel]]
        if before == [(one.address, one.verified) for one in some]:
            continue
        gone += [one.pk for one in kept[owner, channel]]
        new += [
            RecipientAddress(
                recipient_id=owner,
                channel=channel,
                address=one.address,
                verified=one.verified,
                place=place,
            )
            for place, one in enumerate(some)
        ]
    RecipientAddress.objects.filter(pk__in=gone).delete()
    RecipientAddress.objects.bulk_create(new, batch_size=500)
