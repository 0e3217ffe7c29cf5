"""What a channel and a provider are."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from django.http import HttpRequest

from notifications.errors import DeliveryError, PermanentError, TransientError, UnknownOutcome
from notifications.retry import Outcome, Result

Content = Mapping[str, Any]


class Message(NamedTuple):
    """What a provider is handed: finished content, with the id that stays the same on each try.

    ``content`` holds the channel's parts (email: subject, text, html). ``timeout`` is in
    seconds and shorter than the lease: a provider must give up within it. ``ttl`` is how many
    whole seconds the message is still of use, None for ever.
    """

    id: UUID
    channel: str
    recipient: str
    content: Content
    attempt: int
    timeout: float
    expires_at: datetime | None = None
    ttl: int | None = None
    metadata: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Account:
    """What a provider is made from: settings, and secrets that were looked up already."""

    name: str
    channel: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Receipt:
    """One thing that a provider tells of one message.

    ``event`` is delivered, failed, bounced (the address does not exist), complained or
    unsubscribed. ``notification_id`` is given where the provider sends our own id back.
    """

    event: str
    provider_message_id: str = ""
    notification_id: UUID | None = None
    recipient: str = ""
    code: str = ""
    detail: str = ""


class ForgedCallback(Exception):
    """The callback does not carry the provider's signature."""


class Provider:
    """One way of handing messages over. Subclasses write ``send``, or ``send_many`` if faster.

    ``setting_names`` and ``secret_names`` say what an account of this kind needs, and
    ``optional`` which of these may be left out. Making one connects to nobody.
    """

    kind: ClassVar[str]
    channels: ClassVar[tuple[str, ...]]
    setting_names: ClassVar[Mapping[str, str]] = {}
    secret_names: ClassVar[Mapping[str, str]] = {}
    optional: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, account: Account) -> None:
        self.account = account

    def send(self, message: Message) -> str:
        """Hand one message over and give the provider's id for it, or ``""``.

        Raises ``PermanentError``, ``TransientError`` or ``UnknownOutcome``.
        """
        raise NotImplementedError

    def send_many(self, messages: Iterable[Message]) -> Iterator[tuple[Message, Outcome]]:
        """Hand messages over and yield each with its outcome, as soon as it has one.

        Never raises for one of them. ``messages`` ends early when time is up, so that it
        should not be read further ahead than can be sent at once.
        """
        for message in messages:
            yield message, self.outcome_of(message)

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

    def receipts(self, request: HttpRequest) -> list[Receipt]:
        """Read what the provider tells us by calling ``/webhooks/<account>``.

        Raises ``ForgedCallback`` where it is not the provider that calls, and ``ValueError``
        for what makes no sense.
        """
        raise ForgedCallback(f"{self.kind} sends no callbacks.")

    def close(self) -> None:
        """Let go of kept connections."""


def failed(error: DeliveryError) -> Outcome:
    """Turn a provider's error into an outcome."""
    result = next(result for kind, result in _RESULTS.items() if isinstance(error, kind))
    return Outcome(
        result,
        code=error.code,
        detail=error.detail,
        reason=error.reason,
        local=error.local,
        retry_after=error.retry_after if isinstance(error, TransientError) else None,
    )


_RESULTS: dict[type[DeliveryError], Result] = {
    PermanentError: Result.PERMANENT,
    TransientError: Result.TRANSIENT,
    UnknownOutcome: Result.UNKNOWN,
    DeliveryError: Result.UNKNOWN,
}


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
