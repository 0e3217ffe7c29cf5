"""Publishes claimed fires: ordinary tasks in one broker batch, others by their own `apply_async`.

The same for each backend: a ``Book`` reads a fire's message and records what became of it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from celery import Celery
from kombu.messaging import Producer

from scheduling import isolation, outages
from scheduling.messages import Message
from scheduling.sender import Sender

BATCH = 250
"""Messages that the broker is given at once."""

AnyFire = Any
"""A fire as its backend has it."""


class Book(Protocol):
    """What publishing wants of a backend."""

    def is_wanted(self, fire: AnyFire) -> bool:
        """Ask the schedule's condition. Raises what the condition raises."""
        ...

    def message_of(self, app: Celery, fire: AnyFire) -> Message:
        """Read the message of a fire. Raises ``MalformedMessage``."""
        ...

    def is_at_most_once(self, fire: AnyFire) -> bool:
        """Whether the fire must not run twice, even if its end is not known."""
        ...

    def mark(self, fire: AnyFire) -> bool:
        """Mark a fire dispatched *before* it is published; return whether it was still claimed."""
        ...

    def mark_dispatched(self, fires: Sequence[AnyFire]) -> int:
        """Record that fires are published."""
        ...

    def skip(self, fire: AnyFire) -> None:
        """End a fire whose condition said no."""
        ...

    def done(self, fire: AnyFire) -> None:
        """End a fire whose task is done when it is accepted."""
        ...

    def postpone(self, fires: Sequence[AnyFire], error: BaseException) -> None:
        """Leave fires claimed that cannot be published during an outage."""
        ...

    def fail(self, fire: AnyFire, error: BaseException) -> None:
        """End a fire that cannot be published, with its reason."""
        ...

    def refuse(self, fire: AnyFire, error: BaseException) -> None:
        """End a fire that cannot be read or published, and quarantine its schedule."""
        ...


def publish(app: Celery, book: Book, fires: Iterable[AnyFire]) -> None:
    """Publish claimed fires and record that they were.

    What an outage keeps back stays claimed and is tried again; what can never be published fails
    with its reason. Neither stops the others.
    """
    through_broker: list[Message] = []
    for fire in fires:
        message = _message(app, book, fire)
        if message is None:
            continue
        if message.is_done_when_accepted:
            _call_apply_async(book, message)
        else:
            through_broker.append(message)
    if through_broker:
        _publish_batch(app, book, through_broker)


class contained:  # noqa: N801 -- a context manager reads as a verb
    """Have whatever its block raises become the outcome of a fire.

    An outage leaves the fire claimed, to be tried again soon; a fault fails it. ``quarantines``
    tells the schedule's own faults from those of a person's code, which may do better next time.
    """

    def __init__(self, book: Book, fire: AnyFire, *, quarantines: bool) -> None:
        self._book, self._fire, self._quarantines = book, fire, quarantines

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if error is None or isinstance(error, (KeyboardInterrupt, GeneratorExit)):
            return False
        with isolation.aside("ending a fire"):  # one whose row takes no write costs no other
            if outages.is_outage(error) or isinstance(error, OSError):
                self._book.postpone([self._fire], error)
            elif self._quarantines:
                self._book.refuse(self._fire, error)
            else:
                self._book.fail(self._fire, error)
        return True


def _message(app: Celery, book: Book, fire: AnyFire) -> Message | None:
    """Read a fire's message; ``None`` if it must not, or cannot, be published."""
    with contained(book, fire, quarantines=False):
        if not (fire.by_hand or book.is_wanted(fire)):
            book.skip(fire)
            return None
        with contained(book, fire, quarantines=True):
            return book.message_of(app, fire)
    return None


def _call_apply_async(book: Book, message: Message) -> None:
    assert message.task is not None  # noqa: S101 -- it has said that it is done when accepted
    with contained(book, message.fire, quarantines=False):
        message.task.apply_async(message.args, message.kwargs, **message.options)
        book.done(message.fire)


def _publish_batch(app: Celery, book: Book, messages: Sequence[Message]) -> None:
    with app.producer_pool.acquire(block=True) as producer:
        try:
            producer.connection.ensure_connection(max_retries=1, timeout=1)
        except Exception as error:  # noqa: BLE001 -- no message had a part in it
            book.postpone([message.fire for message in messages], error)
            return
        # What may run at most once is marked first; what somebody else has marked is left out.
        marked = {id(m) for m in messages if book.is_at_most_once(m.fire)}
        messages = [m for m in messages if id(m) not in marked or _mark(book, m.fire)]
        try:
            accepted = _send_all(app, book, producer, messages)
        except Exception as error:  # noqa: BLE001 -- what is a message's own, _send_all has kept
            producer.connection.collect()
            book.postpone([message.fire for message in messages], error)
            return
    published = [message.fire for message in accepted if id(message) not in marked]
    isolation.halving(published, book.mark_dispatched, stage="marking fires", key=_id_of)


def _id_of(fire: AnyFire) -> object:
    return fire.id


def _mark(book: Book, fire: AnyFire) -> bool:
    """Mark one fire dispatched; false also of one whose row takes no write: it is not published."""
    marked, _ = isolation.each([fire], book.mark, stage="marking a fire", key=_id_of)
    return any(marked)


def _send_all(
    app: Celery, book: Book, producer: Producer, messages: Sequence[Message]
) -> list[Message]:
    """Send messages in one batch; return those that were sent. Raises outages of the broker.

    What a full queue refuses is tried again soon; other queues take their messages.
    """
    accepted: list[Message] = []
    sender = Sender(app, producer)
    with producer.batch(BATCH):
        for message in messages:
            try:
                sender.send(
                    message.name, message.task, message.args, message.kwargs, message.options
                )
            except Exception as error:
                if outages.is_full_queue(error):
                    book.postpone([message.fire], error)
                    continue
                if _tells_of_the_broker(error, producer):
                    raise
                book.refuse(message.fire, error)
                sender.renew_channel(error)
            else:
                accepted.append(message)
    return accepted


def _tells_of_the_broker(error: Exception, producer: Producer) -> bool:
    errors = producer.connection.connection_errors
    # A Redis transport counts KeyError for a reason of its own; here it is a row's fault.
    is_lost = isinstance(error, (OSError, *errors)) and not isinstance(error, KeyError)
    return is_lost or outages.is_outage(error)
