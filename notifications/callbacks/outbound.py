"""Status callbacks: the submitting system learns of each final state of what it asked for.

A callback is an ordinary webhook notification on a channel, and so on queues, of its own: it is
signed, retried and dead-lettered like any other, and a slow endpoint delays no other's
messages. It is made by a sweep over what was not reported yet, so whatever brings a row into a
final state (a worker, a receipt, a cancellation, plain SQL) needs to know nothing of it.

A callback has no callback: a constraint of the database sees to it.
"""

import json
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F, QuerySet

from notifications import submission
from notifications.core import routing
from notifications.core.errors import InvalidNotification
from notifications.models import Notification
from notifications.queueing import quarantine
from scheduling.lookout import Rows, Work

log = structlog.get_logger(__name__)

LOOP = "status_callbacks"
AT_ONCE = 500  # rows that one round reports
BUSY = 0.05  # seconds between rounds while there are more
IDLE = 30.0  # at most, unless the lookout finds work


def work() -> tuple[Work, ...]:
    """Say where it shows that a state is to be reported."""
    return (Rows(_untold()),)


def tick() -> float:
    """Report final states that were not reported yet; return the seconds until the next round."""
    with transaction.atomic():
        pending = quarantine.passing_over(_pending(), LOOP)
        ids = list(pending.values_list("pk", flat=True)[:AT_ONCE])
        quarantine.work_off(LOOP, Notification.objects.all(), ids, _report)
    return BUSY if len(ids) == AT_ONCE else IDLE


def _pending() -> "QuerySet[Notification]":
    return _untold().select_for_update(skip_locked=True)


def _untold() -> "QuerySet[Notification]":
    return (
        Notification.objects.filter(finished_at__isnull=False)
        .exclude(callback_url="")
        .exclude(told_status=F("status"))
        .order_by("finished_at")
    )


def _report(row: Notification) -> None:
    try:
        submission.submit(_callback(row))
    except InvalidNotification as error:  # nobody carries callbacks any more, say
        log.warning("callback_refused", notification=str(row.id), problem=str(error))
    Notification.objects.filter(pk=row.pk).update(told_status=row.status)


def _callback(row: Notification) -> dict[str, Any]:
    """Make the callback; it names the message, but neither its recipient nor its content."""
    document = {
        "type": f"notification.{row.status}",
        "timestamp": row.finished_at.isoformat() if row.finished_at else None,
        "data": {
            "id": str(row.id),
            "status": row.status,
            "reason": row.reason,
            "channel": row.channel,
            "reference": row.reference,
            "metadata": row.metadata,
        },
    }
    return {
        "channel": routing.CALLBACK_CHANNEL,
        "recipient": row.callback_url,
        "body": json.dumps(document),
        "priority": "low",
        "idempotency_key": routing.callback_key(row.id, row.status),
        "reference": row.reference,
        "test": row.test,
        "project": row.project,
    }
