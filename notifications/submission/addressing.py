"""From a stored recipient to the addresses that a request goes to.

On push each of a recipient's devices gets a notification of its own; on every other channel one
address does, a verified one before the others. An address that is suppressed on the channel is
left out while there is another.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID, uuid5

from notifications.channels import CHANNELS
from notifications.core.errors import InvalidNotification, UnknownRecipient
from notifications.core.text import can_be_kept, shown
from notifications.core.world import World
from notifications.models import Notification
from notifications.recipients import directory, lookup, suppressions
from notifications.recipients.lookup import Person, Whom
from notifications.recipients.places import NOWHERE
from notifications.submission import local_times, projects, validation
from notifications.submission.fields import Accepted, Request
from templates_engine.rendering import CompiledVersion

TO_EACH_DEVICE = frozenset({"push"})

Found = Mapping[Whom, Person]


def find(requests: Iterable[Request]) -> Found:
    """Read the recipients that requests name, with one query; with none where none is named.

    Of their addresses only those of the requests' channel, where all have the same.
    """
    wanted, channels = set(), set()
    for request in requests:
        if (recipient := _whom(request)) is not None:
            wanted.add(recipient)
            channels.add(request.channel if _is_known(request.channel) else "")
    return lookup.find(wanted, channels.pop() if len(channels) == 1 else "")


def check(
    request: Request, found: Found, now: datetime, version: CompiledVersion | None = None
) -> list[Accepted]:
    """Check a request, and return what it asks for: one for each address that it goes to.

    ``found`` is what ``find`` gave. A device that no account can reach is left out while there is
    another. Raises a subclass of ``InvalidNotification``.
    """
    recipient = _whom(request)
    person = found.get(recipient) if recipient is not None else None
    if request.local_time != "":
        request = local_times.timed(request, person.place if person else NOWHERE, now)
    addressed = _addressed(request, recipient, person)
    accepted, refused = [], []
    for copy in addressed:
        try:
            accepted.append(validation.check(copy, now, version))
        except InvalidNotification as error:
            if error.field != "recipient" or len(addressed) == 1:
                raise
            refused.append(error)
    if not accepted:
        raise refused[0]
    return accepted


def check_alone(request: Request, now: datetime) -> list[Accepted]:
    """Check a request that comes alone, as ``check`` does."""
    return check(request, find([request]), now)


def id_of_copy(first: UUID, address: str) -> UUID:
    """Return the id of the notification to another device, beside the first one."""
    return uuid5(first, address)


def copies_of(first: Notification) -> list[UUID]:
    """Return the ids of the notifications that went to other devices with this one, sorted.

    They were written with it, whatever devices the recipient has by now.
    """
    if not first.recipient_key or first.channel not in TO_EACH_DEVICE:
        return []
    together = Notification.objects.filter(
        **first.world.columns,
        recipient_key=first.recipient_key,
        channel=first.channel,
        created_at=first.created_at,
    )
    found = together.values_list("pk", "recipient")
    return sorted(id_ for id_, address in found if id_ == id_of_copy(first.id, address))


def _whom(request: Request) -> Whom | None:
    """Return the recipient that a request names, None where none can be looked for."""
    if not request.to or not isinstance(request.project, str) or "\0" in request.project:
        return None
    return World(request.project, request.test is True), request.to


def _is_known(channel: object) -> bool:
    return isinstance(channel, str) and channel in CHANNELS


def _address_before(request: Request, recipient: Whom) -> str:
    """Return where the first request with this idempotency key went; empty if none came.

    So its repetition is answered with the first notification, though the recipient is deleted.
    """
    world, recipient_key = recipient
    key = request.idempotency_key
    if not isinstance(key, str) or not key or not can_be_kept(key):
        return ""
    same = Notification.objects.filter(
        **world.columns,
        idempotency_key=key,
        recipient_key=recipient_key,
        channel=request.channel,
    )
    return same.values_list("recipient", flat=True).first() or ""


def _addressed(request: Request, recipient: Whom | None, person: Person | None) -> list[Request]:
    if recipient is None:
        return [request]
    # A channel that there is not is what the request is refused for.
    if not _is_known(request.channel):
        return [request]
    key = recipient[1]
    if person is None:
        projects.check(request.project)
        if address := _address_before(request, recipient):
            return [request._replace(recipient=address)]
        raise directory.unknown(key, field="to.recipient")
    locale = request.locale or person.locale
    if request.recipient:
        return [request._replace(locale=locale)]
    addresses = person.addresses.get(request.channel, [])
    if not addresses:
        raise UnknownRecipient(
            f"The recipient {shown(key)} has no address of the channel {request.channel!r}.",
            field="to.recipient",
        )
    if len(addresses) > 1:
        held = suppressions.among(request.channel, addresses, world=recipient[0])
        free = [address for address in addresses if (address, False) not in held]
        addresses = free or addresses[:1]
    chosen = addresses if request.channel in TO_EACH_DEVICE else addresses[:1]
    return [request._replace(recipient=address, locale=locale) for address in chosen]
