"""Deliver notifications, and call what Celery's callers linked to them."""

from uuid import UUID

from notifications import metrics
from notifications.canvas import followers
from notifications.core.attempt import Claim
from notifications.core.errors import DeliveryError, DeliveryFailed, TransientError
from notifications.core.retry import Step
from notifications.delivery import claims, pipeline
from notifications.delivery.outcomes import Recorded
from notifications.models import Notification, Status
from notifications.queueing.making_way import Slot

UNDER_WAY = "under way"  # the provider has not answered yet
DEFERRED = "deferred"  # it waits for an account, an endpoint, a limit or a window
NOT_WAITING = "not waiting"  # delivered already, cancelled, or somebody else has it


def deliver_due(
    channel: str, priority: str, limit: int, *, worker: str, slot: Slot | None = None
) -> tuple[list[Claim], list[Recorded]]:
    """Deliver up to ``limit`` due notifications of one queue; return the claimed, the recorded."""
    claimed = claims.claim_due(channel, priority, limit)
    return claimed, _deliver(claimed, worker, slot)


def deliver_one(id_: UUID, *, worker: str, slot: Slot | None = None) -> str:
    """Deliver one notification, if it waits for it, and say what became of it.

    Raises ``TransientError`` when a retry was planned and ``DeliveryFailed`` when there will be
    none.
    """
    claimed = claims.claim([id_])
    if not claimed:
        return NOT_WAITING
    recorded = _deliver(claimed, worker, slot)
    if not recorded:
        return UNDER_WAY if slot is not None and slot.left else _what_became_of(id_)
    decision, code = recorded[0].decision, recorded[0].code
    if decision.step is Step.RETRY:
        raise TransientError(f"Tried again at {decision.due_at:%H:%M:%S} UTC ({code}).", code=code)
    if decision.step is Step.DEAD_LETTER:
        raise DeliveryFailed(f"{decision.reason} ({code})", code=code)
    return recorded[0].status


def deliver_here(id_: UUID, *, throw: bool) -> None:
    """Deliver in this process what has just been accepted; what comes of it is in the row.

    With ``throw`` raises what ``deliver_one`` raises.
    """
    try:
        deliver_one(id_, worker="")
    except DeliveryError:
        if throw:
            raise


def _deliver(claimed: list[Claim], worker: str, slot: Slot | None) -> list[Recorded]:
    with metrics.busy(claimed):
        recorded = pipeline.deliver(claimed, worker=worker, slot=slot, follow=followers.call_after)
    followers.call_after(recorded)
    return recorded


def _what_became_of(id_: UUID) -> str:
    """Return the status of a notification that was not sent; ``deferred`` if it waits again."""
    status = Notification.objects.filter(pk=id_).values_list("status", flat=True).first()
    return DEFERRED if status in (Status.SCHEDULED, Status.QUEUED) else str(status)
