"""What a recipient wants to get: the rule, and the one place that writes a choice.

A choice is for a category and a channel. An empty category means all that can be refused, an empty
channel every channel. ``Recipient.choices`` holds what was chosen last; ``Consent`` every change.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from django.db import transaction

from notifications.core.errors import InvalidField, UnknownChannel
from notifications.core.reasons import Reason
from notifications.core.text import printable, shown
from notifications.core.world import World
from notifications.db import clock
from notifications.models import Consent, Recipient
from notifications.models.recipient import ADDRESSED
from notifications.recipients import categories, spellings, suppressions
from notifications.recipients.categories import Kind

Choices = Mapping[str, Mapping[str, bool]]  # by category and channel

EVERYTHING = ""  # in place of a category: all that can be refused
EVERY_CHANNEL = ""


class Change(NamedTuple):
    """What somebody chooses: ``granted`` is None where the default shall hold again."""

    category: str
    channel: str
    granted: bool | None


class How(NamedTuple):
    """How a choice came here, by whom, and what they read or wrote."""

    means: Consent.Means
    source: str = ""
    text: str = ""


def held_by(kind: Kind | None, channel: str, choices: Choices) -> str:
    """Return the rule that holds a notification back; empty if none does.

    Without a category only the refusal of everything counts. What was chosen for a channel wins
    over what was chosen for all, and a choice over the category's default.
    """
    if kind is not None and kind.required:
        return ""
    if choices.get(EVERYTHING, {}).get(channel) is False:
        return Reason.CHANNEL_REFUSED
    if kind is None:
        return ""
    chosen = choices.get(kind.name, {})
    if channel in chosen:
        return "" if chosen[channel] else Reason.CATEGORY_REFUSED_ON_CHANNEL
    if EVERY_CHANNEL in chosen:
        return "" if chosen[EVERY_CHANNEL] else Reason.CATEGORY_REFUSED
    return "" if kind.is_sent_by_default(channel) else Reason.CONSENT_MISSING


def check(changes: Sequence[Change], world: World) -> None:
    """Check changes. Raises a subclass of ``InvalidNotification``: ``choices.0.channel``."""
    for number, change in enumerate(changes):
        place = f"choices.{number}"
        if not change.category and not change.channel:
            raise InvalidField("Name a category or a channel.", field=f"{place}.category")
        if change.channel and change.channel not in ADDRESSED:
            raise UnknownChannel(
                f"There is no channel {shown(change.channel)}.",
                field=f"{place}.channel",
                hint=f"There are {', '.join(ADDRESSED)}.",
            )
        if change.granted not in (True, False, None):
            raise InvalidField("It is true, false or null.", field=f"{place}.granted")
        if not change.category:
            continue
        kind = categories.require(change.category, world, field=f"{place}.category")
        if kind.required and change.granted is False:
            raise InvalidField(f"{kind.name} cannot be refused.", field=f"{place}.granted")


def choose(recipient: Recipient, changes: Iterable[Change], how: How) -> int:
    """Write what a recipient chooses, and return how many choices that changed.

    Who agrees to what they had unsubscribed from by a link or an SMS gets it again at their
    addresses.
    """
    wanted = list(changes)
    with transaction.atomic():
        row = Recipient.objects.select_for_update().get(pk=recipient.pk)
        now = clock.now()
        done = []
        for change in wanted:
            of_category = row.choices.setdefault(change.category, {})
            if of_category.get(change.channel) is change.granted:
                continue
            of_category[change.channel] = change.granted
            if change.granted is None:
                del of_category[change.channel]
            done.append(
                Consent(
                    recipient=row,
                    category=change.category,
                    channel=change.channel,
                    granted=change.granted,
                    means=how.means,
                    source=how.source[:100],
                    text=printable(how.text),
                    created_at=now,
                )
            )
        Consent.objects.bulk_create(done)
        row.choices = {name: chosen for name, chosen in row.choices.items() if chosen}
        row.save(update_fields=["choices"])
        _lift(row, [change for change in wanted if change.granted is not False])
    recipient.choices = row.choices
    return len(done)


def choose_by_address(
    channel: str, address: str, changes: Iterable[Change], how: How, *, world: World
) -> int:
    """Write a choice for those of a project who have this address; return how many there are."""
    forms = spellings.of(address, channel)
    found = Recipient.objects.filter(
        **world.columns, addresses__channel=channel, addresses__address__in=forms
    ).distinct()
    wanted = list(changes)
    for recipient in found:
        choose(recipient, wanted, how)
    return len(found)


def _lift(recipient: Recipient, granted: Iterable[Change]) -> None:
    """Lift what unsubscribing by an address has left, where they agree again."""
    for change in granted:
        if change.category not in (EVERYTHING, categories.MARKETING):
            continue
        scope = (
            suppressions.Scope.MARKETING
            if change.category == categories.MARKETING
            else suppressions.Scope.EVERYTHING
        )
        for one in recipient.addresses.all():
            if change.channel in (EVERY_CHANNEL, one.channel):
                suppressions.lift_unsubscribed(
                    one.channel, one.address, scope=scope, world=recipient.world
                )
