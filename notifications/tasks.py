"""The Celery tasks: thin entry points to submission and delivery."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, NoReturn, cast
from uuid import UUID, uuid5

from celery import Task, current_app, shared_task
from celery.exceptions import Retry
from celery.utils.time import maybe_iso8601, maybe_make_aware
from django.db import transaction

from notifications import metrics, submission
from notifications.audiences import sending as audiences
from notifications.canvas import followers, signatures
from notifications.canvas.results import LocalResult, NotificationResult, id_of
from notifications.core.attempt import Claim
from notifications.core.conf import conf
from notifications.core.errors import (
    DeliveryError,
    DeliveryFailed,
    FaultyRow,
    InvalidField,
    InvalidNotification,
    TransientError,
    UnsupportedForm,
)
from notifications.core.retry import POLICIES, Step
from notifications.core.routing import (
    DEFAULT_PRIORITY,
    SEND_TASK,
    SEND_TO_AUDIENCE_TASK,
    SEND_TO_EACH_TASK,
)
from notifications.core.world import DEFAULT_PROJECT, World
from notifications.delivery import background, claims, failed_deliveries, pipeline
from notifications.delivery.outcomes import Recorded
from notifications.models import Notification, Status
from notifications.operations import batches
from notifications.queueing import making_way, send_rate
from notifications.queueing.making_way import Slot
from notifications.queueing.publisher import DELIVER_DUE_TASK
from notifications.submission import projects, repeats
from notifications.submission.fields import Fields
from scheduling import isolation, outages, watch

_POLICY = POLICIES[DEFAULT_PRIORITY]
_NAMED = "Pass them as kwargs."
UNDER_WAY = "under way"  # the provider has not answered yet
DEFERRED = "deferred"  # it waits for an account, an endpoint, a limit or a window
NOT_WAITING = "not waiting"  # delivered already, cancelled, or somebody else has it


class SendTask(Task):  # type: ignore[misc]  # celery has no types
    """Persists first: what ``apply_async`` returned for is a committed row."""

    Request = "notifications.queueing.worker_slots:TimedRequest"
    Strategy = "notifications.queueing.send_rate:at_the_claim"
    keeps_connection = True
    # What never became a row, being refused or expired, is told by its result alone.
    store_errors_even_if_ignored = True
    rate_limit = send_rate.Limited(send_rate.SEND, conf.send_rate_limit)

    # A scheduler need not follow it any further: on return it is durable and looks after itself.
    accepted_is_done = True

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Fields | None = None,
        task_id: str | None = None,
        *_: Any,
        **options: Any,
    ) -> NotificationResult:
        """Accept one notification; see ``submission.fields.Fields`` for ``kwargs``.

        Celery's ``countdown``, ``eta``, ``expires``, ``priority``, ``link``, ``link_error`` and
        ``task_id`` count; the queue follows from channel and priority. Raises a subclass of
        ``InvalidNotification`` for bad input, before there is a row.
        """
        accepted = _submit(args or (), kwargs or {}, task_id, options)
        result = self.AsyncResult(str(accepted.id))
        parent = self.app.current_worker_task if options.get("add_to_parent", True) else None
        if parent:
            parent.add_trail(result)
        return result

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        *,
        throw: bool | None = None,
        **options: Any,
    ) -> LocalResult:
        """Accept one notification, and deliver it in this process: on commit, if one is awaited.

        With ``throw`` (by default ``task_eager_propagates``) raises ``TransientError`` and
        ``DeliveryFailed`` of the delivery.
        """
        accepted = _submit(args or (), kwargs or {}, task_id, options, publish=False)
        throws = self.app.conf.task_eager_propagates if throw is None else throw
        deliver = partial(_deliver_here, accepted.id, throw=throws)
        transaction.on_commit(deliver, robust=not throws)
        return LocalResult(str(accepted.id), app=self.app)

    def retry(self, *_: Any, exc: Exception | None = None, **__: Any) -> Retry:
        """Tell Celery that a retry was planned. Its wait lives in the row, not in the broker."""
        if self.request.called_directly and exc is not None:
            raise exc
        return Retry("planned in the row", exc=exc)

    def AsyncResult(self, task_id: str, **options: Any) -> NotificationResult:  # noqa: N802 -- celery's own name
        """Return the result of the send with this id."""
        return NotificationResult(task_id, app=self.app, **options)

    def map(self, it: Iterable[Any]) -> NoReturn:
        """Refuse it: a notification's fields are named. Raises ``UnsupportedForm``."""
        raise _unsupported("map")

    def starmap(self, it: Iterable[Any]) -> NoReturn:
        """Refuse it, as ``map``."""
        raise _unsupported("starmap")

    def chunks(self, it: Iterable[Any], n: int) -> NoReturn:
        """Refuse it, as ``map``."""
        raise _unsupported("chunks")


def _unsupported(form: str) -> UnsupportedForm:
    return UnsupportedForm(
        f"{form} passes unnamed arguments, and a notification's fields are named.",
        field="args",
        hint="Use send_many(rows), or group(send_notification.s(**fields) for fields in rows).",
    )


