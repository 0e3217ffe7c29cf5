"""Recipients who complain, unsubscribe or answer STOP: suppressed, and their consent withdrawn.

The suppression holds back what goes to the address alone; the consent is that of each stored
recipient who has the address.
"""

from typing import NamedTuple, TypeGuard
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
    ``detail`` is what they wrote, or read. STOP is kept for its ``source``, an account.
    """
    suppressions.suppress(
        channel,
        address,
        meaning.reason,
        world=world,
        scope=meaning.scope,
        source=source,
        account=source if meaning is STOPPED else "",
        detail=detail,
        notification_id=notification_id,
    )
    everything = meaning.scope == Scope.EVERYTHING
    refused = EVERYTHING if everything else category or categories.MARKETING
    change = Change(refused, channel, granted=False)
    how = How(meaning.means, source, detail)
    preferences.choose_by_address(channel, address, [change], how, world=world)


def take_back(channel: str, address: str, *, world: World, source: str, detail: str) -> None:
    """Take back what STOP from this address to the same account has left.

    To an account that was deleted since, nobody could send START: what STOP to it left ends, too.

    What they have chosen holds for as long as STOP to another account does.
    """
    lifted = suppressions.lift_unsubscribed(
        channel, address, scope=Scope.EVERYTHING, world=world, source=source
    )
    change = Change(EVERYTHING, channel, granted=None)
    how = How(Consent.Means.SMS, source, detail)
    for recipient in preferences.with_address(channel, address, world):
        own = recipient.addresses.filter(channel=channel).values_list("address", flat=True)
        if suppressions.is_stopped(channel, own, world=world):
            continue
        last = _last_of_everything(recipient, channel)
        if _is_stop(last) and (lifted or last.source == source):
            preferences.choose(recipient, [change], how)


def _last_of_everything(recipient: Recipient, channel: str) -> Consent | None:
    """Return what a recipient chose last of everything on a channel."""
    of_everything = recipient.consents.filter(category=EVERYTHING, channel__in=("", channel))
    return of_everything.order_by("-pk").first()


def _is_stop(chosen: Consent | None) -> TypeGuard[Consent]:
    return chosen is not None and (chosen.granted, chosen.means) == (False, Consent.Means.SMS)
