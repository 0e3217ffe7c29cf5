"""Replay: a dead letter goes through the door again, as a new notification linked to the old."""

from collections import defaultdict
from collections.abc import Mapping

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import QuerySet

from notifications import clock, requests, submission
from notifications.errors import InvalidNotification, ReplayRefused
from notifications.models import FailedDelivery, Notification


def replay(
    dead: FailedDelivery, *, by: AbstractBaseUser | None = None, countdown: float = 0
) -> Notification:
    """Send a dead letter again, as a new notification that is linked to the old.

    It goes through the same door as any other, so with the template as it is published now.
    Raises ``ReplayRefused`` for what was replayed or discarded before, for what is past its
    expiry, and for what the door refuses.
    """
    with transaction.atomic():
        taken = FailedDelivery.objects.filter(pk=dead.pk, state=FailedDelivery.State.OPEN).update(
            state=FailedDelivery.State.REPLAYED, resolved_by=by, resolved_at=clock.now()
        )
        if not taken:  # somebody else was quicker
            raise ReplayRefused("It was replayed or discarded before.")
        try:
            again = submission.submit(
                _request(dead, countdown), replay_of=dead.notification
            ).notification
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
        return submission.submit(_request_again(old, {}), replay_of=old).notification
    except InvalidNotification as error:
        raise ReplayRefused(str(error)) from error


def replay_all(
    dead: "QuerySet[FailedDelivery]", *, per_second: float, by: AbstractBaseUser | None = None
) -> tuple[int, dict[str, int]]:
    """Replay many, spread over time so that at most ``per_second`` fall due each second.

    Gives how many were accepted, and how many were refused by reason.
    """
    accepted = 0
    refused: dict[str, int] = defaultdict(int)
    open_ones = dead.filter(state=FailedDelivery.State.OPEN).select_related(
        "notification__template_version__template"
    )
    for one in open_ones.order_by("id").iterator(chunk_size=500):
        try:
            replay(one, by=by, countdown=accepted / per_second)
            accepted += 1
        except ReplayRefused as error:
            refused[str(error)] += 1
    return accepted, dict(refused)


def _request(dead: FailedDelivery, countdown: float) -> requests.Request:
    again = {"countdown": countdown} if countdown else {}
    if dead.notification is None:
        return requests.read({**(dead.request or {}), **again})
    return _request_again(dead.notification, again)


def _request_again(old: Notification, again: Mapping[str, float]) -> requests.Request:
    version = old.template_version
    return requests.read(
        {
            "channel": old.channel,
            "recipient": old.recipient,
            "template": version.template.name if version else "",
            "context": old.context,
            "subject": old.subject,
            "body": old.body,
            "locale": old.locale,
            "priority": old.priority,
            "guarantee": old.guarantee,
            "reference": old.reference,
            "metadata": old.metadata,
            "retry": old.retry,
            "test": old.test,
            "callback_url": old.callback_url,
            "expires": old.expires_at,
            **again,
        }
    )
