"""Sends tasks as Celery's ``apply_async`` does, many at a time for a fraction of its cost.

What is the same for a whole batch is asked once: settings, the task's own options, its queue's
binding to the channel. The rest goes through Celery's public parts: router, message, publish.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from celery import Celery, Task
from celery.app.task import extract_exec_options
from kombu.entity import Queue
from kombu.messaging import Producer
from kombu.transport import virtual

FOR_THE_MESSAGE = ("time_limit", "soft_time_limit", "ignore_result", "task_id")


class Unroutable(LookupError):
    """A message for an exchange to which no queue is bound: a broker would drop it in silence."""


class Sender:
    """Sends messages by one producer."""

    def __init__(self, app: Celery, producer: Producer) -> None:
        self._app = app
        self._producer = producer
        self._is_eager: bool = app.conf.task_always_eager
        self._tells_of_sending: bool = app.conf.task_send_sent_event
        self._reply_to: str = app.thread_oid
        self._own_options: dict[str, dict[str, Any]] = {}
        self._bound: dict[str, Queue] = {}
        self._routable: set[tuple[str, str]] = set()

    def send(
        self,
        name: str,
        task: Task | None,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> None:
        """Send one task; ``task`` is ``None`` if it is not registered here.

        Raises ``TypeError`` for arguments that do not fit, ``QueueNotFound``,
        ``Unroutable``, and what the broker raises.
        """
        if task is not None and (self._is_eager or not _is_sent_as_usual(task)):
            task.apply_async(args, kwargs, producer=self._producer, retry=False, **options)
            return
        if task is not None and task.typing:
            task.__header__(*args, **kwargs)
        asked = {**self._options_of(task), **options}
        for_the_message = {key: asked.pop(key, None) for key in FOR_THE_MESSAGE}
        expires = asked.pop("expires", None)
        routed = self._app.amqp.router.route(asked, name, args, kwargs, task)
        self._refuse_unroutable(routed)
        if expires is not None:
            routed["expiration"] = self._seconds_until(expires)
        message = self._message(name, args, kwargs, expires=expires, **for_the_message)
        if not for_the_message["ignore_result"]:
            self._app.backend.on_task_call(self._producer, for_the_message["task_id"])
        declare = self._declare(routed.get("queue"))
        self._app.amqp.send_task_message(
            self._producer, name, message, retry=False, declare=declare, **routed
        )

    def _message(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], **properties: Any
    ) -> Any:
        return self._app.amqp.create_task_message(
            name=name,
            args=args,
            kwargs=kwargs,
            reply_to=self._reply_to,
            create_sent_event=self._tells_of_sending,
            # Empty: what a job is given may be personal, and Flower and events would show it.
            argsrepr="",
            kwargsrepr="",
            **properties,
        )

    def renew_channel(self, error: Exception) -> None:
        """Take another channel, if the broker closed this one for a message's fault."""
        connection = self._producer.connection
        if isinstance(error, connection.channel_errors) and not self._is_virtual:
            connection.collect()
            self._producer.revive(connection)
            self._bound.clear()

    @property
    def _is_virtual(self) -> bool:
        return isinstance(self._producer.channel, virtual.Channel)

    def _refuse_unroutable(self, routed: Mapping[str, Any]) -> None:
        """Ask as the publish will; a broker that has exchanges of its own refuses by itself."""
        name = routed.get("exchange")
        queue = routed.get("queue")
        if not name or (queue is not None and name == queue.exchange.name):
            return
        name, key = str(name), routed.get("routing_key") or getattr(queue, "routing_key", "") or ""
        if (name, key) in self._routable or not self._is_virtual:
            return
        channel = self._producer.channel
        kind = channel.typeof(name)
        if kind.type != "fanout" and not kind.lookup(channel.get_table(name), name, key, None):
            raise Unroutable(f"No queue is bound to the exchange {name!r} for this message.")
        self._routable.add((name, key))

    def _options_of(self, task: Task | None) -> dict[str, Any]:
        if task is None:
            return {}
        if task.name not in self._own_options:
            options = {**extract_exec_options(task), "ignore_result": task.ignore_result}
            self._own_options[task.name] = {
                name: value for name, value in options.items() if value is not None
            }
        return self._own_options[task.name]

    def _declare(self, queue: Queue | None) -> list[Queue] | None:
        """Return the queue, bound to the channel: binding it is the dearest part of a publish."""
        if queue is None:
            return None
        if queue.name not in self._bound:
            self._bound[queue.name] = queue.bind(self._producer.channel)
        return [self._bound[queue.name]]

    def _seconds_until(self, expires: datetime | float) -> float:
        if not isinstance(expires, datetime):
            return expires
        seconds: float = (expires - self._app.now()).total_seconds()
        return max(seconds, 0.0)


def _is_sent_as_usual(task: Task) -> bool:
    """Return whether nobody has changed how this task is sent."""
    kind = type(task)
    return (
        kind.apply_async is Task.apply_async
        and kind.shadow_name is Task.shadow_name
        and task._dump_pydantic_arguments is None  # noqa: SLF001 -- Celery has no public way to ask
    )
