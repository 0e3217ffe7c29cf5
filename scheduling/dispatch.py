"""Publishes claimed fires: ordinary tasks in one broker batch, others through their own door."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from celery import Celery, Task
from django.db import Error as DatabaseError
from kombu.exceptions import BatchPublishError, OperationalError
from kombu.messaging import Producer

from scheduling import conditions, ledger
from scheduling.changes import set_aside
from scheduling.claims import BATCH
from scheduling.entry import Entry
from scheduling.models import Fire, FireStatus, Guarantee

logger = logging.getLogger(__name__)

FIRE_HEADER = "scheduling_fire"
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

    @property
    def is_done_when_accepted(self) -> bool:
        """Whether the task's ``apply_async`` itself is durable and idempotent by task id."""
        return bool(getattr(self.task, "accepted_is_done", False))

    def send(self, app: Celery, **how: Any) -> None:
        """Publish it; the id makes a second publication of the same fire recognisable."""
        if self.task is None:
            app.send_task(self.name, self.args, self.kwargs, **self.options, **how)
        else:
            self.task.apply_async(self.args, self.kwargs, **self.options, **how)


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
            _send_through_its_door(app, message)
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
        entry = Entry(row, app=app)
    except ValueError as error:
        set_aside(fire.schedule, error)
        _fail(fire, error)
        return None
    options = entry.publish_options()
    options["task_id"] = str(fire.pk)
    options["headers"][FIRE_HEADER] = str(fire.pk)
    timeout = fire.schedule.timeout_seconds
    if timeout is not None:
        options["soft_time_limit"] = timeout
        options["time_limit"] = timeout + HARD_TIMEOUT_MARGIN
    return Message(fire, row.task, app.tasks.get(row.task), entry.args, entry.kwargs, options)


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


def _send_through_its_door(app: Celery, message: Message) -> None:
    try:
        message.send(app)
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
    with producer.batch(BATCH):
        for message in messages:
            try:
                message.send(app, producer=producer, retry=False)
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
