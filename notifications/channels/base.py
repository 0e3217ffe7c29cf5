"""What a channel and a provider are."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar
from uuid import UUID

from celery.exceptions import SoftTimeLimitExceeded
from django.http import HttpRequest

from notifications.channels.mail import FIELDS
from notifications.channels.outgoing import Reach
from notifications.core.attempt import Content, Message, Outcome, Result
from notifications.core.errors import DeliveryError, PermanentError, TransientError, UnknownOutcome
from notifications.core.reasons import Reason
from scheduling.isolation import contained, fault_of
from templates_engine.values import own_chat_parts

__all__ = [
    "Account",
    "Channel",
    "Content",
    "Fit",
    "ForgedCallback",
    "Message",
    "Provider",
    "Receipt",
    "Reply",
    "failed",
    "of_a_bug",
    "setting_problem",
]


@dataclass(frozen=True, slots=True)
class Account:
    """What a provider is made from: settings, and secrets that were looked up already."""

    name: str
    channel: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    reach: Reach = Reach.ACCOUNT
    """Who chose its server: an administrator, or who wrote the settings."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One event that a provider reports about one message.

    ``event`` is delivered, failed, bounced (the address does not exist), delayed, complained or
    unsubscribed. ``notification_id`` is given where the provider sends our own id back.
    """

    event: str
    provider_message_id: str = ""
    notification_id: UUID | None = None
    recipient: str = ""
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """A message that somebody has sent to one of our numbers.

    ``is_answered`` if the provider has answered it by itself. ``id`` is the provider's own, the
    same each time that it tells of this message; empty for none.
    """

    sender: str
    text: str
    is_answered: bool = False
    id: str = ""


class ForgedCallback(Exception):
    """The callback does not carry the provider's signature."""


class Fit(IntEnum):
    """How well a recipient's form suits a provider."""

    NO = 0  # it is another provider's
    POSSIBLE = 1
    CERTAIN = 2  # nobody else's looks like it


class Provider:
    """One way of handing messages over. Subclasses write ``send``, or ``send_many`` if faster.

    ``setting_names`` and ``secret_names`` say what an account of this kind needs, and
    ``optional`` which of these may be left out. ``without`` says what takes the place of a setting
    that accounts of other kinds have. Making one connects to nobody.
    """

    kind: ClassVar[str]
    channels: ClassVar[tuple[str, ...]]
    setting_names: ClassVar[Mapping[str, str]] = {}
    secret_names: ClassVar[Mapping[str, str]] = {}
    optional: ClassVar[frozenset[str]] = frozenset()
    without: ClassVar[Mapping[str, str]] = {}
    option_names: ClassVar[frozenset[str]] = frozenset()  # the options that it carries
    mail_fields: ClassVar[frozenset[str]] = frozenset()
    """What it carries of ``channels.mail.FIELDS``; a mail that has more is not sent by it."""
    calls_endpoints: ClassVar[bool] = False  # each recipient has a server of its own
    waits: ClassVar[bool] = True  # for another machine, when it sends
    at_once: ClassVar[int] = 8
    """Calls that a process makes at once, unless the account's setting ``connections`` says it.

    Each is made by a provider of its own, which one thread at a time uses, unless ``is_shared``.
    """
    is_shared: ClassVar[bool] = False  # by several threads at once
    read_ahead: ClassVar[int] = 32
    """Messages that ``send_many`` is given before it has yielded an outcome of one of them."""

    @classmethod
    def takes(cls, recipient: str) -> Fit:
        """Tell by its form whether a recipient is one of this provider's.

        Asked on channels whose recipients are of several kinds (``Channel.is_mixed``).
        """
        return Fit.POSSIBLE

    @classmethod
    def refuses(cls, content: Content) -> str:
        """Return why no account of this kind could ever send this content, ``""`` if one could."""
        return ""

    @classmethod
    def setting_problems(cls, settings: Mapping[str, Any]) -> list[str]:
        """Say what is wrong with the values of an account's settings; empty if nothing is."""
        return []

    @classmethod
    def secret_problem(cls, name: str, value: str) -> str:
        """Say why a secret cannot be used, with no part of it; ``""`` if it can, as far as seen."""
        return ""

    def __init__(self, account: Account) -> None:
        self.account = account

    def send(self, message: Message) -> str:
        """Hand one message over and give the provider's id for it, or ``""``.

        Raises ``PermanentError``, ``TransientError`` or ``UnknownOutcome``.
        """
        raise NotImplementedError

    def send_many(self, messages: Iterable[Message]) -> Iterator[tuple[Message, Outcome]]:
        """Hand messages over and yield each with its outcome, as soon as it has one.

        Never raises for one of them. ``messages`` ends early when time is up, or when
        ``read_ahead`` of them have no outcome yet: it should not be read further ahead than can
        be sent at once. What was read and gets no outcome counts as perhaps delivered.
        """
        for message in messages:
            yield message, self.outcome_of(message)

    def outcome_of(self, message: Message) -> Outcome:
        """Send one message and turn whatever happens into a value."""
        try:
            with contained():
                if problem := self.refuses(message.content) or self._lacks(message.content):
                    return _unsendable(problem)
                return Outcome(Result.SENT, provider_message_id=self.send(message))
        except DeliveryError as error:
            return failed(error)
        except Exception as error:
            if isinstance(error, SoftTimeLimitExceeded):
                raise
            # A bug in one provider must cost one attempt, visibly, not the worker.
            return of_a_bug(error)

    def _lacks(self, content: Content) -> str:
        missing = (_FIELDS_OF_MAIL & content.keys()) - self.mail_fields
        return f"{self.kind} carries no {min(missing)}." if missing else ""

    def receipts(self, request: HttpRequest) -> "list[Receipt] | list[Reply]":
        """Read the receipts, or the replies of recipients, in a request to ``/webhooks/<account>``.

        Raises ``ForgedCallback`` where it is not the provider that calls, and ``ValueError``
        for what makes no sense.
        """
        raise ForgedCallback(f"{self.kind} sends no callbacks.")

    def close(self) -> None:
        """Let go of kept connections."""


