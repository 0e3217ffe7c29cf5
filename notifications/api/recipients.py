"""Stored recipients: save, look at, list, delete and import."""

from datetime import datetime
from typing import Annotated, Any

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, Path, Query, Router, Schema
from ninja import Status as Answer

from notifications.api import csv_rows, recipient_rows
from notifications.api import json_schemas as say
from notifications.api.authentication import mine, world_of
from notifications.api.batch_bodies import read_csv
from notifications.api.contract import refuses
from notifications.api.fields import (
    BY_CHANNEL,
    COUNTRY,
    KEY_OF_ONE,
    ZONE,
    ChannelFilter,
    Input,
    Text,
    Whole,
)
from notifications.api.pagination import Page, Paging, cut
from notifications.api.problems import Problem
from notifications.core.errors import (
    UnknownRecipient,
)
from notifications.core.world import World
from notifications.models import Recipient
from notifications.recipients import directory, spellings, suppressions

router = Router()

Key = Annotated[Text, Path(max_length=255, description="Your own id for the recipient.")]


class AddressIn(Input):
    """One address, and whether its owner has shown that it is theirs."""

    address: str = Field(json_schema_extra=say.text())
    verified: bool = False


Address = Annotated[str, Field(json_schema_extra=say.text())]
Addresses = Annotated[
    list[Address | AddressIn], Field(json_schema_extra={"maxItems": directory.MOST_ADDRESSES})
]


class RecipientIn(Input):
    """A recipient under your own id. What is not named stays as it is."""

    id: str | Whole = Field(
        description="Your own id: letters, digits and `. _ : @ + = -`. A number is its digits.",
        json_schema_extra=KEY_OF_ONE | say.number(0, directory.LARGEST_ID),
    )
    addresses: dict[str, Address | AddressIn | Addresses] = Field(
        {},
        description="By channel, such as `email`, `sms` or `push`: one address, or several in the "
        "order in which they are used. Those that the channel had before are replaced.",
        json_schema_extra=BY_CHANNEL,
    )
    locale: str = Field(
        "",
        description="Like `de` or `de-AT`.",
        json_schema_extra={"pattern": say.either(directory.LOCALE.pattern)},
    )
    timezone: str = Field(
        "", description="An IANA time zone, like `Europe/Vienna`.", json_schema_extra=ZONE
    )
    country: str = Field(
        "",
        description="The country whose public holidays they have, like `AT` or `DE-BY`.",
        json_schema_extra=COUNTRY,
    )
    attributes: dict[str, Any] = Field({}, description="Your own data, up to 16 kB of JSON.")


class AddressOut(Schema):
    """One address of a recipient."""

    address: str
    verified: bool
    suppressed: str = Field(description="Why nothing is sent to it; empty if it is used.")


class RecipientOut(Schema):
    """A recipient as it stands."""

    id: str
    test: bool = Field(description="Whether a test key saved it, so that only tests reach it.")
    addresses: dict[str, list[AddressOut]]
    locale: str
    timezone: str
    country: str
    attributes: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class ImportedRowError(Schema):
    """Why a row was refused. `row` counts from 1; `line` is the line that it ends on."""

    row: int
    line: int
    field: str
    error: str
    detail: str


class ImportOut(Schema):
    """What became of the rows of a file."""

    created: int
    changed: int
    refused: int
    blank: int = Field(description="Blank rows, which were skipped.")
    attributes: list[str] = Field(
        description="Columns that are attributes, as no field has their name."
    )
    errors: list[ImportedRowError] = Field(
        description="All faults of each refused row; the first 1,000."
    )


class Filters(Paging):
    """Which recipients."""

    channel: ChannelFilter = ""
    address: Text = Field("", max_length=2000, description="One of their addresses.")


@router.get("", response=Page[RecipientOut], summary="List, newest first")
def list_recipients(request: HttpRequest, filters: Query[Filters]) -> dict[str, Any]:
    """List the stored recipients."""
    rows = mine(Recipient.objects.all(), request)
    if filters.address:
        forms = spellings.of(filters.address, filters.channel)
        rows = rows.filter(addresses__address__in=forms).distinct()
    if filters.channel:
        rows = rows.filter(addresses__channel=filters.channel).distinct()
    page, cursor = cut(rows.prefetch_related("addresses"), filters, int)
    return {"items": _documents(page), "next_cursor": cursor}


