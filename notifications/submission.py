"""The one door in: check, de-duplicate, persist, and ring the bell on commit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction

from notifications import (
    clock,
    doorbell,
    metrics,
    requests,
    routing,
    rows,
    suppressions,
    windows,
)
from notifications.bulk import send_many
from notifications.errors import IdempotencyConflict
from notifications.models import WAITING, Notification, Status
from templates_engine.models import Category
from templates_engine.rendering import CompiledVersion

__all__ = ["Cancellation", "Submission", "cancel", "send", "send_many", "submit"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Submission:
    """A notification at the door: ``created`` is false where it was there already."""

    id: UUID
    created: bool
    _make: Callable[[], Notification]

    @property
    def notification(self) -> Notification:
        """The row as a model, made when somebody wants it: most callers need only the id."""
        return self._make()


def send(**fields: Any) -> Notification:
    """Accept one notification; on return it is a committed row, unless a transaction is open.

    Takes the fields of ``requests.Request``. Raises a subclass of ``InvalidNotification`` for
    bad input, and ``django.db.Error`` when the database cannot keep it.
    """
    return submit(fields).notification


@metrics.refusals()
def submit(
    given: requests.Request | Mapping[str, Any],
    *,
    id_: UUID | None = None,
    continuation: Mapping[str, Any] | None = None,
    replay_of: Notification | None = None,
    version: CompiledVersion | None = None,
    rings: bool = True,
) -> Submission:
    """Take a request, or the fields of one, through the door.

    ``rings`` is false for a caller that delivers itself.
    ``version`` pins another than the published one of the request's template.

    With the id of a row that exists, or an idempotency key that was used, the first
    notification is given back; ``IdempotencyConflict`` if its content was another.
    """
    now = clock.now()
    request = given if isinstance(given, requests.Request) else requests.read(given)
    accepted = requests.check(request, now, version)
    queue = routing.queue_for(accepted.channel, accepted.priority)
    immediate = accepted.scheduled_at is None
    admitted = immediate and (
        not rings or windows.admit(accepted.channel, accepted.priority, queue)
    )
    row = rows.build(
        accepted,
        now,
        on_its_way=admitted,
        id_=id_,
        continuation=dict(continuation) if continuation else None,
        replay_of_id=replay_of.id if replay_of else None,
    )
    row |= _held_back(accepted, now)
    if not rows.insert(row):
        first = _first(row["id"], accepted)
        metrics.accepted(accepted.channel, accepted.priority, created=False)
        return Submission(first.id, created=False, _make=lambda: first)
    rung = rings and admitted and row["status"] != Status.SUPPRESSED
    transaction.on_commit(partial(_committed, row, queue if rung else ""), robust=True)
    return Submission(row["id"], created=True, _make=partial(Notification, **row))


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Whether a cancellation came in time; ``status`` is the state that the row has now."""

    cancelled: bool
    status: str

    def __bool__(self) -> bool:
        return self.cancelled


def cancel(id_: UUID | str) -> Cancellation:
    """Call a notification off, if no worker has it yet.

    Raises ``Notification.DoesNotExist`` for an unknown id.
    """
    changed = Notification.objects.filter(id=id_, status__in=WAITING).update(
        status=Status.CANCELLED, due_at=None, finished_at=clock.now(), reason="cancelled"
    )
    if changed:
        metrics.cancelled()
        return Cancellation(cancelled=True, status=Status.CANCELLED)
    # Zero rows: a worker has claimed it, or it ended before.
    status = Notification.objects.values_list("status", flat=True).get(id=id_)
    return Cancellation(cancelled=False, status=status)


def _held_back(accepted: requests.Accepted, now: datetime) -> rows.Row:
    """Accept what must not be sent as finished: its row says why, and nobody is called."""
    version = accepted.template_version
    marketing = version is not None and version.category == Category.MARKETING
    reason = suppressions.reason(accepted.channel, accepted.recipient, marketing=marketing)
    if not reason:
        return {}
    return {"status": Status.SUPPRESSED.value, "reason": reason, "due_at": None, "finished_at": now}


def _first(id_: UUID, accepted: requests.Accepted) -> Notification:
    """Find the row that came first, and see that it is the same thing."""
    found = Notification.objects.filter(id=id_).first()
    if found is None:
        found = Notification.objects.get(idempotency_key=accepted.idempotency_key)
    if found.content_hash != requests.content_hash(accepted):
        raise IdempotencyConflict(
            "This idempotency key was used before, for another content.",
            field="idempotency_key",
            hint="Use a new key for a new notification.",
        )
    return found


def _committed(row: rows.Row, queue: str) -> None:
    """Count a row that is there to stay, and ring for it where a queue is given."""
    metrics.accepted(row["channel"], row["priority"], created=True)
    if not queue:
        return
    try:
        doorbell.ring(row["id"], queue)
    except doorbell.BrokerAway:
        log.warning("left_to_the_sweep", notification=str(row["id"]))
