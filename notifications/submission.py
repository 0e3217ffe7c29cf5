"""The one door in: check, de-duplicate, persist, and ring the bell on commit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction

from notifications import (
    clock,
    conf,
    dialect,
    doorbell,
    metrics,
    requests,
    routing,
    suppressions,
    windows,
)
from notifications.errors import IdempotencyConflict, InvalidNotification
from notifications.models import WAITING, Notification, Status, new_id
from templates_engine.models import Category

log = structlog.get_logger(__name__)

_COLUMNS = [f for f in Notification._meta.concrete_fields if f.name != "created_at"]
_INSERT = (
    f"INSERT INTO {Notification._meta.db_table} ({', '.join(str(f.column) for f in _COLUMNS)}) "  # noqa: S608 -- names of our own model
    f"VALUES ({dialect.marks(len(_COLUMNS))}) ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class Submission:
    """A notification at the door: ``created`` is false where it was there already."""

    notification: Notification
    created: bool

    @property
    def id(self) -> UUID:
        return self.notification.id


def send(**fields: Any) -> Notification:
    """Accept one notification; on return it is a committed row, unless a transaction is open.

    Takes the fields of ``requests.Request``. Raises a subclass of ``InvalidNotification`` for
    bad input, and ``django.db.Error`` when the database cannot keep it.
    """
    return submit(requests.read(fields)).notification


@dataclass(slots=True)
class Submitted:
    """What became of many: the ids in order, and the errors by the index of their row."""

    ids: list[UUID | None] = field(default_factory=list)
    errors: dict[int, InvalidNotification] = field(default_factory=dict)


def send_many(rows: Iterable[Mapping[str, Any]]) -> Submitted:
    """Accept many; a bad row is reported with its index and stops no other."""
    submitted = Submitted()
    for index, row in enumerate(rows):
        try:
            submitted.ids.append(submit(requests.read(row)).id)
        except InvalidNotification as error:
            submitted.ids.append(None)
            submitted.errors[index] = error
    return submitted


def submit(
    request: requests.Request,
    *,
    id_: UUID | None = None,
    continuation: Mapping[str, Any] | None = None,
    replay_of: Notification | None = None,
    rings: bool = True,
) -> Submission:
    """Take one request through the door; ``rings`` is false for a caller that delivers itself.

    With the id of a row that exists, or an idempotency key that was used, the first
    notification is given back; ``IdempotencyConflict`` if its content was another.
    """
    now = clock.now()
    with metrics.refusals():
        accepted = requests.check(request, now)
    queue = routing.queue_for(accepted.channel, accepted.priority)
    immediate = accepted.scheduled_at is None
    admitted = immediate and (
        not rings or windows.admit(accepted.channel, accepted.priority, queue)
    )
    notification = _row(accepted, now, on_its_way=admitted)
    notification.id = id_ or new_id()
    notification.continuation = dict(continuation) if continuation else None
    notification.replay_of = replay_of
    _hold_back_suppressed(notification, accepted, now)
    if not _insert(notification):
        metrics.accepted(accepted.channel, accepted.priority, created=False)
        return Submission(_first(notification, accepted), created=False)
    if rings and admitted and notification.status != Status.SUPPRESSED:
        transaction.on_commit(lambda: _ring(notification.id, queue), robust=True)
    transaction.on_commit(
        lambda: metrics.accepted(accepted.channel, accepted.priority, created=True), robust=True
    )
    return Submission(notification, created=True)


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


def _row(accepted: requests.Accepted, now: datetime, *, on_its_way: bool) -> Notification:
    due_at = accepted.scheduled_at or now
    return Notification(
        channel=accepted.channel,
        priority=accepted.priority,
        recipient=accepted.recipient,
        template_version_id=accepted.template_version.id if accepted.template_version else None,
        locale=accepted.locale,
        context=accepted.context,
        subject=accepted.subject,
        body=accepted.body,
        guarantee=accepted.guarantee,
        retry=accepted.retry,
        reference=accepted.reference,
        metadata=accepted.metadata,
        idempotency_key=accepted.idempotency_key,
        content_hash=accepted.content_hash,
        status=Status.SCHEDULED if accepted.scheduled_at else Status.QUEUED,
        # A worker on its way has a moment to come before the sweep looks after the row.
        due_at=due_at + timedelta(seconds=conf.get("GRACE")) if on_its_way else due_at,
        scheduled_at=due_at,
        expires_at=accepted.expires_at,
        created_at=now,
    )


def _hold_back_suppressed(
    notification: Notification, accepted: requests.Accepted, now: datetime
) -> None:
    """Accept what must not be sent as finished: its row says why, and nobody is called."""
    version = accepted.template_version
    marketing = version is not None and version.category == Category.MARKETING
    if reason := suppressions.reason(accepted.channel, accepted.recipient, marketing=marketing):
        notification.status = Status.SUPPRESSED
        notification.reason = reason
        notification.due_at = None
        notification.finished_at = now


def _insert(notification: Notification) -> bool:
    """Insert a row; False means that its id or its idempotency key is taken."""
    values = [
        column.get_db_prep_save(column.pre_save(notification, True), connection)  # noqa: FBT003 -- Django's signature
        for column in _COLUMNS
    ]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, values)
        return bool(cursor.rowcount == 1)


def _first(notification: Notification, accepted: requests.Accepted) -> Notification:
    """Find the row that came first, and see that it is the same thing."""
    found = Notification.objects.filter(id=notification.id).first()
    if found is None:
        found = Notification.objects.get(idempotency_key=accepted.idempotency_key)
    if found.content_hash != accepted.content_hash:
        raise IdempotencyConflict(
            "This idempotency key was used before, for another content.",
            field="idempotency_key",
            hint="Use a new key for a new notification.",
        )
    return found


def _ring(id_: UUID, queue: str) -> None:
    try:
        doorbell.ring(id_, queue)
    except doorbell.BrokerAway:
        log.warning("left_to_the_sweep", notification=str(id_))
