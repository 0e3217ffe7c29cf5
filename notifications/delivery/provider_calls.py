"""What a provider makes of the messages that it is given: one outcome for each, whatever it does.

A provider of another package may raise between two outcomes, forget a message, tell of one twice
or of one that it was never given. Each costs the message that it is about: what has an outcome
keeps it, what was not taken yet is sent, and what the provider took and tells nothing of has an
unknown outcome, as if the worker had been lost.
"""

from collections.abc import Iterable, Iterator
from typing import TypeGuard
from uuid import UUID

import structlog
from celery.exceptions import SoftTimeLimitExceeded

from notifications.channels.base import Message, Provider, failed, of_a_bug
from notifications.core.attempt import Outcome, Result
from notifications.core.errors import DeliveryError
from notifications.core.reasons import Reason
from scheduling.isolation import contained, fault_of

log = structlog.get_logger(__name__)

_END = object()  # of what a provider tells

NO_OUTCOME = "no_outcome"  # the code of a message that the provider took and told nothing of
NOT_AN_OUTCOME = "not_an_outcome"  # of one that it told something else of


def outcomes_of(
    provider: Provider, messages: Iterable[Message]
) -> Iterator[tuple[Message, Outcome]]:
    """Have a provider send messages; yield each that it took with its outcome, once.

    Never raises for a message. What ``messages`` itself raises passes, after the outcomes of what
    was taken before it.
    """
    calls = _Calls(provider, iter(messages))
    while calls.has_more:
        yield from calls.call()
    if calls.broken is not None:
        raise calls.broken


class _Calls:
    """The calls of one provider's ``send_many`` that it takes until all messages are through."""

    def __init__(self, provider: Provider, messages: Iterator[Message]) -> None:
        self._provider = provider
        self._messages = messages
        self._taken: dict[UUID, Message] = {}  # and without an outcome
        self._most = provider.read_ahead
        self._took_any = False
        self.has_more = True
        self.broken: Exception | None = None

    def call(self) -> Iterator[tuple[Message, Outcome]]:
        """Call it once, with as many messages as it takes."""
        fault: Exception | None = None
        outcomes = None
        self._took_any = False
        try:
            with contained():
                outcomes = iter(self._provider.send_many(self._feed()))
        except Exception as error:  # noqa: BLE001 -- see ``_next``
            fault = error
        while outcomes is not None:
            item, fault = self._next(outcomes)
            if item is _END:
                break
            if (known := self._checked(item)) is not None:
                yield known
        if fault is not None or self._taken:
            self._most = 1  # what it does next shall concern one message alone
        yield from self._left(fault)

    def _next(self, outcomes: Iterator[object]) -> tuple[object, Exception | None]:
        try:
            with contained():
                return next(outcomes, _END), None
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:  # noqa: BLE001 -- even a database's: it is the provider's own affair
            return _END, error

    def _feed(self) -> Iterator[Message]:
        """Return messages while few are without an outcome; it is called again for the others."""
        while len(self._taken) < self._most:
            message = self._following()
            if message is None:
                return
            yield message

    def _following(self) -> Message | None:
        try:
            message = next(self._messages, None)
        except Exception as error:  # noqa: BLE001 -- raised again, after the outcomes
            self.broken = error
            message = None
        if message is None:
            self.has_more = False
            return None
        self._took_any = True
        self._taken[message.id] = message
        return message

    def _checked(self, item: object) -> tuple[Message, Outcome] | None:
        """Take what a provider yields for an outcome of a message that has none, if it is that."""
        message, outcome = item if isinstance(item, tuple) and len(item) == 2 else (None, None)
        if not isinstance(message, Message) or message.id not in self._taken:
            log.error(
                "provider_breaks_contract", kind=self._provider.kind, told="of no open message"
            )
            return None
        taken = self._taken.pop(message.id)
        return taken, outcome if _is_outcome(outcome) else _unsound(NOT_AN_OUTCOME)

    def _left(self, error: Exception | None) -> Iterator[tuple[Message, Outcome]]:
        """Yield outcomes of the messages that were taken and that nothing is known of."""
        took_any, left = self._took_any, list(self._taken.values())
        self._taken.clear()
        if not took_any and self.has_more and (message := self._following()) is not None:
            # It did not even look at a message: this one was not handed over.
            self._taken.clear()
            yield message, _outcome_of(error, handed=False)
            return
        if left or error is not None:
            _log(self._provider.kind, left, error)
        for message in left:
            # With several nobody knows which one raised; each may have been handed over. What
            # one of them did tells nothing of the account, if the others suffer with it.
            outcome = _outcome_of(error, handed=True, alone=len(left) == 1)
            yield message, outcome._replace(local=outcome.local or message is not left[0])


def _is_outcome(value: object) -> TypeGuard[Outcome]:
    return (
        isinstance(value, Outcome)
        and isinstance(value.result, Result)
        and isinstance(value.code, str)
        and isinstance(value.detail, str)
        and isinstance(value.reason, str)
        and isinstance(value.provider_message_id, str)
    )


def _outcome_of(error: Exception | None, *, handed: bool, alone: bool = True) -> Outcome:
    if isinstance(error, DeliveryError) and alone:
        return failed(error)
    outcome = of_a_bug(error) if error is not None else _unsound(NO_OUTCOME)
    return outcome if handed else outcome._replace(result=Result.TRANSIENT)


def _unsound(code: str) -> Outcome:
    return Outcome(
        Result.UNKNOWN,
        code=code,
        reason=Reason.PROVIDER_ERROR,
        detail="The provider's code did not report an outcome.",
    )


def _log(kind: str, left: list[Message], error: Exception | None) -> None:
    fault = fault_of(error, "send") if error is not None else None
    log.error(
        "provider_breaks_contract",
        kind=kind,
        told=f"raised {fault.error}" if fault else "too few outcomes",
        at=fault.place if fault else "",
        notifications=[str(message.id) for message in left[:5]],
        count=len(left),
    )
