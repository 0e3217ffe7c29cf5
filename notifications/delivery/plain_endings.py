"""The plainest end of a notification: for a row whose own values make every other way raise."""

from uuid import UUID

from django.db import transaction

from notifications.core.reasons import Reason
from notifications.db import clock
from notifications.db.dialect import Unreadable
from notifications.models import FailedDelivery, Notification, Status
from notifications.models.failed_delivery import fingerprint
from notifications.queueing import quarantine
from notifications.transitions import claimed
from scheduling import isolation
from scheduling.isolation import Fault


def end_unreadable(found: Unreadable) -> None:
    """Dead-letter those of these rows that are being sent, without reading what they hold.

    Nothing of them was handed to a provider in this attempt, for nobody could read it. One that
    cannot even be ended is left to its lease.
    """
    now = clock.now()
    faults = dict(found)
    rows = Notification.objects.filter(id__in=faults, status=Status.SENDING)

    def end(row: tuple[UUID, str, str]) -> None:
        id_, channel, priority = row
        with transaction.atomic():
            if claimed.end_unread(id_, Reason.UNREADABLE, now):
                keep_letter(id_, channel, priority, reason=Reason.UNREADABLE, fault=faults[id_])

    found_rows = list(rows.values_list("id", "channel", "priority"))
    _, worse = isolation.each(found_rows, end, stage="end", key=lambda row: row[0])
    quarantine.note(quarantine.LEASES, [(row[0], fault) for row, fault in worse])


def keep_letter(id_: UUID, channel: str, priority: str, *, reason: str, fault: Fault) -> None:
    """Write a dead letter that holds the fault, and no history."""
    FailedDelivery.objects.get_or_create(
        notification_id=id_,
        defaults={
            "channel": channel,
            "priority": priority,
            "reason": reason,
            "error_class": fault.error[:50],
            "code": fault.error[:50],
            "detail": f"An error in the stage {fault.stage}, at {fault.place}.",
            "fingerprint": fingerprint(channel, "", reason, fault.error, ""),
            "created_at": clock.now(),
        },
    )
