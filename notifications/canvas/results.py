"""A send's result is its row: the row's state in Celery's words, whoever asks for the id."""

from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from celery import states
from celery.exceptions import TaskRevokedError, TimeoutError  # noqa: A004 -- celery's own
from celery.result import AsyncResult
from django.db import transaction
from django.db.models import QuerySet

from notifications.core.conf import conf
from notifications.core.errors import DeliveryFailed
from notifications.models import ArchivedNotification, Notification, Status

_STATES = {
    Status.SCHEDULED: states.PENDING,
    Status.QUEUED: states.PENDING,
    Status.SENDING: states.STARTED,
    Status.SENT: states.SUCCESS,
    Status.DELIVERED: states.SUCCESS,
    Status.MERGED: states.SUCCESS,
    Status.CANCELLED: states.REVOKED,
}


def id_of(task_id: str) -> UUID:
    """Return the notification's id for a task's id: the same, if it is a UUID."""
    try:
        return UUID(task_id)
    except ValueError:
        return uuid5(NAMESPACE_OID, task_id)


def meta_of(task_id: str) -> dict[str, Any] | None:
    """Return what Celery keeps of a task's result, read from the row; None if there is no row."""
    return _read(task_id, Notification.objects.all())


def archived_meta_of(task_id: str) -> dict[str, Any] | None:
    """Return the same of a notification that is in the archive."""
    if not conf.archive_months:
        return None
    return _read(task_id, ArchivedNotification.objects.all())


def _read(task_id: str, records: "QuerySet[Any]") -> dict[str, Any] | None:
    rows = records.filter(id=id_of(task_id))
    row = rows.values_list("id", "status", "reason", "attempt_count", "finished_at").first()
    if row is None:
        return None
    id_, status, reason, attempts, finished_at = row
    state = _STATES.get(Status(status), states.FAILURE)
    if status == Status.SCHEDULED and attempts:
        state = states.RETRY
    return {
        "task_id": task_id,
        "status": state,
        "result": _result(state, id_, reason or status),
        "traceback": None,
        "children": [],
        "date_done": finished_at,
    }


def _result(state: str, id_: UUID, reason: str) -> Any:
    match state:
        case states.SUCCESS:
            return str(id_)
        case states.FAILURE:
            return DeliveryFailed(reason)
        case states.REVOKED:
            return TaskRevokedError("revoked")
        case _:
            return None


class NotificationResult(AsyncResult):  # type: ignore[misc]  # celery has no types
    """The result of a send: its id is the notification's id, and its state is the row's."""

    @property
    def notification(self) -> Notification:
        """Read the row. Raises ``Notification.DoesNotExist`` after a rollback."""
        return Notification.objects.get(id=id_of(self.id))


class LocalResult(NotificationResult):
    """The result of a send that this process delivers: nobody else is waited for."""

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,  # noqa: FBT001, FBT002 -- celery's own signature
        **_: Any,
    ) -> Any:
        """Return the notification's id; with ``propagate`` raise the error of one that failed.

        In an open transaction the notification is accepted, to be sent on commit. Raises
        ``celery.exceptions.TimeoutError`` at once where it waits for a later time or attempt.
        """
        if self.ready():
            return self.maybe_throw(propagate=propagate)
        if transaction.get_connection().in_atomic_block:
            return str(id_of(self.id))
        raise TimeoutError("It waits for its time or its next attempt.")

    wait = get
