"""Stored recipients, seen from Python."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from notifications.core.world import DEFAULT_PROJECT, World
from notifications.models import Recipient
from notifications.recipients import directory
from notifications.recipients.directory import Saved
from notifications.submission import projects

Addresses = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]


class RecipientFields(TypedDict, total=False):
    """What is stored of a recipient; what is not named stays as it is."""

    addresses: Mapping[str, Addresses]
    """By channel: an address, ``{"address": …, "verified": True}``, or a list of these."""
    locale: str
    """Like ``de`` or ``de-AT``."""
    timezone: str
    """A zone of IANA, like ``Europe/Vienna``."""
    country: str
    """Whose public holidays they have: like ``AT`` or ``DE-BY``."""
    attributes: Mapping[str, Any]
    """Your own data: a JSON object up to 16 kB."""


def save_recipient(
    id: str,  # noqa: A002 -- as the API and a notification's ``to`` call it
    *,
    project: str = DEFAULT_PROJECT,
    test: bool = False,
    **fields: Unpack[RecipientFields],
) -> Recipient:
    """Save a recipient under the caller's id, or change what is named of one.

    Raises a subclass of ``InvalidNotification``, which names the field.
    """
    world = World(projects.check(project), test)
    directory.save({"id": id, **fields}, world=world)
    return directory.get(id, world=world)


def save_recipients(
    rows: Iterable[Mapping[str, Any]], *, project: str = DEFAULT_PROJECT, test: bool = False
) -> list[Saved]:
    """Save many in one transaction, each with its ``id``; what is wrong with one is its error."""
    return directory.save_many(rows, world=World(projects.check(project), test))


def delete_recipient(
    id: str,  # noqa: A002 -- as above
    *,
    project: str = DEFAULT_PROJECT,
    test: bool = False,
) -> None:
    """Delete a recipient and its addresses. Raises ``UnknownRecipient``."""
    directory.remove(id, world=World(projects.check(project), test))
