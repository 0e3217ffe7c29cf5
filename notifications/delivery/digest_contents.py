"""A digest is closed, and gets its list, when its notification is about to be rendered.

Closing waits for what is just joining, which holds the digest's row; what comes later opens the
next one. The list is written to the notification, so that each attempt, replay and look at it shows
the same.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from notifications.core.attempt import Claim
from notifications.core.digests import context_of, item
from notifications.core.reasons import Reason
from notifications.db import clock, dialect
from notifications.delivery.plan import Plan
from notifications.models import Digest, Notification, Status


def fill(claims: Sequence[Claim]) -> tuple[list[Claim], Plan]:
    """Return claims with their contexts: that of a digest is made now, or was before.

    Plans to end a digest that nothing has joined. Costs nothing where no claim is a digest's.
    """
    plan = Plan()
    found = []
    for claim in claims:
        context = contents_of(claim.digest_id) if claim.digest_id is not None else claim.context
        if context is None:
            plan.end[Status.CANCELLED, Reason.DIGEST_EMPTY].append(claim)
        else:
            found.append(claim if context is claim.context else claim._replace(context=context))
    return found, plan


def contents_of(digest: UUID) -> dict[str, Any] | None:
    """Close a digest, and return its context; None where nothing has joined it.

    In a transaction of its own, so that no two are locked at a time.
    """
    of_digest = Notification.objects.filter(digest_id=digest).exclude(status=Status.MERGED)
    with transaction.atomic():
        open_ = Digest.objects.filter(pk=digest, closed_at__isnull=True)
        if open_.update(closed_at=clock.now()):  # waits for those that join
            # A statement of its own, which sees what they have committed.
            context = _collect(digest)
            Digest.objects.filter(pk=digest).update(merged=context["count"])
            dialect.lock_in_order(of_digest)  # the copies for other devices may be in other hands
            of_digest.update(context=context)
    context = of_digest.values_list("context", flat=True).first() or {}
    return context if context.get("count") else None


def _collect(digest: UUID) -> dict[str, Any]:
    limit = Digest.objects.values_list("limit", flat=True).get(pk=digest)
    members = Notification.objects.filter(digest_id=digest, status=Status.MERGED)
    rows = members.order_by("created_at", "id").values_list("context", "subject", "body")[:limit]
    return context_of([item(*row) for row in rows], members.count())
