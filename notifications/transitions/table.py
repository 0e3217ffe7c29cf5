"""Which status may follow which."""

from collections.abc import Mapping
from types import MappingProxyType

from notifications.models import Status

FIRST = frozenset(
    {
        Status.SCHEDULED,  # accepted for a later time, or made to wait
        Status.QUEUED,  # accepted, and due now
        Status.EXPIRED,  # its delivery window, or its throttle, opens too late
        Status.SUPPRESSED,  # its recipient must not be written to, or has had enough
        Status.MERGED,  # it goes with a digest
    }
)

_OF_WAITING = frozenset(
    {
        Status.SENDING,  # a worker claimed it
        Status.SCHEDULED,  # it was parked: its batch is paused, or a hold covers it
        Status.CANCELLED,  # somebody called it off
    }
)

NEXT: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        Status.SCHEDULED: _OF_WAITING,
        Status.QUEUED: _OF_WAITING,
        Status.SENDING: frozenset(
            {
                Status.SENT,  # the provider took it
                Status.SCHEDULED,  # it was deferred, or is tried again
                Status.FAILED,  # it is not tried again
                Status.EXPIRED,  # it would have been stale
                Status.SUPPRESSED,  # its recipient must not be written to
                Status.CANCELLED,  # its chain has reached, or its digest is empty
            }
        ),
        Status.SENT: frozenset(
            {
                Status.DELIVERED,  # a receipt says that the recipient has it
                Status.FAILED,  # a receipt says that it did not arrive
            }
        ),
        # Final: a replay makes a new notification.
        Status.DELIVERED: frozenset(),
        Status.FAILED: frozenset(),
        Status.CANCELLED: frozenset(),
        Status.EXPIRED: frozenset(),
        Status.SUPPRESSED: frozenset(),
        Status.MERGED: frozenset(),
    }
)


class ImpossibleTransition(Exception):
    """A status that a notification cannot get from where it is: a defect of the caller."""


def check(before: Status | None, after: Status) -> None:
    """See that a status may follow another; None before it is inserted.

    Raises ``ImpossibleTransition``.
    """
    if after not in (FIRST if before is None else NEXT[before]):
        raise ImpossibleTransition(f"A notification cannot become {after} from {before or 'new'}.")