_FIELDS_OF_MAIL = FIELDS.keys() - {"html", "headers"}  # which templates have, too


def _unsendable(problem: str) -> Outcome:
    return Outcome(Result.PERMANENT, code="content", detail=problem, local=True, elsewhere=True)


def setting_problem(name: str, settings: Mapping[str, Any], check: Callable[[str], object]) -> str:
    """Say what ``check`` (raises ``ValueError``) has against a setting, ``""`` for nothing."""
    value = settings.get(name, "")
    if not isinstance(value, str):
        return f"{name}: It must be text."
    try:
        check(value)
    except ValueError as error:
        return f"{name}: {error}"
    return ""


def failed(error: DeliveryError) -> Outcome:
    """Turn a provider's error into an outcome."""
    result = next(result for kind, result in _RESULTS.items() if isinstance(error, kind))
    return Outcome(
        result,
        code=error.code,
        detail=error.detail,
        reason=error.reason,
        local=error.local,
        elsewhere=error.elsewhere,
        retry_after=error.retry_after if isinstance(error, TransientError) else None,
    )


def of_a_bug(error: Exception) -> Outcome:
    """Turn what a provider should not have raised into an outcome, which has not its text."""
    fault = fault_of(error, "send")
    return Outcome(
        Result.UNKNOWN,
        code=fault.error[:50],
        reason=Reason.PROVIDER_ERROR,
        detail=f"An error in the provider's code, at {fault.place}.",
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
    ``MalformedRecipient``. ``single_line`` names the parts that become a header. Where a channel
    ``is_mixed`` its recipients are of several kinds, and a provider says which it takes.
    """

    name: str
    clean_recipient: Callable[[str], str]
    body_part: str
    subject_part: str | None = None
    single_line: tuple[str, ...] = ()
    is_mixed: bool = False

    def own_content(self, subject: str, body: str) -> dict[str, str]:
        """Make the content of a notification that has no template."""
        content = own_chat_parts(body) if self.name == "chat" else {self.body_part: body}
        if self.subject_part:
            content[self.subject_part] = subject
        return content
