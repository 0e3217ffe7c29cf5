"""Mail that came back: a bounce is applied like a provider's receipt."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import structlog

from notifications.callbacks import receipts, returned_mail, withdrawals
from notifications.callbacks.returned_mail import Kind, ReturnedMail, Told
from notifications.channels import addresses
from notifications.channels.base import Receipt
from notifications.channels.mail import COPIES
from notifications.models import ArchivedNotification, MailContent, Notification
from notifications.providers import accounts
from notifications.recipients import suppressions
from notifications.recipients.suppressions import Reason
from scheduling import isolation

log = structlog.get_logger(__name__)

CHANNEL = "email"


def are_expected() -> bool:
    """Tell whether any account of mail, enabled or not, has a return path."""
    return any(
        candidate.account.settings.get("return_path") for candidate in accounts.all_of(CHANNEL)
    )


def take(raw: bytes, recipient: str = "") -> Kind:
    """Apply what a mail that came to ``recipient`` tells, and return what sort of mail it is.

    One that tells nothing, or that nobody can read, changes nothing. Raises what concerns
    everybody, such as a database that is away.
    """
    try:
        mail = returned_mail.read(raw, recipient)
    except Exception as error:
        if isolation.concerns_everybody(error):
            raise
        fault = isolation.fault_of(error, "bounces")
        log.warning("mail_makes_no_sense", error=fault.error, at=fault.place)
        return Kind.OTHER
    log.info("mail_came_back", kind=str(mail.kind), notification=str(mail.notification_id or ""))
    if mail.notification_id is not None and mail.told:
        _record_bounce(mail, mail.notification_id)
    return mail.kind


def _record_bounce(mail: ReturnedMail, id_: UUID) -> None:
    row = _row(id_)
    if row is None:
        return
    own = suppressions.comparable(CHANNEL, row.recipient)
    copies = _copies(row.mail_id)
    for bounce in mail.told:
        if own in bounce.recipients or (mail.is_signed and not bounce.recipients & copies):
            if isinstance(row, Notification):
                receipts.take([_receipt(bounce, row)], account="", channel=CHANNEL)
            else:  # what is in the archive stays as it is
                _suppress(bounce, [row.recipient], row)
        else:
            _suppress(bounce, bounce.recipients & copies, row)


def _row(id_: UUID) -> Notification | ArchivedNotification | None:
    """Return the row of a mail, from the archive where it has left the live table."""
    live = Notification.objects.filter(id=id_, channel=CHANNEL).first()
    return live or ArchivedNotification.objects.filter(id=id_, channel=CHANNEL).first()


def _receipt(bounce: Told, row: Notification) -> Receipt:
    return Receipt(
        bounce.event,
        notification_id=row.id,
        recipient=row.recipient,
        code=bounce.code,
        detail=bounce.detail,
    )


def _copies(mail_id: int | None) -> frozenset[str]:
    """Return who else got a copy of the mail."""
    if mail_id is None:
        return frozenset()
    fields: dict[str, Any] = (
        MailContent.objects.filter(pk=mail_id).values_list("fields", flat=True).first() or {}
    )
    boxes = (addresses.mailbox(copy) for name in COPIES for copy in fields.get(name, ()))
    return frozenset(suppressions.comparable(CHANNEL, box.address) for box in boxes)


def _suppress(
    bounce: Told, recipients: Iterable[str], row: Notification | ArchivedNotification
) -> None:
    """Suppress recipients without a change of the row, such as those who got a copy."""
    detail = f"{bounce.code} {bounce.detail}".strip()
    id_ = row.id if isinstance(row, Notification) else None
    for recipient in recipients:
        if bounce.event == "bounced":
            suppressions.suppress(
                CHANNEL,
                recipient,
                Reason.HARD_BOUNCE,
                world=row.world,
                source=row.provider,
                detail=detail,
                notification_id=id_,
            )
        elif bounce.event == "complained":
            withdrawals.take(
                withdrawals.COMPLAINED,
                CHANNEL,
                recipient,
                world=row.world,
                source=row.provider,
                detail=detail,
                notification_id=id_,
            )
