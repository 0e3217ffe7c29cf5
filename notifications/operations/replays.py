"""Replay: a dead letter is submitted again, as a new notification linked to the old."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction

from notifications import submission
from notifications.channels.mail import KeptMail
from notifications.core.errors import InvalidNotification, ReplayRefused
from notifications.db import clock
from notifications.models import FailedDelivery, Notification
from notifications.submission import content, insert
from scheduling import isolation
from scheduling.isolation import Fault

# What is asked for again: the fields of a request, and the columns of the notification that failed.
_NEW = ("idempotency_key", "scheduled_at", "expires_at")
_AGAIN = {
    **{name: name for name in insert.COLUMNS if name not in _NEW},
    "template": "template_version__template__name",
    "options": "options",
    "expires": "expires_at",
    "mail": "mail__fields",
}


class Letter(NamedTuple):
    """A failed delivery, as far as a replay needs it; ``again`` has the columns of ``_AGAIN``."""

    id: int
    notification_id: UUID | None
    request: dict[str, Any] | None
    again: Sequence[Any]

    def fields(self, countdown: float) -> dict[str, Any]:
        """Return the request that it stands for, due in so many seconds."""
        fields = (self.request or {}) if self.notification_id is None else _named(self.again)
        return {**fields, "countdown": countdown} if countdown else {**fields}


def replay(dead: FailedDelivery, *, by: AbstractBaseUser | None = None) -> Notification:
    """Send a dead letter again, as a new notification that is linked to the old.

    It is submitted as any other is, so with the template as it is published now. Raises
    ``ReplayRefused`` for what was replayed or discarded before, for what is past its expiry, and
    for what submission refuses.
    """
    with transaction.atomic():
        taken = FailedDelivery.objects.filter(pk=dead.pk, state=FailedDelivery.State.OPEN).update(
            state=FailedDelivery.State.REPLAYED, resolved_by=by, resolved_at=clock.now()
        )
        if not taken:  # somebody else was quicker
            raise ReplayRefused("It was replayed or discarded before.")
        try:
            again = submission.submit(fields_of(dead), replay_of=dead.notification).notification
        except InvalidNotification as error:
            raise ReplayRefused(str(error)) from error
        FailedDelivery.objects.filter(pk=dead.pk).update(replayed_as=again)
    return again


def resend(old: Notification, *, by: AbstractBaseUser | None = None) -> Notification:
    """Send a notification again, whatever became of it; one among the dead letters is replayed.

    Raises ``ReplayRefused`` as ``replay`` does.
    """
    dead = FailedDelivery.objects.filter(notification=old, state=FailedDelivery.State.OPEN).first()
    if dead is not None:
        return replay(dead, by=by)
    try:
        return submission.submit(_fields_again(old), replay_of=old).notification
    except InvalidNotification as error:
        raise ReplayRefused(str(error)) from error


def fields_of(dead: FailedDelivery) -> dict[str, Any]:
    """Return the request that a failed delivery stands for."""
    if dead.notification is None:
        return dict(dead.request or {})
    return _fields_again(dead.notification)


def read(ids: Sequence[int]) -> tuple[list[Letter], list[tuple[int, Fault]]]:
    """Read failed deliveries by their ids; one that cannot be read costs itself.

    Return those that were read, in that order, and the ids of the others.
    """
    columns = [f"notification__{column}" for column in _AGAIN.values()]
    rows = FailedDelivery.objects.values_list("id", "notification_id", "request", *columns)
    found: dict[int, Letter] = {}

    def read_some(part: Sequence[int]) -> None:
        for id_, notification_id, request, *again in rows.filter(id__in=part):
            found[id_] = Letter(id_, notification_id, request, again)

    faults = isolation.halving(ids, read_some, stage="read", key=str)
    return [found[id_] for id_ in ids if id_ in found], faults


def _fields_again(old: Notification) -> dict[str, Any]:
    row = Notification.objects.values_list(*_AGAIN.values()).get(pk=old.pk)
    return _named(row)


def _named(row: Sequence[Any]) -> dict[str, Any]:
    """Return the columns of ``_AGAIN`` as a request has them, with an empty template for None."""
    fields = dict(zip(_AGAIN, row, strict=True))
    mail = KeptMail(fields["mail"]) if fields["mail"] else None
    key = fields.pop("recipient_key")
    if key:  # with the address: to the same device
        fields["to"] = {"recipient": key}
    if not fields["template"] and not content.may_be_items(None, fields["category"]):
        fields["context"] = {}  # of an older notification: it filled nothing
    return {**fields, "template": fields["template"] or "", "mail": mail}
