"""What a channel and a provider are."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from notifications.errors import DeliveryError, PermanentError, TransientError, UnknownOutcome
from notifications.retry import Outcome, Result

Content = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """What a provider is handed: finished content, with the id that stays the same on each try.

    ``content`` holds the channel's parts (email: subject, text, html). ``timeout`` is in
    seconds and shorter than the lease: a provider must give up within it.
    """

    id: UUID
    channel: str
    recipient: str
    content: Content
    attempt: int
    timeout: float
    expires_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Provider:
    """One way of handing messages over. Subclasses write ``send``, or ``send_many`` if faster."""

    name: ClassVar[str]

    def send(self, message: Message) -> str:
        """Hand one message over and give the provider's id for it, or ``""``.

        Raises ``PermanentError``, ``TransientError`` or ``UnknownOutcome``.
        """
        raise NotImplementedError

    def send_many(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        """Hand messages over in order and yield one outcome each; never raises for one of them."""
        for message in messages:
            yield self.outcome_of(message)

    def outcome_of(self, message: Message) -> Outcome:
        """Send one message and turn whatever happens into a value."""
        try:
            return Outcome(Result.SENT, provider_message_id=self.send(message))
        except DeliveryError as error:
            return failed(error)
        except Exception as error:  # noqa: BLE001 -- a bug in one provider must cost one attempt, visibly, not the worker
            return Outcome(
                Result.UNKNOWN,
                code=type(error).__name__,
                reason="provider_error",
                detail=str(error),
            )

    def close(self) -> None:
        """Let go of kept connections."""


def failed(error: DeliveryError) -> Outcome:
    """Turn a provider's error into an outcome."""
    results: dict[type[DeliveryError], Result] = {
        PermanentError: Result.PERMANENT,
        TransientError: Result.TRANSIENT,
        UnknownOutcome: Result.UNKNOWN,
    }
    return Outcome(
        results[type(error)],
        code=error.code,
        detail=error.detail,
        retry_after=error.retry_after if isinstance(error, TransientError) else None,
    )


@dataclass(frozen=True, slots=True)
class Channel:
    """A kind of address, with the parts that its content has.

    ``clean_recipient`` gives the recipient in its canonical form or raises
    ``MalformedRecipient``. ``single_line`` names the parts that become a header.
    """

    name: str
    clean_recipient: Callable[[str], str]
    body_part: str
    subject_part: str | None = None
    single_line: tuple[str, ...] = ()
