"""The Celery tasks: thin doors into submission and delivery."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from celery import Task, shared_task
from celery.exceptions import Reject, Retry, TimeoutError  # noqa: A004 -- celery's own
from celery.result import AsyncResult
from django.db import InterfaceError, OperationalError, connections

from notifications import (
    batches,
    claims,
    conf,
    continuations,
    dead_letters,
    delivery,
    metrics,
    submission,
)
from notifications.doorbell import DELIVER_DUE_TASK
from notifications.errors import (
    DeliveryFailed,
    InvalidField,
    InvalidNotification,
    TransientError,
)
from notifications.models import Notification, Status
from notifications.outcomes import Recorded
from notifications.retry import POLICIES, Step
from notifications.routing import DEFAULT_PRIORITY, SEND_TASK, SEND_TO_EACH_TASK

_POLICY = POLICIES[DEFAULT_PRIORITY]


class NotificationResult(AsyncResult):  # type: ignore[misc]  # celery has no types
    """The result of a send: its id is the notification's id, and its state is the row's."""

    _CELERY_STATES = {
        Status.SCHEDULED: "PENDING",
        Status.QUEUED: "PENDING",
        Status.SENDING: "STARTED",
        Status.SENT: "SUCCESS",
        Status.DELIVERED: "SUCCESS",
        Status.CANCELLED: "REVOKED",
    }

    @property
    def notification(self) -> Notification:
        """Read the row. Raises ``Notification.DoesNotExist`` after a rollback."""
        return Notification.objects.get(id=self.id)

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,  # noqa: FBT001, FBT002 -- celery's own signature
        interval: float = 0.5,
        **_: Any,
    ) -> Any:
        """Wait until the notification was sent, and give its id.

        Raises ``celery.exceptions.TimeoutError`` after ``timeout`` seconds, and with
        ``propagate`` the error of one that failed.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        while not self.ready():
            if ends is not None and time.monotonic() > ends:
                raise TimeoutError("The operation timed out.")
            time.sleep(interval)
        if propagate:
            self.maybe_throw()
        return self.result

    def _get_task_meta(self) -> dict[str, Any]:
        row = Notification.objects.filter(id=self.id).first()
        if row is None:
            return {"status": "PENDING", "result": None}
        if row.status == Status.SCHEDULED and row.attempt_count:
            return {"status": "RETRY", "result": None}
        state = self._CELERY_STATES.get(Status(row.status), "FAILURE")
        result = DeliveryFailed(row.reason or row.status) if state == "FAILURE" else str(row.id)
        return {"status": state, "result": result}


class SendTask(Task):  # type: ignore[misc]  # celery has no types
    """Persists first: what ``apply_async`` returned for is a committed row."""

    Request = "notifications.worker_slots:TimedRequest"

    # A scheduler need not follow it any further: on return it is durable and looks after itself.
    accepted_is_done = True

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        *_: Any,
        **options: Any,
    ) -> NotificationResult:
        """Accept one notification through the door; see ``requests.Request`` for ``kwargs``.

        Celery's ``countdown``, ``eta``, ``expires``, ``priority``, ``link``, ``link_error`` and
        ``task_id`` count; the queue follows from channel and priority. Raises a subclass of
        ``InvalidNotification`` for bad input, before there is a row.
        """
        _only_results_of_earlier_tasks(args or ())
        given = {**(kwargs or {}), **_timing(options), **_priority(options, kwargs or {})}
        accepted = submission.submit(
            given,
            id_=id_of(task_id) if task_id else None,
            continuation=continuations.of(options),
        )
        if self.app.conf.task_always_eager:
            deliver_one(accepted.id, worker="eager")
        return NotificationResult(str(accepted.id), app=self.app)

    def retry(self, *_: Any, exc: Exception | None = None, **__: Any) -> Retry:
        """Tell Celery that a retry was planned. Its wait lives in the row, not in the broker."""
        return Retry("planned in the row", exc=exc)


def _timing(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: options[name]
        for name in ("eta", "countdown", "expires")
        if options.get(name) is not None
    }


