"""The classes of the tasks: what Celery's ways to call a task do with a notification."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn
from uuid import uuid5

from celery import Task
from celery.exceptions import Retry

from notifications import submission
from notifications.canvas import deliveries, signatures
from notifications.canvas.results import LocalResult, NotificationResult, id_of
from notifications.core.conf import conf
from notifications.core.errors import InvalidField, UnsupportedForm
from notifications.queueing import send_rate
from notifications.submission.fields import Fields
from scheduling.transactions import after_commit


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
        accepted = submit(args or (), kwargs or {}, task_id, options)
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
        accepted = submit(args or (), kwargs or {}, task_id, options, publish=False)
        throws = self.app.conf.task_eager_propagates if throw is None else throw
        deliver = partial(deliveries.deliver_here, accepted.id, throw=throws)
        after_commit(deliver, raises=throws)
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


def _unsupported(form: str) -> UnsupportedForm:
    return UnsupportedForm(
        f"{form} passes unnamed arguments, and a notification's fields are named.",
        field="args",
        hint="Use send_many(rows), or group(send_notification.s(**fields) for fields in rows).",
    )


def submit(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    task_id: str | None,
    options: Mapping[str, Any],
    *,
    publish: bool = True,
) -> submission.Submission:
    """Accept what a call of ``SendTask`` asks for.

    In a chain Celery puts the result of the task before in front; a send has no use for it. Raises
    a subclass of ``InvalidNotification``.
    """
    if len(args) > 1:
        raise unnamed()
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


def unnamed() -> InvalidField:
    """Return what refuses arguments that have no names."""
    return InvalidField(
        "A notification's fields are named.", field="args", hint="Pass them as kwargs."
    )
