"""Sends messages to endpoints: each recipient has a server of its own, which may be slow."""

import time
from uuid import UUID

from notifications.channels.kinds import UnknownKind, provider_class
from notifications.core.attempt import Outcome, Result
from notifications.core.conf import conf
from notifications.delivery.account_sending import AccountSending
from notifications.delivery.in_hand import InHand
from notifications.delivery.plan import Ready
from notifications.providers import endpoints
from notifications.providers.endpoints import FairCalls, endpoint_of
from notifications.providers.selection import Choice
from scheduling import isolation

PATIENCE = 2.0  # seconds that an endpoint's call gets before it counts as slow


class EndpointSending(AccountSending):
    """Sends to recipients that have a server each: webhooks and status callbacks."""

    _unsent: FairCalls[Ready]

    def __init__(self, choice: Choice, chosen: list[Ready], batch: InHand) -> None:
        self._slow: set[UUID] = set()  # calls that were reported while they were open
        self._calls_endpoints = _calls_endpoints(choice)
        super().__init__(choice, chosen, batch)
        self._calls = self._unsent

    def _queue(self, chosen: list[Ready]) -> FairCalls[Ready]:
        return FairCalls([(_endpoint(row), row) for row in chosen], known=self.batch.slow)

    @property
    def may_outlast(self) -> bool:
        now = time.monotonic()
        patience = min(PATIENCE, conf.batch_time_limit)
        return self._calls_endpoints and all(
            now - started > patience for started, _ in list(self.open.values())
        )

    def _can_call(self) -> bool:
        return self._calls.has_callable

    def _longest(self) -> float:
        # Customers choose the endpoints: while many calls are open, a call gets the batch's time.
        if self._calls_endpoints and self._senders.busy <= self._senders.limit / 2:
            return conf.endpoint_timeout
        return min(super()._longest(), conf.batch_time_limit)

    def _note(self, ready: Ready, outcome: Outcome, seconds: float) -> None:
        super()._note(ready, outcome, seconds)
        answered = outcome.result is not Result.UNKNOWN
        with self._lock:
            is_reported = ready.claim.id in self._slow
            if not is_reported:
                self._calls.ended(_endpoint(ready), seconds, answered=answered)
        if is_reported:
            endpoints.report(_endpoint(ready), seconds, answers=answered, known=True)

    def notice(self) -> None:
        """Report endpoints that let a call wait when the batch is over: the others' calls wait."""
        now = time.monotonic()
        if now <= self.batch.ends:
            return
        patience = min(PATIENCE, conf.batch_time_limit)
        with self._lock:
            late = [
                (id_, now - started)
                for id_, (started, _) in self.open.items()
                if now - started > patience and id_ not in self._slow
            ]
            for id_, seconds in late:
                self._slow.add(id_)
                self._calls.ended(_endpoint(self.rows[id_]), seconds, answered=False)
        if late:
            with isolation.aside("health"):
                self._calls.report()

    def report(self) -> None:
        super().report()
        self._calls.report()


def sending_of(choice: Choice, chosen: list[Ready], batch: InHand) -> AccountSending:
    """Return what sends these messages by an account."""
    claim = chosen[0].claim
    of_endpoints = claim.channel in endpoints.CHANNELS and not claim.test
    return (EndpointSending if of_endpoints else AccountSending)(choice, chosen, batch)


def _calls_endpoints(choice: Choice) -> bool:
    try:
        return provider_class(choice.candidate.account.kind).calls_endpoints
    except UnknownKind:  # each message says so
        return False


def _endpoint(ready: Ready) -> str:
    return endpoint_of(ready.claim.channel, ready.claim.recipient)
