"""What can go wrong at submission, and what a provider's answer means.

Two families: ``InvalidNotification`` refuses bad input before a row exists, and
``DeliveryError`` says what happens next to an attempt that did not succeed.
"""

from collections.abc import Sequence


class NotificationError(Exception):
    """The root of every error that this package raises on purpose."""


class InvalidNotification(NotificationError, ValueError):
    """A submission was refused: no row was written and no message published.

    ``field`` names the offending argument and ``hint`` says how to mend it. ``others`` are the
    further faults, where all were looked for.
    """

    others: "Sequence[InvalidNotification]" = ()

    def __init__(self, message: str, *, field: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.field = field
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.field, self.hint))


def _rebuild(
    cls: type[InvalidNotification], message: str, field: str, hint: str
) -> InvalidNotification:
    return cls(message, field=field, hint=hint)


class UnknownArgument(InvalidNotification):
    """The submission has a field that does not exist."""


class MalformedRow(InvalidNotification):
    """A row of a file cannot be read: it has the wrong number of cells, or an open quotation."""


class UnknownChannel(InvalidNotification):
    """There is no such channel."""


class UnknownProject(InvalidNotification):
    """There is no such project, or what belongs to one names another."""


class UnknownCategory(InvalidNotification):
    """The project has no category of this name."""


class UnknownAccount(InvalidNotification):
    """The channel has no provider account of this name."""


class UnknownPriority(InvalidNotification):
    """The priority is none of high, medium and low."""


class UnknownGuarantee(InvalidNotification):
    """The guarantee is none of at_least_once and at_most_once."""


class UnknownTemplate(InvalidNotification):
    """No published template has this name, or it is for another channel."""


class TestRecipientRefused(InvalidNotification):
    """A test message may not go to this recipient."""

    __test__ = False  # not a class of tests, for pytest


class InvalidContext(InvalidNotification):
    """The context is not JSON, or lacks what the template needs."""


class MissingContent(InvalidNotification):
    """There is neither a template nor a body, or there are both."""


class MalformedRecipient(InvalidNotification):
    """The recipient is not an address of its channel."""


class UnknownRecipient(InvalidNotification):
    """There is no stored recipient with this id, or it has no address of the channel."""


class UnknownAudience(InvalidNotification):
    """The project has no audience of this name."""


class InvalidFilter(InvalidNotification):
    """The filter of an audience has a condition that is malformed, or too many of them."""


class UnindexedFilter(InvalidNotification):
    """No index serves the filter of an audience: it would read every recipient of everybody."""


class InvalidWindow(InvalidNotification):
    """The delivery window never opens."""


class UnknownChain(InvalidNotification):
    """The project has no chain of this name."""


class InvalidChain(InvalidNotification):
    """The chain has no step, too many, or one that would never be sent."""


class InvalidTime(InvalidNotification):
    """The due time or the expiry is malformed or impossible."""


class InvalidRetryPolicy(InvalidNotification):
    """The retry policy has an unknown field or an impossible value."""


class InvalidField(InvalidNotification):
    """A plain field has the wrong type, is too long or holds a character that cannot be kept."""


class NoProvider(InvalidNotification):
    """No provider account carries this channel, and the built-in outbox is off."""


class InvalidFollower(InvalidNotification):
    """What is to follow in a canvas is not a signature, or names a task that does not exist."""


class UnsupportedForm(InvalidNotification):
    """Celery has this form of call; for a notification it would mean nothing."""


class IdempotencyConflict(InvalidNotification):
    """The idempotency key, or the id, was used before with other content."""


class FaultyRow(InvalidNotification):
    """One row among many raised what nobody foresaw, while it was checked or written."""

    @classmethod
    def of(cls, error: str) -> "FaultyRow":
        """Return the exception's class alone: its text may hold content."""
        return cls(f"This row cannot be accepted ({error}).", field="")


class DeliveryError(NotificationError):
    """An attempt did not succeed. ``code`` is the provider's own: ``550``, ``HTTP 503``."""

    reason = ""  # what the attempt's outcome gives as its reason
    local = False  # whether the trouble is this recipient's alone, not the provider's
    elsewhere = False  # whether another account may take what this one refused for good

    def __init__(self, detail: str, *, code: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code


class PermanentError(DeliveryError):
    """Trying again cannot help: straight to the dead letters.

    ``elsewhere`` says that another account may take it: that one is asked first.
    """

    def __init__(self, detail: str, *, code: str = "", elsewhere: bool = False) -> None:
        super().__init__(detail, code=code)
        self.elsewhere = elsewhere


class InvalidRecipient(PermanentError):
    """The address itself is dead (a hard bounce, an unregistered device): it gets suppressed."""

    reason = "invalid_recipient"


class EndpointGone(InvalidRecipient):
    """The endpoint does not exist any more: it is disabled until an operator enables it."""


class TransientError(DeliveryError):
    """The provider refused for now and did not deliver: safe to try again.

    ``retry_after`` is the provider's own wish in seconds, where it gave one.
    """

    def __init__(self, detail: str, *, code: str = "", retry_after: float | None = None) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class AccountRefused(TransientError):
    """The refusal is about the account (its credentials, sender, address or limits).

    Nothing was delivered. The operator mends it, and meanwhile another account may serve.
    """


class UnknownOutcome(DeliveryError):
    """The provider may or may not have delivered: repeated only where that is allowed."""


class DeliveryFailed(DeliveryError):
    """There will be no further attempt: the notification is among the dead letters."""


class ReplayRefused(NotificationError):
    """A dead letter cannot be sent again; the text says why."""
