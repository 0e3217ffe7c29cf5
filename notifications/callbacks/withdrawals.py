"""Recipients who complain, unsubscribe or answer STOP: suppressed, and their consent withdrawn.

The suppression holds back what goes to the address alone; the consent is that of each stored
recipient who has the address.
"""

from typing import NamedTuple
from uuid import UUID

from notifications.core.world import World
from notifications.models import Consent, Recipient
from notifications.recipients import categories, preferences, suppressions
from notifications.recipients.preferences import EVERYTHING, Change, How
from notifications.recipients.suppressions import Reason, Scope


class _Meaning(NamedTuple):
    reason: Reason
    scope: Scope
    means: Consent.Means


COMPLAINED = _Meaning(Reason.COMPLAINT, Scope.EVERYTHING, Consent.Means.COMPLAINT)
UNSUBSCRIBED = _Meaning(Reason.UNSUBSCRIBED, Scope.MARKETING, Consent.Means.UNSUBSCRIBE)
STOPPED = _Meaning(Reason.UNSUBSCRIBED, Scope.EVERYTHING, Consent.Means.SMS)


def take(
    meaning: _Meaning,
    channel: str,
    address: str,
    *,
    world: World,
    source: str,
    detail: str = "",
    notification_id: UUID | None = None,
    category: str = "",
) -> None:
    """Write to this address no more what was withdrawn.

    ``category`` is that of the notification from which they unsubscribed, by default marketing.
    ``detail`` is what they wrote, or read.
    """
    suppressions.suppress(
        channel,
        address,
        meaning.reason,
        world=world,
        scope=meaning.scope,
        source=source,
        detail=detail,
        notification_id=notification_id,
    )
    everything = meaning.scope == Scope.EVERYTHING
    refused = EVERYTHING if everything else category or categories.MARKETING
    change = Change(refused, channel, granted=False)
    how = How(meaning.means, source, detail)
    preferences.choose_by_address(channel, address, [change], how, world=world)


def take_back(channel: str, address: str, *, world: World, source: str, detail: str) -> None:
    """Take back what STOP from this address has left, where it came by the same account."""
    suppressions.lift_unsubscribed(
        channel, address, scope=Scope.EVERYTHING, world=world, source=source
    )
    change = Change(EVERYTHING, channel, granted=None)
    how = How(Consent.Means.SMS, source, detail)
    for recipient in preferences.with_address(channel, address, world):
        if _was_stopped(recipient, channel, source):
            preferences.choose(recipient, [change], how)


def _was_stopped(recipient: Recipient, channel: str, source: str) -> bool:
    """Return whether what they chose last of everything on a channel was STOP, by this account."""
    of_everything = recipient.consents.filter(category=EVERYTHING, channel__in=("", channel))
    last = of_everything.order_by("-pk").first()
    return (
        last is not None
        and last.granted is False
        and (last.means, last.source) == (Consent.Means.SMS, source)
    )
