"""Publishes claimed fires: ordinary tasks in one broker batch, others through their own door."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from celery import Celery, Task
from django.db import Error as DatabaseError
from django_celery_beat.models import PeriodicTask
from kombu.exceptions import BatchPublishError, OperationalError
from kombu.messaging import Producer
from kombu.utils.json import loads

from scheduling import conditions, ledger
from scheduling.changes import set_aside
from scheduling.claims import BATCH
from scheduling.models import Fire, FireStatus, Guarantee
from scheduling.sender import Sender

logger = logging.getLogger(__name__)

FIRE_HEADER = "scheduling_fire"
DESTINATION = ("queue", "exchange", "routing_key", "priority")
HARD_TIMEOUT_MARGIN = 5.0
"""Seconds from the soft time limit, which a task may catch, to the hard one."""


@dataclass(frozen=True)
class Message:
    """A fire, ready to be published. ``task`` is ``None`` if it is not registered here."""

    fire: Fire
    name: str
    task: Task | None
    args: Sequence[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    """For ``apply_async``; the id makes a second publication of the same fire recognisable."""

    @property
    def is_done_when_accepted(self) -> bool:
        """Whether the task's ``apply_async`` itself is durable and idempotent by task id."""
        return bool(getattr(self.task, "accepted_is_done", False))


def publish(app: Celery, fires: Sequence[Fire]) -> None:
    """Publish claimed fires and record that they were.

    What the broker refuses stays claimed and is tried again; what can never be published fails
    with its reason. Neither stops the others.
    """
    through_broker: list[Message] = []
    for fire in fires:
        message = _message(app, fire)
        if message is None:
            continue
        if message.is_done_when_accepted:
            _send_through_its_door(message)
        else:
            through_broker.append(message)
    if through_broker:
        _publish_batch(app, through_broker)


def _message(app: Celery, fire: Fire) -> Message | None:
    """Read a fire's message; ``None`` if it must not, or cannot, be published."""
    row = fire.schedule.periodic_task
    if not _is_wanted(fire):
        return None
    try:
        return Message(
            fire=fire,
            name=row.task,
            task=app.tasks.get(row.task),
            args=_read(row.args, list),
            kwargs=_read(row.kwargs, dict),
            options=_options(fire, row),
        )
    except ValueError as error:
        set_aside(fire.schedule, error)
        _fail(fire, error)
        return None


def _options(fire: Fire, row: PeriodicTask) -> dict[str, Any]:
    """Give the options for ``apply_async``: id, headers, queue, priority, expiry, …"""
    options: dict[str, Any] = {
        name: value for name in DESTINATION if (value := getattr(row, name)) not in {None, ""}
    }
    if row.expires_:
        options["expires"] = row.expires_
    timeout = fire.schedule.timeout_seconds
    if timeout is not None:
        options["soft_time_limit"] = timeout
        options["time_limit"] = timeout + HARD_TIMEOUT_MARGIN
    fire_id = str(fire.pk)
    headers = {"periodic_task_name": row.name, "celery_beat_task": True, FIRE_HEADER: fire_id}
    return options | {"task_id": fire_id, "headers": _read(row.headers, dict) | headers}


def _read(text: str, empty: type[list[Any] | dict[str, Any]]) -> Any:
    """Read a row's JSON, which most often is empty. Raises ``ValueError``."""
    return empty() if text in {"", "[]", "{}"} else loads(text)


def _is_wanted(fire: Fire) -> bool:
    """Ask the schedule's condition; a fire asked for by hand needs none."""
    if fire.by_hand:
        return True
    schedule = fire.schedule
    try:
        if conditions.holds(schedule.condition, schedule.periodic_task, fire.scheduled_for):
            return True
    except Exception as error:  # noqa: BLE001 - the boundary: a condition is anybody's code
        _fail(fire, error)
        return False
    ledger.finish([fire], FireStatus.SKIPPED_CONDITION)
    return False


def _send_through_its_door(message: Message) -> None:
    assert message.task is not None  # noqa: S101 - it has said that it is done when accepted
    try:
        message.task.apply_async(message.args, message.kwargs, **message.options)
    except (DatabaseError, OperationalError, OSError) as error:
        _postpone([message.fire], error)
    except Exception as error:  # noqa: BLE001 - the boundary: one broken row stops no other
        _fail(message.fire, error)
    else:
        ledger.finish([message.fire], FireStatus.SUCCEEDED, dispatched=True)


def _publish_batch(app: Celery, messages: Sequence[Message]) -> None:
    with app.producer_pool.acquire(block=True) as producer:
        refusals = (
            OperationalError,
            BatchPublishError,
            *producer.connection.connection_errors,
            *producer.connection.channel_errors,
        )
        try:
            producer.connection.ensure_connection(max_retries=1, timeout=1)
        except refusals as error:
            _postpone([message.fire for message in messages], error)
            return
        messages = _mark_those_published_at_most_once(messages)
        try:
            accepted = _send_all(app, producer, messages)
        except refusals as error:
            producer.connection.collapse()
            _postpone([message.fire for message in messages], error)
            return
    _record_published(accepted)


def _send_all(app: Celery, producer: Producer, messages: Iterable[Message]) -> list[Message]:
    """Send messages in one batch; give those that the task accepted."""
    accepted = []
    sender = Sender(app, producer)
    with producer.batch(BATCH):
        for message in messages:
            try:
                sender.send(
                    message.name, message.task, message.args, message.kwargs, message.options
                )
            except (OperationalError, OSError):
                raise
            except Exception as error:  # noqa: BLE001 - the boundary: one row stops no other
                _fail(message.fire, error)
            else:
                accepted.append(message)
    return accepted


def _mark_those_published_at_most_once(messages: Iterable[Message]) -> list[Message]:
    """Mark them dispatched *before* they are published; leave out what somebody else marked."""
    return [
        message
        for message in messages
        if not _is_at_most_once(message) or ledger.mark_dispatched([message.fire])
    ]


def _record_published(messages: Iterable[Message]) -> None:
    """Record what the broker took."""
    followed = [
        message.fire
        for message in messages
        if message.task is not None and not _is_at_most_once(message)
    ]
    handed_over = [message.fire for message in messages if message.task is None]
    ledger.mark_dispatched(followed)
    ledger.finish(handed_over, FireStatus.HANDED_OVER, dispatched=True)


def _is_at_most_once(message: Message) -> bool:
    return message.fire.schedule.guarantee == Guarantee.AT_MOST_ONCE


def _postpone(fires: Sequence[Fire], error: Exception) -> None:
    logger.warning("%s fires could not be published yet: %s", len(fires), error)
    ledger.postpone(fires, error)


def _fail(fire: Fire, error: Exception) -> None:
    """Fail a fire that can never be published, with its reason."""
    logger.error("Schedule %s cannot be published: %s", fire.schedule_id, error)
    ledger.finish([fire], FireStatus.FAILED, error=f"{type(error).__name__}: {error}")
