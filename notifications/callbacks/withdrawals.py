"""Recipients who complain, unsubscribe or answer STOP: suppressed, and their consent withdrawn.

The suppression holds back what goes to the address alone; the consent is that of each stored
recipient who has the address.
"""

from typing import NamedTuple
from uuid import UUID

from notifications.core.world import World
from notifications.models import Consent
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