def _priority(options: Mapping[str, Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Take Celery's ``priority`` option, unless the notification itself names one."""
    priority = options.get("priority")
    return {} if priority is None or "priority" in kwargs else {"priority": priority}


def _only_results_of_earlier_tasks(args: Sequence[Any]) -> None:
    """In a chain Celery puts the result of the task before in front; a send has no use for it."""
    if len(args) > 1:
        raise InvalidField(
            "A notification's fields are named.", field="args", hint="Pass them as kwargs."
        )


def id_of(task_id: str) -> UUID:
    """Give the notification's id for a task's id: the same, if it is a UUID."""
    try:
        return UUID(task_id)
    except ValueError:
        return uuid5(NAMESPACE_OID, task_id)


@shared_task(  # type: ignore[untyped-decorator]  # celery has no types
    base=SendTask,
    bind=True,
    name=SEND_TASK,
    ignore_result=True,
    autoretry_for=(TransientError,),
    max_retries=_POLICY.max_attempts - 1,
    retry_backoff=_POLICY.base,
    retry_backoff_max=_POLICY.cap,
    retry_jitter=_POLICY.jitter,
    rate_limit=conf.get("SEND_RATE_LIMIT"),
)
def send_notification(
    self: SendTask, *earlier: Any, notification_id: str | None = None, **fields: Any
) -> str:
    """Deliver one notification, or accept and deliver one that another application asked for.

    Our own messages carry ``notification_id`` alone. Any other message carries the fields of
    ``requests.Request``; its task id becomes the notification's id, so that a second delivery
    of the same message finds the first. Raises ``TransientError`` when a retry was planned and
    ``DeliveryFailed`` when there will be none.
    """
    with _waiting_for_the_database():
        if notification_id is not None:
            id_ = UUID(notification_id)
        else:
            id_ = _accept(self, earlier, fields)
        return deliver_one(id_, worker=_worker(self))


@shared_task(bind=True, name=SEND_TO_EACH_TASK, ignore_result=True)  # type: ignore[untyped-decorator]  # as above
def send_to_each(self: Task, recipients: Sequence[str], **fields: Any) -> str:
    """Accept the same notification for each recipient, as one batch; gives the batch's id.

    A run that is repeated accepts nobody twice. Recipients that are refused are described in the
    batch; raises what refused the first of them if nobody at all was accepted.
    """
    run = self.request.id
    each = [
        {"recipient": recipient, "idempotency_key": f"{run}:{number}"}
        for number, recipient in enumerate(recipients)
    ]
    submitted = submission.send_many(each, name=batches.name_for(run), **fields)
    if submitted.errors and not (submitted.accepted or submitted.duplicates):
        raise next(iter(submitted.errors.values()))
    return str(submitted.batch.pk)


@shared_task(bind=True, name=DELIVER_DUE_TASK, ignore_result=True, Request=SendTask.Request)  # type: ignore[untyped-decorator]  # as above
def deliver_due(self: Task, channel: str, priority: str, limit: int) -> int:
    """Deliver up to ``limit`` due notifications of one queue, oldest first; gives how many."""
    with _waiting_for_the_database():
        taken = claims.claim_due(channel, priority, limit)
        with metrics.busy(taken):
            recorded = delivery.deliver(taken, worker=_worker(self))
        for one in recorded:
            _continue(one)
        return len(taken)


def deliver_one(id_: UUID, *, worker: str) -> str:
    """Deliver one notification, if it waits for it, and say what became of it."""
    taken = claims.claim([id_])
    if not taken:
        return "not waiting"  # delivered already, cancelled, or somebody else has it
    with metrics.busy(taken):
        recorded = delivery.deliver(taken, worker=worker)
    if not recorded:
        return "expired"
    _continue(recorded[0])
    decision, code = recorded[0].decision, recorded[0].code
    if decision.step is Step.RETRY:
        raise TransientError(f"Tried again at {decision.due_at:%H:%M:%S} UTC ({code}).", code=code)
    if decision.step is Step.DEAD_LETTER:
        raise DeliveryFailed(f"{decision.reason} ({code})", code=code)
    return recorded[0].status


def _accept(task: SendTask, earlier: Sequence[Any], fields: dict[str, Any]) -> UUID:
    """Take a message that did not come through our own ``apply_async`` through the same door."""
    request = task.request
    try:
        _only_results_of_earlier_tasks(earlier)
        accepted = submission.submit(
            {**_timing({"expires": request.expires}), **fields},
            id_=id_of(request.id),
            continuation=continuations.of(
                {
                    "link": request.callbacks,
                    "link_error": request.errbacks,
                    "chain": request.chain,
                }
            ),
            rings=False,
        )
    except InvalidNotification as error:
        dead_letters.keep_refused(request.id, fields, error)
        raise
    # The row knows what follows, and calls it when it was sent, not when this task returns.
    request.update(callbacks=None, errbacks=None, chain=None)
    return accepted.id


def _continue(recorded: Recorded) -> None:
    continuation = recorded.claim.continuation
    if not recorded.stale and continuations.follows(continuation, recorded.status):
        continuations.call(recorded.claim.id, recorded.status, continuation or {})


def _worker(task: Task) -> str:
    return str(task.request.hostname or "")


@contextmanager
def _waiting_for_the_database() -> Iterator[None]:
    """While the database is away a message goes back to the broker, and this slot rests."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        for connection in connections.all(initialized_only=True):
            connection.close()
        time.sleep(conf.get("DATABASE_REST"))
        raise Reject(type(error).__name__, requeue=True) from error
