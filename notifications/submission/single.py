"""Sending, seen from Python: accept one or many, and call one off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack
from uuid import UUID

from notifications import metrics
from notifications.core.reasons import Reason
from notifications.db import clock
from notifications.models import Notification, Status
from notifications.submission import acceptance, addressing, insert
from notifications.submission.building import Asked
from notifications.submission.bulk import send_many
from notifications.submission.fields import Fields, Request
from notifications.transitions import waiting
from templates_engine.rendering import CompiledVersion

__all__ = ["Cancellation", "Submission", "cancel", "send", "send_many", "submit"]


@dataclass(frozen=True, slots=True)
class Submission:
    """A notification that was accepted: ``created`` is false where it was there already."""

    id: UUID
    created: bool
    _row: insert.Row | None = None
    _copies: Sequence[insert.Row] = ()

    @property
    def notification(self) -> Notification:
        """The row as a model, made when somebody wants it: most callers need only the id."""
        if self._row is None:
            return Notification.objects.get(id=self.id)
        return Notification(**self._row)

    @property
    def row(self) -> insert.Row:
        """The columns of the row by their names, as they were inserted, or as they are now."""
        if self._row is None:
            return {name: getattr(self.notification, name) for name in insert.DEFAULTS}
        return self._row

    @property
    def copies(self) -> list[UUID]:
        """The ids of the notifications to the recipient's other devices, sorted."""
        if self._row is None:
            return addressing.copies_of(self.notification)
        return sorted(row["id"] for row in self._copies)


def send(**fields: Unpack[Fields]) -> Notification:
    """Accept one notification; on return it is a committed row, unless a transaction is open.

    Takes the fields of ``fields.Fields``. Raises a subclass of ``InvalidNotification`` for
    bad input, and ``django.db.Error`` when the database cannot keep it.
    """
    return submit(fields).notification


def submit(
    given: Request | Mapping[str, Any],
    *,
    id_: UUID | None = None,
    use: str = "",
    continuation: Mapping[str, Any] | None = None,
    replay_of: Notification | None = None,
    version: CompiledVersion | None = None,
    publish: bool = True,
) -> Submission:
    """Accept a request, or the fields of one.

    ``publish`` is false for a caller that delivers itself.
    ``version`` pins another than the published one of the request's template.

    With the id of a row that exists, or an idempotency key that was used, the first
    notification is given back; ``IdempotencyConflict`` if its content was another. An id that
    Celery made comes again with each use of its signature: with another ``use`` it is another
    notification, with an id of its own.
    """
    asked = Asked(
        given,
        id=id_,
        use=use,
        continuation=continuation,
        replay_of_id=replay_of.id if replay_of else None,
        version=version,
    )
    answer = acceptance.accept_one(asked, publish=publish)
    assert answer.id is not None  # noqa: S101 -- else accept_one has raised
    return Submission(
        answer.id, answer.created, answer.row if answer.created else None, answer.copies
    )


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
    if waiting.cancel(Notification.objects.filter(id=id_), Reason.CANCELLED, clock.now()):
        metrics.cancelled()
        return Cancellation(cancelled=True, status=Status.CANCELLED)
    # Zero rows: a worker has claimed it, or it ended before.
    status = Notification.objects.values_list("status", flat=True).get(id=id_)
    return Cancellation(cancelled=False, status=status)