def _submit(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    task_id: str | None,
    options: Mapping[str, Any],
    *,
    publish: bool = True,
) -> submission.Submission:
    _only_results_of_earlier_tasks(args)
    return submission.submit(
        {**kwargs, **signatures.timing(options), **_priority(options, kwargs)},
        id_=id_of(task_id) if task_id else None,
        use=signatures.use_of(task_id, options) if task_id else "",
        continuation=signatures.of(options),
        publish=publish,
    )


def _priority(options: Mapping[str, Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Take Celery's ``priority`` option, unless the notification itself names one."""
    priority = options.get("priority")
    return {} if priority is None or "priority" in kwargs else {"priority": priority}


def _only_results_of_earlier_tasks(args: Sequence[Any]) -> None:
    """In a chain Celery puts the result of the task before in front; a send has no use for it."""
    if len(args) > 1:
        raise InvalidField("A notification's fields are named.", field="args", hint=_NAMED)


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

    Our own messages carry ``notification_id`` alone. Any other message carries the fields of
    ``requests.Request``; its task id becomes the notification's id, so that a second delivery
    of the same message finds the first. Raises ``TransientError`` when a retry was planned and
    ``DeliveryFailed`` when there will be none.

    Called as a function it accepts and delivers in this process, as ``apply``, raises the same,
    and returns the notification's id.
    """
    if self.request.called_directly:
        if notification_id is None:
            return _call(self, earlier, fields)
        return deliver_one(UUID(notification_id), worker="")
    with _waiting_for_the_database():
        if notification_id is not None:
            id_ = UUID(notification_id)
        else:
            id_ = _accept(self, earlier, fields)
        if not send_rate.SEND.take(1, urgent=_is_urgent(self)):
            claims.make_due(id_)
            return "waits for the rate limit"
        status = deliver_one(id_, worker=_worker(self), slot=_slot(self))
        if status == NOT_WAITING:
            send_rate.SEND.give_back(1)
        return status


class SendToEachTask(Task):  # type: ignore[misc]  # celery has no types
    """Distinguishes the uses of a signature, each of which sends."""

    USE = "use_of_signature"  # a header of the message
    keeps_connection = True

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        *more: Any,
        **options: Any,
    ) -> Any:
        """Publish the task as Celery does, with a header that names the signature's use."""
        if task_id and (use := signatures.use_of(task_id, options)):
            options["headers"] = {**(options.get("headers") or {}), self.USE: use}
        return super().apply_async(args, kwargs, task_id, *more, **options)

    def run_id(self) -> str:
        """Return what this run has in common with its repetitions, and with nothing else."""
        request = self.request
        use = (request.headers or {}).get(self.USE) or signatures.use_of(
            request.id,
            {name: request.get(name) for name in ("parent_id", "root_id")}
            | {"group_id": request.group},
        )
        return str(uuid5(id_of(request.id), str(use)) if use else request.id)


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
    world = World(
        projects.check(fields.get("project", DEFAULT_PROJECT)), fields.get("test") is True
    )
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
    world = World(
        projects.check(fields.get("project", DEFAULT_PROJECT)), fields.get("test") is True
    )
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
        return len(_deliver_due(channel, priority, limit, worker="")[0])
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
    taken, recorded = _deliver_due(channel, priority, allowed, worker=_worker(task), slot=slot)
    send_rate.SEND.give_back(allowed - len(recorded) - (slot.left - left))
    return len(taken)


def _deliver_due(
    channel: str, priority: str, limit: int, *, worker: str, slot: Slot | None = None
) -> tuple[list[Claim], list[Recorded]]:
    taken = claims.claim_due(channel, priority, limit)
    with metrics.busy(taken):
        recorded = pipeline.deliver(taken, worker=worker, slot=slot, follow=followers.call_after)
    followers.call_after(recorded)
    return taken, recorded


def _what_became_of(id_: UUID) -> str:
    """Return the status of a notification that was not sent; ``deferred`` if it waits again."""
    status = Notification.objects.filter(pk=id_).values_list("status", flat=True).first()
    return DEFERRED if status in (Status.SCHEDULED, Status.QUEUED) else str(status)


def deliver_one(id_: UUID, *, worker: str, slot: Slot | None = None) -> str:
    """Deliver one notification, if it waits for it, and say what became of it."""
    taken = claims.claim([id_])
    if not taken:
        return NOT_WAITING
    with metrics.busy(taken):
        recorded = pipeline.deliver(taken, worker=worker, slot=slot, follow=followers.call_after)
    if not recorded:
        return UNDER_WAY if slot is not None and slot.left else _what_became_of(id_)
    followers.call_after(recorded)
    decision, code = recorded[0].decision, recorded[0].code
    if decision.step is Step.RETRY:
        raise TransientError(f"Tried again at {decision.due_at:%H:%M:%S} UTC ({code}).", code=code)
    if decision.step is Step.DEAD_LETTER:
        raise DeliveryFailed(f"{decision.reason} ({code})", code=code)
    return recorded[0].status


def _deliver_here(id_: UUID, *, throw: bool) -> None:
    """Deliver in this process what has just been accepted; what comes of it is in the row."""
    try:
        deliver_one(id_, worker="")
    except DeliveryError:
        if throw:
            raise


def _call(task: SendTask, args: Sequence[Any], fields: Mapping[str, Any]) -> str:
    if args:
        raise InvalidField("A notification's fields are named.", field="args", hint=_NAMED)
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
        accept = partial(_submit, earlier, fields, request.id, options, publish=False)
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