@router.post("", response={201: RecipientOut, 200: RecipientOut}, summary="Save one")
def save_recipient(request: HttpRequest, payload: RecipientIn) -> Answer[dict[str, Any]]:
    """Save a recipient: 201 for a new id, 200 for one that is changed."""
    world = world_of(request)
    saved = directory.save(payload.model_dump(exclude_unset=True), world=world)
    return Answer(201 if saved.created else 200, _find(world, saved.key))


@router.post(
    "/import",
    response=ImportOut,
    openapi_extra=refuses(413, 415, body="Recipients"),
    summary="Import a CSV",
)
def import_recipients(request: HttpRequest) -> dict[str, Any]:
    """Save the rows of a CSV (`Content-Type: text/csv`), each for itself.

    The column `id` is needed. A column that has the name of a channel holds addresses, several in
    one cell parted by `|`; `verified` says for those of the row `yes` (or `true`, `1`), or
    `no` (`false`, `0`); `locale`, `timezone` and `country` are what they are called, and every
    other column is an attribute, which the answer's `attributes` names. These names may be written
    in capitals. An empty cell changes nothing. The same file again changes nothing twice.
    """
    among, fields = (csv_rows.ID,), recipient_rows.FIELDS
    sheet = read_csv(request, among=among, fields=fields)
    return recipient_rows.save(sheet, world_of(request)).document()


@router.get("/{id}", response=RecipientOut, summary="Get one")
def get_recipient(request: HttpRequest, id: Key) -> dict[str, Any]:  # noqa: A002 -- the path's own name
    """Return a recipient."""
    return _find(world_of(request), id)


@router.delete("/{id}", response={204: None}, summary="Delete one")
def delete_recipient(request: HttpRequest, id: Key) -> Answer[None]:  # noqa: A002 -- as above
    """Delete a recipient with its addresses. What was sent to it stays."""
    row = find(request, id)
    directory.remove(row.key, world=row.world)
    return Answer(204, None)


def find(request: HttpRequest, key: str) -> Recipient:
    """Return a recipient that a request sees. Raises ``Problem`` 404."""
    return _row(world_of(request), key)


def _find(world: World, key: str) -> dict[str, Any]:
    return _documents([_row(world, key)])[0]


def _row(world: World, key: str) -> Recipient:
    """Return a recipient that this world sees: a project sees its own tests'.

    Raises ``Problem`` 404.
    """
    worlds = [world] if world.test else [world, World(world.project, test=True)]
    for searched in worlds:
        try:
            return directory.get(key, world=searched)
        except UnknownRecipient:
            continue
    raise Problem("not-found", f"There is no recipient {key[:50]!r}.")


def _documents(rows: "list[Recipient] | QuerySet[Recipient]") -> list[dict[str, Any]]:
    """Return recipients as the API shows them: suppressions are asked for once per channel."""
    by_channel: dict[tuple[World, str], set[str]] = {}
    for row in rows:
        for address in row.addresses.all():
            by_channel.setdefault((row.world, address.channel), set()).add(address.address)
    held = {
        (world, channel): suppressions.among(channel, some, world=world)
        for (world, channel), some in by_channel.items()
    }
    return [_document(row, held) for row in rows]


def _document(
    row: Recipient, held: dict[tuple[World, str], dict[tuple[str, bool], str]]
) -> dict[str, Any]:
    addresses: dict[str, list[dict[str, Any]]] = {}
    for address in row.addresses.all():
        why = held[row.world, address.channel].get((address.address, False), "")
        addresses.setdefault(address.channel, []).append(
            {"address": address.address, "verified": address.verified, "suppressed": why}
        )
    plain = ("test", *directory.COLUMNS, "created_at", "updated_at")
    return {
        "id": row.key,
        "addresses": addresses,
        **{name: getattr(row, name) for name in plain},
    }
