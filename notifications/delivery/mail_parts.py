"""What mails have beside subject and body, added to their finished content."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from notifications.channels import addresses
from notifications.channels.base import Content
from notifications.channels.mail import COPIES
from notifications.core.attempt import Claim
from notifications.core.world import World
from notifications.mails import reading
from notifications.recipients import suppressions


class Parts:
    """What the mails of one batch have, by the ids of ``MailContent``.

    ``suppressed`` holds copies as they are written, with whose mail must not go there.
    """

    def __init__(
        self, found: Mapping[int, Mapping[str, Any]], suppressed: Collection[tuple[World, str]]
    ) -> None:
        self._found = found
        self._suppressed = suppressed

    def added(self, claim: Claim, content: Content) -> Content:
        """Return a content with what its mail has; copies leave out who is suppressed."""
        if claim.mail_id is None:
            return content
        fields = dict(self._found[claim.mail_id])
        for name in COPIES:
            if name in fields:
                fields[name] = [
                    copy for copy in fields[name] if (claim.world, copy) not in self._suppressed
                ]
        fields["headers"] = {**_others(fields.get("headers", {}), content), **_own(content)}
        return {**content, **fields}


def of(claims: Sequence[Claim]) -> Parts:
    """Read what these claims have; asks nothing where none has any."""
    ids = {claim.mail_id for claim in claims if claim.mail_id is not None}
    if not ids:
        return _NONE
    found = reading.contents(ids)
    return Parts(found, _suppressed(claims, found))


_NONE = Parts({}, frozenset())


def _own(content: Content) -> Mapping[str, str]:
    found: Mapping[str, str] = content.get("headers", {})
    return found


def _others(given: Mapping[str, str], content: Content) -> Mapping[str, str]:
    """Return the given headers that this system does not write itself on this mail."""
    own = {name.lower() for name in _own(content)} | ({"list-id"} if "list" in content else set())
    return {name: value for name, value in given.items() if name.lower() not in own}


def _suppressed(
    claims: Sequence[Claim], mails: Mapping[int, Mapping[str, Any]]
) -> set[tuple[World, str]]:
    """Find the copies that must not be written to."""
    copies: dict[World, set[str]] = defaultdict(set)
    for claim in claims:
        if claim.mail_id is not None:
            fields = mails[claim.mail_id]
            copies[claim.world].update(copy for name in COPIES for copy in fields.get(name, ()))
    refused = set()
    for world, written in copies.items():
        if not written:
            continue
        bare = {copy: addresses.mailbox(copy).address for copy in written}
        found = suppressions.among("email", set(bare.values()), world=world)
        refused |= {(world, copy) for copy, address in bare.items() if (address, False) in found}
    return refused
