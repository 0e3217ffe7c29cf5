"""Receipts: what providers report later about messages that they accepted.

They come late, twice, out of order, early (the worker is still recording what it sent), or for
messages that were never ours. A receipt moves ``sent`` on, once, and nothing else.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from django.db import transaction

from notifications import metrics
from notifications.callbacks import withdrawals
from notifications.channels.base import Receipt
from notifications.core.attempt import Outcome, Report, Result
from notifications.core.text import printable
from notifications.db import clock
from notifications.delivery import claims, outcomes
from notifications.models import Attempt, Notification, PendingReceipt, Status
from notifications.queueing import quarantine
from notifications.recipients import suppressions
from scheduling import isolation
from scheduling.lookout import Moment, Work

log = structlog.get_logger(__name__)

LOOP = "receipts"
KEPT_FOR = timedelta(hours=1)  # an early one waits at most so long for its message
AT_ONCE = 500  # receipts that one round looks at
IDLE = 30.0  # seconds between rounds at most, unless the lookout finds work

DELIVERED = {"delivered", "complained", "unsubscribed"}  # who complains has got it
FAILED = {"failed", "bounced"}
DELAYED = {"delayed"}  # nothing is final yet


def take(receipts: Iterable[Receipt], *, account: str, channel: str) -> None:
    """Apply an account's receipts; one that comes too early is kept for a while.

    ``account`` is ``""`` where the receipts' ids alone say which messages they are about.

    One that faults is kept, too: ``tick`` tries it again, and then quarantines it.
    """

    def apply(receipt: Receipt) -> None:
        with transaction.atomic():
            applied = _apply(receipt, account, channel)
        if not applied:
            log.info("receipt_is_early_or_unknown", account=account, receipt=receipt.event)
            _keep(receipt, account, channel)

    def name(_: object) -> str:
        return account

    known = [receipt for receipt in receipts if receipt.event in DELIVERED | FAILED | DELAYED]
    _, faults = isolation.each(known, apply, stage=LOOP, key=name)
    isolation.each(
        [receipt for receipt, _ in faults],
        lambda receipt: _keep(receipt, account, channel),
        stage=LOOP,
        key=name,
    )


def work() -> tuple[Work, ...]:
    """Say where it shows that a receipt is to be applied."""
    return (Moment(f"SELECT min(due_at) FROM {PendingReceipt._meta.db_table}"),)  # noqa: S608 -- a table's name


def tick() -> float:
    """Apply receipts that came early; return the seconds until the next look."""
    now = clock.now()
    due = quarantine.passing_over(PendingReceipt.objects.filter(due_at__lte=now), LOOP)
    keys = list(due.order_by("due_at").values_list("pk", flat=True)[:AT_ONCE])
    pending = PendingReceipt.objects.all()
    quarantine.work_off(LOOP, pending, keys, lambda receipt: _look_again(receipt, now))
    return IDLE


def _look_again(pending: PendingReceipt, now: datetime) -> None:
    receipt = Receipt(
        pending.event,
        provider_message_id=pending.provider_message_id,
        notification_id=pending.notification_id,
        recipient=pending.recipient,
        code=pending.code,
        detail=pending.detail,
    )
    age = now - pending.received_at
    if _apply(receipt, pending.account, pending.channel) or age > KEPT_FOR:
        pending.delete()
    else:
        again = now + max(age, timedelta(seconds=1))
        PendingReceipt.objects.filter(pk=pending.pk).update(due_at=again)


def _apply(receipt: Receipt, account: str, channel: str) -> bool:
    """Do what a receipt says; False if its message is not known as sent yet."""
    notification = _notification(receipt, account)
    if notification is None or notification.status in _STILL_AWAY:
        return False
    if receipt.event in DELAYED:
        outcomes.note_delay(notification.id, receipt.code, receipt.detail)
        return True
    account = account or notification.provider
    with transaction.atomic():
        is_delivered = receipt.event in DELIVERED
        if is_delivered:
            moved = outcomes.confirm_delivered(notification.id)
        else:
            moved = _fail(receipt, notification, account)
        _suppress(receipt, notification, account, channel)
    if moved:
        metrics.received(
            notification.channel,
            notification.priority,
            account,
            delivered=is_delivered,
            due=notification.scheduled_at,
            now=clock.now(),
        )
    return True


_STILL_AWAY = (Status.SCHEDULED, Status.QUEUED, Status.SENDING)


def _notification(receipt: Receipt, account: str) -> Notification | None:
    rows = Notification.objects.only(
        *("id", "status", "channel", "recipient", "priority", "scheduled_at", "project", "test"),
        *("provider", "category"),
    )
    if receipt.provider_message_id:
        attempt = Attempt.objects.filter(
            provider_message_id=receipt.provider_message_id[:255], provider=account
        ).first()
        if attempt is not None:
            return rows.get(id=attempt.notification_id)
    if receipt.notification_id is not None:
        row = rows.filter(id=receipt.notification_id)
        return (row.filter(provider=account) if account else row).first()
    return None


def _fail(receipt: Receipt, notification: Notification, account: str) -> bool:
    outcome = Outcome(
        Result.PERMANENT, code=receipt.code, detail=receipt.detail, reason=receipt.event
    )
    return any(
        outcomes.confirm_failed(Report(sent, outcome, account, started_at=clock.now()))
        for sent in claims.sent([notification.id])
    )


def _suppress(receipt: Receipt, notification: Notification, account: str, channel: str) -> None:
    detail = f"{receipt.code} {receipt.detail}".strip()
    if receipt.event == "bounced":
        suppressions.suppress(
            notification.channel,
            notification.recipient,
            suppressions.dead(channel),
            world=notification.world,
            source=account,
            detail=detail,
            notification_id=notification.id,
        )
    elif receipt.event in _WITHDRAWN:
        withdrawals.take(
            _WITHDRAWN[receipt.event],
            notification.channel,
            notification.recipient,
            world=notification.world,
            source=account,
            detail=detail,
            notification_id=notification.id,
            category=notification.category,
        )


_WITHDRAWN = {"complained": withdrawals.COMPLAINED, "unsubscribed": withdrawals.UNSUBSCRIBED}


def _keep(receipt: Receipt, account: str, channel: str) -> None:
    PendingReceipt.objects.create(
        account=account,
        channel=channel,
        event=receipt.event,
        provider_message_id=receipt.provider_message_id[:255],
        notification_id=receipt.notification_id,
        recipient=printable(receipt.recipient),
        code=receipt.code[:50],
        detail=printable(receipt.detail),
        received_at=clock.now(),
        due_at=clock.now() + timedelta(seconds=1),
    )
