"""Notifications in the tests of a project of your own: no broker, no provider, no waiting.

    from notifications import testing

    with testing.sent_notifications() as sent:
        place_order()
        assert [mail.subject for mail in sent] == ["Your order 1"]

What is sent is rendered and delivered by the code that a worker runs, in this process. What a
transaction holds that does not commit, as in Django's ``TestCase``, is delivered when the test
looks; what commits, at once, as do other tasks of the project. ``sent.advance(minutes=10)``
moves the time on, ``sent.fail(error)`` has the provider refuse.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, overload
from uuid import UUID

from django.db.models import Q
from django.test import override_settings

from notifications.canvas import deliveries
from notifications.channels.base import Message
from notifications.core.errors import DeliveryError
from notifications.db import clock
from notifications.models import WAITING, Notification, Status
from notifications.providers import accounts, health
from notifications.queueing import eager
from notifications.testing import recording
from scheduling import clock as database_clock

__all__ = ["Sent", "SentNotifications", "sent_notifications"]


@dataclass(frozen=True, slots=True)
class Sent:
    """What a provider was handed: the finished content of one notification."""

    id: UUID
    channel: str
    recipient: str
    content: Mapping[str, Any]
    """The channel's parts by name; of a mail also its headers, copies and attachments."""

    @property
    def subject(self) -> str:
        """The subject of a mail, the title of a push message, else nothing."""
        return str(self.content.get("subject", self.content.get("title", "")))

    @property
    def text(self) -> str:
        """The text of whatever channel."""
        return str(self.content.get("text", self.content.get("body", "")))

    @property
    def html(self) -> str:
        """The HTML part of a mail, else nothing."""
        return str(self.content.get("html", ""))

    @property
    def notification(self) -> Notification:
        """The row, as it is now."""
        return Notification.objects.get(id=self.id)


@dataclass(slots=True)
class _Failure:
    error: DeliveryError
    channel: str
    recipient: str
    times: int

    def concerns(self, message: Message) -> bool:
        return (
            self.times > 0
            and self.channel in ("", message.channel)
            and self.recipient in ("", message.recipient)
        )


@dataclass(slots=True, eq=False)
class SentNotifications(Sequence[Sent]):
    """What was sent so far, oldest first. To look at it delivers what is due."""

    _sent: list[Sent] = field(default_factory=list)
    _failures: list[_Failure] = field(default_factory=list)
    _moved: timedelta = timedelta()

    @overload
    def __getitem__(self, index: int) -> Sent: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sent]: ...
    def __getitem__(self, index: int | slice) -> Sent | list[Sent]:
        self.deliver()
        return self._sent[index]

    def __len__(self) -> int:
        self.deliver()
        return len(self._sent)

    def __repr__(self) -> str:
        return f"<{len(self._sent)} sent notifications>"

    def to(self, recipient: str) -> list[Sent]:
        """Return what was sent to one recipient."""
        return [sent for sent in self if sent.recipient == recipient]

    def clear(self) -> None:
        """Forget what was sent so far."""
        self.deliver()
        self._sent.clear()

    def fail(
        self,
        error: DeliveryError,
        *,
        channel: str = "",
        recipient: str = "",
        times: int = 1_000_000,
    ) -> None:
        """Have the provider fail with ``error`` so many times: for a channel, a recipient or all.

        ``TransientError`` is tried again when its wait is over, ``PermanentError`` is not.
        """
        self._failures.append(_Failure(error, channel, recipient, times))

    def heal(self) -> None:
        """Have the provider take everything again."""
        self._failures.clear()

    @property
    def now(self) -> datetime:
        """The time that notifications live by."""
        return clock.now()

    def advance(self, **by: float) -> None:
        """Move on by a ``timedelta(**by)``, and deliver what falls due meanwhile in its order.

        Raises ``ValueError`` for a time that is not to come.
        """
        wait = timedelta(**by)
        if wait < timedelta():
            raise ValueError("The time cannot be set back.")
        self.deliver()
        end = self._moved + wait
        while (due_at := self._next_due()) is not None:
            if self._moved + (due_at - clock.now()) > end:
                break
            # Each move measures the distance to the database's clock anew, and may find less.
            while (ahead := due_at - clock.now()) > timedelta():
                self._move_to(self._moved + ahead)
            if not self.deliver():
                break  # it is held
        self._move_to(max(end, self._moved))
        self.deliver()

    def deliver(self) -> int:
        """Deliver what is due, committed or not; return how many notifications were tried."""
        tried = 0
        now = clock.now()
        due = Q(status=Status.QUEUED) | Q(status=Status.SCHEDULED, due_at__lte=now)
        found = Notification.objects.filter(due).order_by("scheduled_at", "id")
        for id_ in list(found.values_list("id", flat=True)):
            try:
                tried += deliveries.deliver_one(id_, worker="") != deliveries.NOT_WAITING
            except DeliveryError:
                tried += 1  # what came of it is in the row
        return tried

    def _next_due(self) -> datetime | None:
        waiting = Notification.objects.filter(status__in=WAITING, due_at__isnull=False)
        return waiting.order_by("due_at").values_list("due_at", flat=True).first()

    def _move_to(self, moved: timedelta) -> None:
        self._moved = moved
        database_clock.move(moved)
        clock.forget()
        health.forget()  # a circuit that was open closes as time goes by

    def take(self, message: Message) -> None:
        """Take a message as the provider does. Raises what ``fail`` was told."""
        for failure in self._failures:
            if failure.concerns(message):
                failure.times -= 1
                raise failure.error
        sent = Sent(message.id, message.channel, message.recipient, dict(message.content))
        self._sent.append(sent)


@contextmanager
def sent_notifications() -> Iterator[SentNotifications]:
    """Have nothing reach a broker or a provider; give what is sent instead."""
    sent = SentNotifications()
    with ExitStack() as stack:
        stack.enter_context(override_settings(REDIS_URL=""))
        stack.enter_context(eager.turned_on())
        stack.enter_context(recording.to(sent.take))
        stack.enter_context(accounts.using(recording.KIND))
        stack.callback(health.forget)
        stack.callback(clock.forget)
        stack.callback(database_clock.move, timedelta())
        yield sent
