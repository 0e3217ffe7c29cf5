"""Dead letters: kept with their whole history, and grouped by cause."""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet

from notifications import clock
from notifications.errors import InvalidNotification
from notifications.models import Attempt, FailedDelivery
from notifications.reports import Report, printable
from notifications.retry import Decision


def keep(dead: list[tuple[Report, Decision]], now: datetime) -> None:
    """Write the dead letters of notifications that just failed; part of ``outcomes.record``."""
    if not dead:
        return
    histories = _histories([report.claim.id for report, _ in dead])
    FailedDelivery.objects.bulk_create(
        FailedDelivery(
            notification_id=report.claim.id,
            channel=report.claim.channel,
            priority=report.claim.priority,
            reason=decision.reason,
            error_class=report.outcome.result.value,
            code=report.outcome.code[:50],
            detail=printable(report.outcome.detail),
            provider=report.provider,
            fingerprint=fingerprint(
                report.claim.channel,
                report.provider,
                decision.reason,
                report.outcome.code,
                report.outcome.detail,
            ),
            history=histories[report.claim.id],
            created_at=now,
        )
        for report, decision in dead
    )


def keep_refused(message_id: str, fields: Mapping[str, Any], error: InvalidNotification) -> None:
    """Keep a message that never became a notification, with what it asked for and why not."""
    FailedDelivery.objects.get_or_create(
        message_id=message_id[:255],
        defaults={
            "request": json.loads(json.dumps(fields, cls=DjangoJSONEncoder).replace("\\u0000", "")),
            "channel": str(fields.get("channel", ""))[:20],
            "priority": str(fields.get("priority", ""))[:10],
            "reason": "refused",
            "error_class": type(error).__name__,
            "code": error.field,
            "detail": printable(str(error)),
            "fingerprint": fingerprint("", "", "refused", type(error).__name__, error.field),
            "created_at": clock.now(),
        },
    )


def discard(
    dead: "QuerySet[FailedDelivery]", *, why: str, by: AbstractBaseUser | None = None
) -> int:
    """Close dead letters for good, with the reason; gives how many were still open."""
    return dead.filter(state=FailedDelivery.State.OPEN).update(
        state=FailedDelivery.State.DISCARDED,
        resolution=why[:255],
        resolved_by=by,
        resolved_at=clock.now(),
    )


def fingerprint(channel: str, provider: str, reason: str, code: str, detail: str) -> str:
    """Name a cause: the same for failures that differ only in addresses, ids and numbers."""
    gist = re.sub(r"\S*[@\d]\S*", "#", detail.lower())[:200]
    cause = json.dumps([channel, provider, reason, code, gist])
    return hashlib.blake2b(cause.encode(), digest_size=16).hexdigest()


def _histories(ids: list[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    histories: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for attempt in Attempt.objects.filter(notification_id__in=ids).order_by("number"):
        histories[attempt.notification_id].append(
            {
                "number": attempt.number,
                "provider": attempt.provider,
                "result": attempt.result,
                "code": attempt.code,
                "detail": attempt.detail,
                "worker": attempt.worker,
                "finished_at": attempt.finished_at.isoformat(),
            }
        )
    return histories
