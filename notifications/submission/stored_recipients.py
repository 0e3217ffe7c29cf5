"""Stored recipients, seen from Python."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from notifications.core.errors import InvalidField
from notifications.core.text import shown
from notifications.core.world import DEFAULT_PROJECT, World
from notifications.models import Consent, Recipient
from notifications.recipients import directory, preferences
from notifications.recipients.directory import Saved
from notifications.recipients.preferences import Change, How
from notifications.submission import projects

Addresses = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]

_CHOICES_HINT = 'Write them like {"marketing": {"email": True}}; {"": True} is every channel.'


class RecipientFields(TypedDict, total=False):
    """What is stored of a recipient; what is not named stays as it is."""

    addresses: Mapping[str, Addresses]
    """By channel: an address, ``{"address": …, "verified": True}``, or a list of these."""
    locale: str
    """Like ``de`` or ``de-AT``."""
    timezone: str
    """An IANA time zone, like ``Europe/Vienna``."""
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
    saved = directory.save({"id": id, **fields}, world=world)
    return directory.get(saved.key, world=world)


def save_recipients(
    rows: Iterable[Mapping[str, Any]], *, project: str = DEFAULT_PROJECT, test: bool = False
) -> list[Saved]:
    """Save many in one transaction, each with its ``id``; what is wrong with one is its error."""
    return directory.save_many(rows, world=World(projects.check(project), test))


def choose_preferences(
    id: str,  # noqa: A002 -- as above
    choices: Mapping[str, Mapping[str, bool | None]],
    *,
    text: str = "",
    project: str = DEFAULT_PROJECT,
    test: bool = False,
) -> Recipient:
    """Write what a recipient has chosen, by category and channel, and the text that they read.

    ``{"marketing": {"email": True}}``, or ``{"marketing": {"": True}}`` for every channel. An empty
    category means all that can be refused, ``None`` that the default holds again. Raises
    ``UnknownRecipient``, ``UnknownCategory``, ``UnknownChannel`` or ``InvalidField``.
    """
    recipient = directory.get(id, world=World(projects.check(project), test))
    if not isinstance(choices, Mapping):
        raise InvalidField("It must be a dict of categories.", field="choices", hint=_CHOICES_HINT)
    for category, of_category in choices.items():
        if not isinstance(of_category, Mapping):
            raise InvalidField(
                f"It must be a dict of channels, and {shown(of_category)} is not.",
                field=f"choices.{category}",
                hint=_CHOICES_HINT,
            )
    changes = [
        Change(category, channel, granted)
        for category, of_category in choices.items()
        for channel, granted in of_category.items()
    ]
    preferences.check(changes, recipient.world)
    preferences.choose(recipient, changes, How(Consent.Means.API, "Python", text))
    return recipient


def delete_recipient(
    id: str,  # noqa: A002 -- as above
    *,
    project: str = DEFAULT_PROJECT,
    test: bool = False,
) -> None:
    """Delete a recipient and its addresses. Raises ``UnknownRecipient``."""
    directory.remove(id, world=World(projects.check(project), test))
