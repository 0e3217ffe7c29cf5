"""Stored recipients: saved by the caller's id, checked by field, one as many.

What is saved again changes what it names, and leaves the rest. The addresses of a channel that is
named are those that are given, in their order.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

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
from notifications.db import statistics
from notifications.models import Recipient, RecipientAddress
from notifications.models.recipient import ADDRESSED, KEY_HINT, is_key
from notifications.recipients import places, writing
from notifications.recipients.writing import Address
from scheduling import isolation

MANY = 100  # new recipients of one call that may make the tables grow much
LONGEST_ATTRIBUTES = 16_384  # characters of JSON
MOST_ADDRESSES = 20  # of one recipient and channel
LONGEST_ADDRESS = 2000  # bytes, what a database's index can hold
LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}")

COLUMNS = ("locale", "timezone", "country", "attributes")
FIELDS = ("id", "addresses", *COLUMNS)

Given = Mapping[str, Any]
T = TypeVar("T")

LARGEST_ID = 10**18 - 1  # of a number that is an id


@dataclass(slots=True)
class Saved:
    """What became of one of those who were to be saved: ``error`` says why nothing did.

    Its ``others`` are what else is wrong.
    """

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
    answers = [_checked(document) for document in given]
    fine = [answer for answer in answers if answer.error is None]
    with transaction.atomic():
        faults = isolation.halving(
            fine, lambda part: _write(part, world), stage="insert", key=lambda answer: answer.key
        )
        for faulty, fault in faults:
            faulty.error = FaultyRow.of(fault.error)
        if sum(answer.created for answer in fine) >= MANY:
            transaction.on_commit(partial(statistics.renew, Recipient, RecipientAddress))
    return answers


def unknown(key: object, *, field: str) -> UnknownRecipient:
    """Return the error for an id under which nobody is stored."""
    return UnknownRecipient(
        f"There is no recipient {shown(key)}.",
        field=field,
        hint="Save it first, by POST /api/v1/recipients or save_recipient; each project has its "
        "own, and so have its tests.",
    )


def get(key: str, *, world: World = LIVE) -> Recipient:
    """Return a stored recipient. Raises ``UnknownRecipient``."""
    try:
        row = Recipient.objects.filter(**world.columns, key=key_of(key)).first()
    except InvalidField:
        row = None
    if row is None:
        raise unknown(key, field="id")
    return row


def is_known(key: str, *, world: World = LIVE) -> bool:
    """Return whether a recipient of this id is stored."""
    return Recipient.objects.filter(**world.columns, key=key_of(key)).exists()


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
    """Read what is given; the error has all that is wrong with it, in the order of the fields."""
    faults: list[InvalidNotification] = []
    saved = Saved()

    def read(check: Callable[[Any], T], value: Any) -> T | None:
        try:
            return check(value)
        except InvalidNotification as error:
            faults.append(error.with_traceback(None))
            return None

    for name in sorted(map(str, given.keys() - set(FIELDS))):
        hint = f"Known fields: {', '.join(FIELDS)}."
        faults.append(UnknownArgument(f"A recipient has no field {name!r}.", field=name, hint=hint))
    saved.key = read(key_of, given.get("id", "")) or ""
    addresses = given.get("addresses", {})
    if isinstance(addresses, Mapping):
        for channel, some in addresses.items():
            saved.addresses[channel] = read(partial(_of_channel, channel, read=read), some) or []
    else:
        faults.append(InvalidField(_NO_ADDRESSES, field="addresses"))
    for name, check in _CHECKS.items():
        if name in given:
            saved.columns[name] = read(check, given[name])
    if faults:
        saved.error, *others = faults
        saved.error.others = others
    return saved


def key_of(value: Any, field: str = "id") -> str:
    """Return a recipient's id; a whole number is the text that it is written as.

    Raises ``InvalidField``.
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_ID:
        value = str(value)
    if not isinstance(value, str) or not is_key(value):
        raise InvalidField(
            f"{shown(value)} is not a valid id of a recipient.", field=field, hint=KEY_HINT
        )
    return value


def _locale(value: Any) -> str:
    if value == "" or (isinstance(value, str) and LOCALE.fullmatch(value)):
        return str(value)
    raise InvalidField(
        f"There is no locale {shown(value)}.", field="locale", hint="Write it like de or de-AT."
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
        raise InvalidField(
            "They hold a character that cannot be stored (NUL or half of a surrogate pair).",
            field="attributes",
        )
    return dict(value)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "locale": _locale,
    "timezone": places.check_timezone,
    "country": places.check_country,
    "attributes": _attributes,
}
_NO_ADDRESSES = "The addresses must be an object: for each channel one address, or a list."


def _of_channel(channel: Any, given: Any, *, read: Callable[..., Any]) -> list[Address]:
    if channel not in ADDRESSED:
        raise UnknownChannel(
            f"There is no channel {shown(channel)}.",
            field=f"addresses.{str(channel)[:50]}",
            hint=f"Use one of: {', '.join(ADDRESSED)}.",
        )
    several = given if isinstance(given, list | tuple) else [given]
    if len(several) > MOST_ADDRESSES:
        raise InvalidField(
            f"There are more than {MOST_ADDRESSES} addresses.", field=f"addresses.{channel}"
        )
    found: dict[str, Address] = {}
    for number, written in enumerate(several):
        is_list = isinstance(given, list | tuple)
        place = f"addresses.{channel}" + f".{number}" * is_list
        if (address := read(partial(_address, channel, place=place), written)) is not None:
            found.setdefault(address.address, address)
    return list(found.values())


def _address(channel: str, given: Any, place: str) -> Address:
    fields = {"address": given} if isinstance(given, str) else given
    if not isinstance(fields, Mapping) or not fields.keys() <= {"address", "verified"}:
        raise InvalidField(
            "It must be an address or an object.",
            field=place,
            hint='Write it like {"address": "ada@example.org", "verified": true}.',
        )
    text, verified = fields.get("address", ""), fields.get("verified", False)
    if not isinstance(text, str) or not can_be_kept(text):
        raise InvalidField("The address must be text without control characters.", field=place)
    if not isinstance(verified, bool):
        raise InvalidField("It must be true or false.", field=f"{place}.verified")
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
    """Write recipients, and say of each whether it was created.

    Of one that is named again, what is named last holds.
    """
    merged: dict[str, writing.Wanted] = {}
    for recipient in wanted:
        kept = merged.setdefault(recipient.key, writing.Wanted())
        kept.columns |= recipient.columns
        kept.addresses |= recipient.addresses
    with transaction.atomic():
        created = writing.write(merged, world)
    for recipient in wanted:
        recipient.created = recipient.key in created
        created.discard(recipient.key)
