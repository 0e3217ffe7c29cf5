"""Dead letters: kept with their whole history, and grouped by cause."""

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet

from notifications.core.attempt import Report
from notifications.core.errors import InvalidNotification
from notifications.core.retry import Decision
from notifications.core.text import printable
from notifications.core.world import DEFAULT_PROJECT
from notifications.db import clock
from notifications.models import Attempt, FailedDelivery
from notifications.models.failed_delivery import fingerprint
from notifications.models.project import LONGEST_NAME


def keep(dead: list[tuple[Report, Decision]], now: datetime) -> None:
    """Write the dead letters of notifications that just failed; part of ``outcomes.record``."""
    if not dead:
        return
    histories = _histories([report.claim.id for report, _ in dead])
    FailedDelivery.objects.bulk_create(
        FailedDelivery(
            notification_id=report.claim.id,
            project=report.claim.project,
            test=report.claim.test,
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


def keep_refused(
    message_id: str, fields: Mapping[str, Any], error: InvalidNotification, *, use: str = ""
) -> None:
    """Keep a message that never became a notification, with what it asked for and why not.

    The same message is kept once; another that has its id is kept beside it. ``use`` tells one
    use of the id from another.
    """
    request = _storable(fields)
    details = {
        "request": request,
        "project": str(fields.get("project") or DEFAULT_PROJECT)[:LONGEST_NAME],
        "test": fields.get("test") is True,
        "channel": str(fields.get("channel", ""))[:20],
        "priority": str(fields.get("priority", ""))[:10],
        "reason": "refused",
        "error_class": type(error).__name__,
        "code": error.field,
        "detail": printable(str(error)),
        "fingerprint": fingerprint("", "", "refused", type(error).__name__, error.field),
        "created_at": clock.now(),
    }
    keep = partial(FailedDelivery.objects.get_or_create, defaults=details)
    first, created = keep(message_id=message_id[:255])
    if not created and (use or first.request != request):
        text = use or json.dumps(request, sort_keys=True)
        keep(message_id=f"{message_id[:200]} {uuid5(NAMESPACE_OID, text)}")


def _storable(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields as a database can keep them; nothing of what cannot even be written."""
    try:
        text = json.dumps(fields, cls=DjangoJSONEncoder, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return {}
    text = text.encode(errors="replace").decode().replace("\\u0000", "")
    kept: dict[str, Any] = json.loads(text, parse_constant=str)  # NaN is not JSON to a database
    return kept


def discard(
    dead: "QuerySet[FailedDelivery]", *, why: str, by: AbstractBaseUser | None = None
) -> int:
    """Close dead letters for good, with the reason; return how many were still open."""
    return dead.filter(state=FailedDelivery.State.OPEN).update(
        state=FailedDelivery.State.DISCARDED,
        resolution=why[:255],
        resolved_by=by,
        resolved_at=clock.now(),
    )


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
