"""A provider of another package that breaks the contract of ``send_many`` costs only its message.

Each of these sends real batches of 60 and keeps what it was asked to send.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Never

import pytest

from notifications.channels import kinds
from notifications.channels.base import Provider
from notifications.core.attempt import Outcome, Result
from notifications.core.errors import PermanentError
from notifications.db import clock
from notifications.delivery import claims, pipeline
from notifications.delivery.provider_calls import NO_OUTCOME, NOT_AN_OUTCOME
from notifications.models import Notification, ProviderAccount, Status
from notifications.providers import accounts, health
from notifications.submission import send_many
from tests.integration.notifications.faults import ERRORS, EXITS

SENT = Outcome(Result.SENT)
pytestmark = pytest.mark.usefixtures("no_content_in_logs")


class Pigeons(Provider):
    """Sends one by one, and yields an outcome after each; the message to ``bad`` is its trouble."""

    kind = "pigeons"
    channels = ("chat",)
    flown: Counter[str] = Counter()

    def send_many(self, messages: Any) -> Iterator[Any]:
        for message in messages:
            if message.recipient.endswith("bad"):
                yield from self.trouble(message)
            else:
                yield message, self.fly(message)

    def fly(self, message: Any) -> Any:
        self.flown[message.recipient] += 1
        return SENT

    def trouble(self, message: Any) -> Iterator[Any]:
        raise NotImplementedError


class Raises(Pigeons):
    """Raises between two yields, before it sent anything of the message."""

    error: BaseException = ValueError("Dear Ada")

    def trouble(self, message: Any) -> Iterator[Any]:
        raise self.error


class RaisesAfterwards(Pigeons):
    """Raises when the message is sent already."""

    def trouble(self, message: Any) -> Iterator[Any]:
        raise ValueError(self.fly(message))


class Forgets(Pigeons):
    """Yields fewer outcomes than it was given messages."""

    def trouble(self, message: Any) -> Iterator[Any]:
        yield from ()


class TellsTwice(Pigeons):
    """Yields a message twice, the second time as refused."""

    def trouble(self, message: Any) -> Iterator[Any]:
        yield message, self.fly(message)
        yield message, Outcome(Result.PERMANENT)


class TellsOfAStranger(Pigeons):
    """Yields a message that it was never given."""

    def trouble(self, message: Any) -> Iterator[Any]:
        yield message._replace(id=message.id.__class__(int=7)), SENT
        yield message, self.fly(message)


class TellsNonsense(Pigeons):
    """Yields something else than an outcome."""

    def trouble(self, message: Any) -> Iterator[Any]:
        yield message, "sent"


class TellsNoPair(Pigeons):
    """Yields something else than a message with its outcome."""

    def trouble(self, message: Any) -> Iterator[Any]:
        yield None
        yield message, self.fly(message)


class Stops(Pigeons):
    """Ends early, and leaves the rest unread."""

    def send_many(self, messages: Any) -> Iterator[Any]:
        for message in messages:
            yield message, self.fly(message)
            if message.recipient.endswith("bad"):
                return


class ReadsAll(Pigeons):
    """Reads all that it is given before it sends, and raises in the middle."""

    def send_many(self, messages: Any) -> Iterator[Any]:
        for message in list(messages):
            if message.recipient.endswith("bad"):
                raise ValueError
            yield message, self.fly(message)


class OneByOne(Provider):
    """Sends as most do, one message at a time."""

    kind = "pigeons"
    channels = ("chat",)
    error: BaseException = SystemExit()
    flown: Counter[str] = Counter()

    def send(self, message: Any) -> str:
        if message.recipient.endswith("bad"):
            raise self.error
        self.flown[message.recipient] += 1
        return ""


class DoesNotBegin(Pigeons):
    """Raises at the call, before it read a message."""

    def send_many(self, messages: Any) -> Never:
        raise ValueError


@pytest.fixture
def sent_by(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Send 60 messages by a provider of this class; return the one to ``bad`` and the others."""

    def send(provider: Any, **common: Any) -> Any:
        provider.flown = Counter()
        monkeypatch.setitem(kinds.KINDS, "pigeons", f"{__name__}.{provider.__name__}")
        kinds.provider_class.cache_clear()
        ProviderAccount.objects.create(name=provider.__name__, kind="pigeons", channel="chat")
        accounts.forget()
        health.forget()
        names = [f"p{number}" for number in range(60)]
        names[7] = "p7bad"
        fields = {"channel": "chat", "body": "Hello", **common}
        batch = send_many([{"recipient": name} for name in names], **fields).batch
        deliver_all()
        rows = Notification.objects.filter(batch=batch)
        return rows.get(recipient="p7bad"), rows.exclude(recipient="p7bad")

    yield send
    kinds.provider_class.cache_clear()
    accounts.forget()
    health.forget()


