"""The Celery tasks: thin entry points to submission and delivery."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, cast
from uuid import UUID

from celery import Task, current_app, shared_task
from celery.utils.time import maybe_iso8601, maybe_make_aware

from notifications import submission
from notifications.audiences import sending as audiences
from notifications.canvas import deliveries, task_classes
from notifications.canvas.task_classes import SendTask, SendToEachTask
from notifications.core.conf import conf
from notifications.core.errors import (
    DeliveryFailed,
    FaultyRow,
    InvalidNotification,
    TransientError,
)
from notifications.core.retry import POLICIES
from notifications.core.routing import (
    DEFAULT_PRIORITY,
    SEND_TASK,
    SEND_TO_AUDIENCE_TASK,
    SEND_TO_EACH_TASK,
)
from notifications.core.world import DEFAULT_PROJECT, World
from notifications.delivery import background, claims, failed_deliveries
from notifications.operations import batches
from notifications.queueing import making_way, send_rate
from notifications.queueing.making_way import Slot
from notifications.queueing.publisher import DELIVER_DUE_TASK
from notifications.submission import projects, repeats
from scheduling import isolation, outages, watch

_POLICY = POLICIES[DEFAULT_PRIORITY]


def _send_task(**options: Any) -> Callable[[Callable[..., str]], SendTask]:
    """Return ``shared_task`` with the type that it has for this task."""
    return cast("Callable[[Callable[..., str]], SendTask]", shared_task(base=SendTask, **options))


@_send_task(
    bind=True,
    name=SEND_TASK,
    ignore_result=True,
    autoretry_for=(TransientError,),
    max_retries=_POLICY.max_attempts - 1,
    retry_backoff=_POLICY.base,
    retry_backoff_max=_POLICY.cap,
    retry_jitter=_POLICY.jitter,
    # What is kept as a failed delivery is an event, not a fault of the program: INFO, no traceback.
    throws=(DeliveryFailed, InvalidNotification),
)
def send_notification(
    self: SendTask, *earlier: Any, notification_id: str | None = None, **fields: Any
) -> str:
    """Deliver one notification, or accept and deliver one that another application asked for.

    Our own messages carry ``notification_id`` alone. Any other message carries
    ``submission.fields.Fields``; its task id becomes the notification's id, so that a second
    delivery of the same message finds the first. Raises ``TransientError`` when a retry was
    planned and ``DeliveryFailed`` when there will be none.

    Called as a function it accepts and delivers in this process, as ``apply``, raises the same,
    and returns the notification's id.
    """
    if self.request.called_directly:
        if notification_id is None:
            return _call(self, earlier, fields)
        return deliveries.deliver_one(UUID(notification_id), worker="")
    with _waiting_for_the_database():
        if notification_id is not None:
            id_ = UUID(notification_id)
        else:
            id_ = _accept(self, earlier, fields)
        if not send_rate.SEND.take(1, urgent=_is_urgent(self)):
            claims.make_due(id_)
            return "waits for the rate limit"
        status = deliveries.deliver_one(id_, worker=_worker(self), slot=_slot(self))
        if status == deliveries.NOT_WAITING:
            send_rate.SEND.give_back(1)
        return status


@shared_task(  # type: ignore[untyped-decorator]  # as above
    base=SendToEachTask,
    bind=True,
    name=SEND_TO_EACH_TASK,
    ignore_result=True,
    throws=(InvalidNotification,),
)
def send_to_each(
    self: SendToEachTask, recipients: Sequence[str | Mapping[str, str]], **fields: Any
) -> str:
    """Accept the same notification for each recipient, as one batch; return the batch's id.

    A recipient is an address, or ``{"recipient": "customer-17"}`` for a stored one.

    A run that is repeated accepts nobody twice, and gives the same batch. Recipients that are
    refused are described in the batch; raises what refused the first of them if nobody at all was
    accepted, and ``IdempotencyConflict`` if another content was sent by this run before.
    """
    run = self.run_id()
    requests = [
        {**repeats.to_one(recipient), "idempotency_key": f"{run}:{number}"}
        for number, recipient in enumerate(recipients)
    ]
    content = repeats.content_hash(requests, fields)
    world = _world(fields)
    batch = batches.of_run(self.request.id, use=run, content=content, world=world)
    submitted = submission.send_many(requests, batch=batch, **fields)
    if submitted.errors and not (submitted.accepted or submitted.duplicates):
        raise next(iter(submitted.errors.values()))
    return str(submitted.batch.pk)


@shared_task(  # type: ignore[untyped-decorator]  # as above
    base=SendToEachTask,
    bind=True,
    name=SEND_TO_AUDIENCE_TASK,
    ignore_result=True,
    throws=(InvalidNotification,),
)
def send_to_audience(
    self: SendToEachTask,
    audience: str,
    variables: Mapping[str, Any] | None = None,
    **fields: Any,
) -> str:
    """Send the same notification to whom an audience has now; return the batch's id.

    A run that is repeated gives the same batch. Raises what ``audiences.send_to_audience`` raises.
    """
    world = _world(fields)
    wanted = audiences.check(audience, fields, {} if variables is None else variables, world)
    batch = batches.of_run(self.request.id, use=self.run_id(), content=wanted.content, world=world)
    return str(wanted.begin(batch).pk)


@shared_task(  # type: ignore[untyped-decorator]  # as above
    bind=True,
    name=DELIVER_DUE_TASK,
    ignore_result=True,
    Request=SendTask.Request,
    Strategy="notifications.queueing.send_rate:dropped_without_room",
    keeps_connection=True,
)
def deliver_due(self: Task, channel: str, priority: str, limit: int) -> int:
    """Deliver up to ``limit`` due notifications of one queue, oldest first; return how many."""
    if self.request.called_directly:
        return len(deliveries.deliver_due(channel, priority, limit, worker="")[0])
    with _waiting_for_the_database():
        slot, count = _slot(self), 0
        while count < limit and background.is_clear(slot, channel):
            wanted = making_way.at_once(limit - count, slot.rank)
            taken = _deliver_some(self, channel, priority, wanted, slot)
            count += taken
            if taken < wanted or slot.is_wanted():
                break
        return count


def _deliver_some(task: Task, channel: str, priority: str, wanted: int, slot: Slot) -> int:
    """Deliver so many, or as many as may be sent; return how many."""
    allowed = send_rate.SEND.take(wanted, urgent=_is_urgent(task))
    if not allowed:
        return 0
    left = slot.left
    taken, recorded = deliveries.deliver_due(
        channel, priority, allowed, worker=_worker(task), slot=slot
    )
    send_rate.SEND.give_back(allowed - len(recorded) - (slot.left - left))
    return len(taken)


def _world(fields: Mapping[str, Any]) -> World:
    project = projects.check(fields.get("project", DEFAULT_PROJECT))
    return World(project, fields.get("test") is True)


def _call(task: SendTask, args: Sequence[Any], fields: Mapping[str, Any]) -> str:
    if args:
        raise task_classes.unnamed()
    return str(task.apply(kwargs=fields, throw=True).id)


def _accept(task: SendTask, earlier: Sequence[Any], fields: dict[str, Any]) -> UUID:
    """Take a message that did not come through our own ``apply_async`` the same way."""
    request = task.request
    options = {
        "expires": _moment(request.expires),
        "link": request.callbacks,
        "link_error": request.errbacks,
        "chain": request.chain,
        "chord": request.chord,
        "group_id": request.group,
        "group_index": request.group_index,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
    }
    try:
        accept = partial(task_classes.submit, earlier, fields, request.id, options, publish=False)
        accepted = isolation.tried(accept)
    except InvalidNotification as error:
        failed_deliveries.keep_refused(request.id, fields, error)
        raise
    except Exception as error:
        if isolation.concerns_everybody(error):
            raise
        refused = FaultyRow.of(type(error).__name__)
        failed_deliveries.keep_refused(request.id, fields, refused)
        raise refused from None
    # The row knows what follows, and calls it when it was sent, not when this task returns.
    request.update(callbacks=None, errbacks=None, chain=None, chord=None)
    return accepted.id


def _moment(expires: datetime | str | None) -> datetime | None:
    """Read an expiry as Celery does: one without an offset is in the zone of the application."""
    if expires is None:
        return None
    moment: datetime = maybe_make_aware(maybe_iso8601(expires), current_app.timezone)
    return moment


def _slot(task: Task) -> Slot:
    """Return the worker's slot that runs this task."""
    return Slot(str((task.request.delivery_info or {}).get("routing_key", "")))


def _is_urgent(task: Task) -> bool:
    return send_rate.is_urgent(str((task.request.delivery_info or {}).get("routing_key", "")))


def _worker(task: Task) -> str:
    return str(task.request.hostname or "")


@contextmanager
def _waiting_for_the_database() -> Iterator[None]:
    """While the database is away a message goes back to the broker, and this slot waits."""
    try:
        yield
    except Exception as error:
        backoff = watch.database_outage(error, conf.database_backoff)
        if backoff is None:
            raise
        time.sleep(backoff)
        # Without its cause: the database was told of once, and its message may hold content.
        raise outages.Requeued(type(error).__name__, requeue=True) from None
