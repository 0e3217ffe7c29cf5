"""What a recipient wants to get: the rule, and the one place that writes a choice.

A choice is for a category and a channel. An empty category means all that can be refused, an empty
channel every channel, one that they get later included. ``Recipient.choices`` holds what was
chosen last; ``Consent`` every change.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from django.db import transaction

from notifications.core.errors import InvalidField, UnknownChannel, UnknownRecipient
from notifications.core.reasons import Reason
from notifications.core.text import printable, shown
from notifications.core.world import World
from notifications.db import clock
from notifications.models import Consent, Recipient
from notifications.models.recipient import ADDRESSED
from notifications.recipients import categories, directory, spellings, suppressions
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
    if choices and refuses_everything(choices, channel):
        of_channel = channel in choices[EVERYTHING]
        return Reason.CHANNEL_REFUSED if of_channel else Reason.EVERYTHING_REFUSED
    if kind is None:
        return ""
    chosen = choices.get(kind.name, {})
    if channel in chosen:
        return "" if chosen[channel] else Reason.CATEGORY_REFUSED_ON_CHANNEL
    if EVERY_CHANNEL in chosen:
        return "" if chosen[EVERY_CHANNEL] else Reason.CATEGORY_REFUSED
    return "" if kind.is_sent_by_default(channel) else Reason.CONSENT_MISSING


def refuses_everything(choices: Choices, channel: str) -> bool:
    """Return whether all that can be refused is, on a channel: a choice for it alone counts."""
    chosen = choices.get(EVERYTHING, {})
    return chosen.get(channel, chosen.get(EVERY_CHANNEL)) is False


def check(changes: Sequence[Change], world: World) -> None:
    """Check changes. Raises a subclass of ``InvalidNotification``: ``choices.0.channel``."""
    for number, change in enumerate(changes):
        place = f"choices.{number}"
        if change.channel and change.channel not in ADDRESSED:
            raise UnknownChannel(
                f"There is no channel {shown(change.channel)}.",
                field=f"{place}.channel",
                hint=f"Use one of: {', '.join(ADDRESSED)}.",
            )
        if change.granted not in (True, False, None):
            raise InvalidField("It must be true, false or null.", field=f"{place}.granted")
        if not change.category:
            continue
        kind = categories.require(change.category, world, field=f"{place}.category")
        if kind.required and change.granted is False:
            raise InvalidField(f"{kind.name} cannot be refused.", field=f"{place}.granted")


def choose(recipient: Recipient, changes: Iterable[Change], how: How) -> int:
    """Write what a recipient chooses, and return how many rows that added to the history.

    A choice for every channel replaces what was chosen otherwise for single channels, unless the
    same changes name these. Who agrees to what they had unsubscribed from by a link or an SMS gets
    it again at their addresses. A change that neither changes a choice nor lifts a suppression is
    in the history only where they agree by another text than before. Raises
    ``UnknownRecipient`` for one that was deleted.
    """
    wanted = list(changes)
    with transaction.atomic():
        row = Recipient.objects.select_for_update().filter(pk=recipient.pk).first()
        if row is None:  # deleted meanwhile
            raise directory.unknown(recipient.key, field="id")
        named = {(change.category, change.channel) for change in wanted}
        changed = [_apply_change(change, row.choices, named) for change in wanted]
        lifted = [_lift(row, change) for change in wanted]
        renewed = _renewed(row, wanted, how)
        now = clock.now()
        consents = [
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
            for change, *effects in zip(wanted, changed, lifted, renewed, strict=True)
            if any(effects)
        ]
        Consent.objects.bulk_create(consents)
        row.choices = {name: chosen for name, chosen in row.choices.items() if chosen}
        row.save(update_fields=["choices"])
    recipient.choices = row.choices
    return len(consents)


def _renewed(recipient: Recipient, changes: Sequence[Change], how: How) -> list[bool]:
    """Return of each change whether they agree again, by another text than they did before."""
    text = printable(how.text)
    if not text or how.means not in (Consent.Means.API, Consent.Means.PAGE):
        return [False] * len(changes)
    names = {change.category for change in changes}
    rows = recipient.consents.filter(category__in=names).order_by("pk")
    last = {
        (category, channel): (granted, before)
        for category, channel, granted, before in rows.values_list(
            "category", "channel", "granted", "text"
        )
    }
    return [
        change.granted is True
        and last.get((change.category, change.channel)) != (change.granted, text)
        for change in changes
    ]


def _apply_change(
    change: Change, choices: dict[str, dict[str, bool]], named: Collection[tuple[str, str]]
) -> bool:
    """Change the choices, and return whether that changed one.

    ``named`` holds the categories and channels that the same changes name.
    """
    of_category = choices.setdefault(change.category, {})
    before = dict(of_category)
    if change.granted is None:
        of_category.pop(change.channel, None)
        return of_category != before
    if change.channel == EVERY_CHANNEL:
        for channel, chosen in before.items():
            if (change.category, channel) not in named and chosen is not change.granted:
                del of_category[channel]
    of_category[change.channel] = change.granted
    if _ends_a_refusal(change, of_category):
        del of_category[change.channel]
    return of_category != before


def _ends_a_refusal(change: Change, of_everything: Mapping[str, bool]) -> bool:
    """Return whether a change only ends a refusal of everything.

    Agreeing to everything is not consent to what needs consent of its own. On one channel it is
    kept as an exception where everything is refused on every channel.
    """
    if change.category != EVERYTHING or not change.granted:
        return False
    return change.channel == EVERY_CHANNEL or of_everything.get(EVERY_CHANNEL) is not False


def choose_by_address(
    channel: str, address: str, changes: Iterable[Change], how: How, *, world: World
) -> None:
    """Write a choice for those of a project who have this address."""
    wanted = list(changes)
    for recipient in with_address(channel, address, world):
        with suppress(UnknownRecipient):  # deleted meanwhile
            choose(recipient, wanted, how)


def with_address(channel: str, address: str, world: World) -> list[Recipient]:
    """Return those of a project who have this address on a channel."""
    forms = spellings.of(address, channel)
    found = Recipient.objects.filter(
        **world.columns, addresses__channel=channel, addresses__address__in=forms
    )
    return list(found.distinct())


def _lift(recipient: Recipient, change: Change) -> int:
    """Lift what unsubscribing by an address has left, where they agree again; return how much.

    It stays where another choice still holds back what the change is for.
    """
    if change.granted is False or change.category not in (EVERYTHING, categories.MARKETING):
        return 0
    is_marketing = change.category == categories.MARKETING
    scope = suppressions.Scope.MARKETING if is_marketing else suppressions.Scope.EVERYTHING
    kind = categories.kind_of("", recipient.world, is_marketing=is_marketing)
    return sum(
        suppressions.lift_unsubscribed(
            address.channel, address.address, scope=scope, world=recipient.world
        )
        for address in recipient.addresses.all()
        if change.channel in (EVERY_CHANNEL, address.channel)
        and not held_by(kind, address.channel, recipient.choices)
    )