def deliver_all() -> None:
    pipeline.deliver(claims.claim_due("chat", "medium", 100), worker="test")


def assert_sent_once(others: Any, flown: Any) -> None:
    assert set(others.values_list("status", "attempt_count")) == {(Status.SENT, 1)}
    assert [flown[row.recipient] for row in others] == [1] * 59


@pytest.mark.parametrize(
    ("provider", "result", "code"),
    [
        (Raises, "unknown", "ValueError"),
        (RaisesAfterwards, "unknown", "ValueError"),
        (Forgets, "unknown", NO_OUTCOME),
        (TellsTwice, "sent", ""),
        (TellsOfAStranger, "sent", ""),
        (TellsNonsense, "unknown", NOT_AN_OUTCOME),
        (TellsNoPair, "sent", ""),
        (Stops, "sent", ""),
    ],
)
def test_a_breach_costs_the_message_that_it_is_about(
    sent_by: Callable[..., Any], provider: Any, result: str, code: Any
) -> None:
    bad, others = sent_by(provider)
    assert_sent_once(others, provider.flown)
    attempt = bad.attempts.get()
    assert (attempt.result, attempt.code) == (result, code)


@pytest.mark.parametrize(
    "error", [*ERRORS, *EXITS, ConnectionError("Dear Ada")], ids=lambda error: type(error).__name__
)
def test_it_may_raise_anything(sent_by: Callable[..., Any], error: Any) -> None:
    Raises.error = error
    bad, others = sent_by(Raises)
    assert_sent_once(others, Raises.flown)
    assert (bad.attempts.get().code, bad.reason) == (type(error).__name__, "provider_error")


@pytest.mark.parametrize("error", EXITS, ids=lambda error: type(error).__name__)
def test_what_would_end_the_process_costs_one_message_of_one_that_sends_one_by_one(
    sent_by: Callable[..., Any], error: Any
) -> None:
    OneByOne.error = error
    bad, others = sent_by(OneByOne)
    assert_sent_once(others, OneByOne.flown)
    assert (bad.attempts.get().code, bad.reason) == (type(error).__name__, "provider_error")


def test_an_error_of_ours_that_it_raises_means_what_it_says(sent_by: Callable[..., Any]) -> None:
    Raises.error = PermanentError("There is no such loft.", code="404")
    bad, others = sent_by(Raises)
    assert_sent_once(others, Raises.flown)
    assert (bad.status, bad.attempts.get().code) == (Status.FAILED, "404")


def test_at_most_once_holds_for_what_it_tells_nothing_of(sent_by: Callable[..., Any]) -> None:
    bad, others = sent_by(RaisesAfterwards, guarantee="at_most_once")
    assert_sent_once(others, RaisesAfterwards.flown)
    assert (bad.status, bad.reason) == (Status.FAILED, "outcome_unknown")
    assert RaisesAfterwards.flown["p7bad"] == 1


def test_what_it_reads_ahead_is_bounded_and_the_rest_is_sent_one_by_one(
    sent_by: Callable[..., Any],
) -> None:
    _, others = sent_by(ReadsAll)
    assert max(ReadsAll.flown.values()) == 1
    waiting = others.filter(status=Status.SCHEDULED)
    assert others.filter(status=Status.SENT).count() == 59 - waiting.count()
    assert waiting.count() < ReadsAll.read_ahead
    due = clock.now() - timedelta(seconds=1)
    others.filter(status=Status.SCHEDULED).update(due_at=due)
    deliver_all()
    assert [ReadsAll.flown[row.recipient] for row in others] == [1] * 59


def test_one_that_does_not_begin_has_delivered_nothing(sent_by: Callable[..., Any]) -> None:
    bad, others = sent_by(DoesNotBegin, guarantee="at_most_once")
    assert not DoesNotBegin.flown
    assert bad.status == Status.SCHEDULED
    assert set(others.values_list("status", flat=True)) == {Status.SCHEDULED}
