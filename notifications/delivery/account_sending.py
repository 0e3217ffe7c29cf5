"""Sends the messages of a batch that one account carries.

Several senders take messages from it at once, each when its last call is over. Whether to make
another call is decided in one place, between two calls: ``AccountSending._next``.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import islice
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

import structlog

from notifications.channels.base import Message
from notifications.channels.kinds import UnknownKind, provider_class
from notifications.core.attempt import Claim, Outcome, Report, Result, faulted
from notifications.core.conf import conf
from notifications.core.reasons import Reason
from notifications.core.routing import queue_for
from notifications.db import clock
from notifications.delivery import provider_calls
from notifications.delivery.account_assignment import has_another
from notifications.delivery.in_hand import InHand
from notifications.delivery.plan import Ready
from notifications.models import Status
from notifications.providers import health, instances, senders
from notifications.providers.endpoints import FairCalls
from notifications.providers.health import TRIP_AFTER, Tally
from notifications.providers.selection import Choice
from notifications.providers.senders import STUCK_AFTER
from notifications.queueing import making_way
from scheduling import isolation
from scheduling.isolation import Fault

log = structlog.get_logger(__name__)

LEASE_MARGIN = 2.0  # seconds of the lease that are left for recording
BUSY_WAIT = 0.5  # seconds until a message that found no free sender is due again
AT_A_TIME = 50  # messages between two looks, where no call waits for another machine
TICK = 0.005  # seconds between two looks at what came of the calls


class _Ended(NamedTuple):
    """A call that is over."""

    message: Message
    outcome: Outcome


class AccountSending:
    """Messages of one batch that go by one account.

    It is closed when no further call will be begun, and over when the last one has ended, too.
    """

    def __init__(self, choice: Choice, chosen: list[Ready], batch: InHand) -> None:
        claim = chosen[0].claim
        self.choice = choice
        self.name = choice.candidate.name
        self.batch = batch
        self.rank = making_way.rank_of(queue_for(claim.channel, claim.priority))
        self._channel = claim.channel
        self.rows = {row.claim.id: row for row in chosen}
        self.open: dict[UUID, tuple[float, datetime]] = {}  # since when a call is under way
        self.is_closed = self.is_settled = False
        self.broken: Exception | None = None  # what concerns everybody, and a sender met
        self.tally = Tally()
        self._lock = threading.Lock()
        self._unsent: deque[Ready] | FairCalls[Ready] = self._queue(chosen)
        self._has_begun = False
        self._no_sender = False
        self._ended: deque[_Ended] = deque()
        self._late: list[Claim] = []
        self._faults: list[tuple[Claim, Fault]] = []
        self._senders = senders.of(choice.candidate.account)
        self._at_work = 0
        self._looked = (time.monotonic(), 0)
        self._count = 0
        self._here = None if _waits(choice) else self._outcomes()

    def _queue(self, chosen: list[Ready]) -> "deque[Ready] | FairCalls[Ready]":
        return deque(chosen)

    def _can_call(self) -> bool:
        """Return whether any of the unsent may be sent now."""
        return bool(self._unsent)

    @property
    def has_unsent(self) -> bool:
        """Whether there are messages that are still to be sent."""
        return not self.is_closed and bool(self._unsent)

    @property
    def is_over(self) -> bool:
        """Whether all is told."""
        return self.is_closed and not self._at_work and not self._ended

    @property
    def may_outlast(self) -> bool:
        """Whether its calls may go on when the batch is over, even where nobody waits."""
        return False

    @property
    def leaves_some(self) -> bool:
        """Whether something more urgent of its channel is expected, which shall find a sender."""
        return making_way.is_expected(self.rank, self._channel)

    def work(self, wake: threading.Event, *, idle: bool) -> None:
        """See that enough senders work for it; where no call waits for anybody, send here.

        ``idle`` tells that this process has time for more senders.
        """
        if self._here is not None:
            try:
                at_a_time = 1 if making_way.has_more_urgent(self.rank) else AT_A_TIME
                for ended in islice(self._here, at_a_time):
                    self._ended.append(ended)
            except Exception:
                self._here = self._outcomes()  # a generator that raised gives nothing any more
                raise
            return
        if self._close_if_over():
            return
        for _ in range(self._missing(idle=idle)):
            with self._lock:
                self._at_work += 1
            if not self._senders.take(self, lambda: self._send(wake)):
                with self._lock:
                    self._at_work -= 1
                break
        if not self._at_work and time.monotonic() > self.batch.ends:
            self.close(for_want_of_senders=True)

    def _missing(self, *, idle: bool) -> int:
        """Return how many more senders are wanted: more where calls take longer than a tick."""
        if not self._can_call():
            return 0
        if not self._at_work:
            return 1
        now, count = time.monotonic(), self._count
        looked_at, before = self._looked
        if now - looked_at < TICK:
            return 0
        self._looked = (now, count)
        wants_more = idle or count - before < self._at_work
        return min(self._at_work, len(self._unsent)) if wants_more else 0

    def _send(self, wake: threading.Event) -> None:
        """Make calls until there is none to make; run by a sender."""
        try:
            with isolation.contained():
                for ended in self._outcomes():
                    self._ended.append(ended)
                    self._count += 1
                    self._senders.answered()
        except Exception as error:  # noqa: BLE001 -- raised again where it is waited for
            self.broken = error
        finally:
            with self._lock:
                self._at_work -= 1
            wake.set()

    def _outcomes(self) -> Iterator[_Ended]:
        messages = self._messages()
        with ExitStack() as lent:
            try:
                provider = lent.enter_context(instances.lend(self.choice.candidate.account))
            except Exception as error:  # noqa: BLE001 -- an account that cannot be used must not stop the others
                outcome = Outcome(
                    Result.TRANSIENT, code="bad_account", detail=f"{type(error).__name__}: {error}"
                )
                for message in messages:
                    yield self._over(message, outcome)
                return
            for message, outcome in provider_calls.outcomes_of(provider, messages):
                yield self._over(message, outcome)

    def _over(self, message: Message, outcome: Outcome) -> _Ended:
        """Take note of a call that is over, before the next one."""
        row, (started, _) = self.rows[message.id], self.open[message.id]
        self._note(row, outcome, time.monotonic() - started)
        return _Ended(message, outcome)

    def _messages(self) -> Iterator[Message]:
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> Message | None:
        """Decide between two calls of a sender what it is to send; None for nothing more.

        A message that cannot be prepared is passed over, and gets an outcome of its own.
        """
        if self._here is None and not self._senders.is_wanted_of(self):
            making_way.give_way(self.rank)
        with self._lock:
            while not self._close_if_over() and not self._senders.is_wanted_of(self):
                now = clock.now()  # raises in an outage: no message is taken then
                row = self._unsent.popleft()
                if row is None:
                    return None  # each of their endpoints has enough calls open
                try:
                    message = self._prepared(row, now)
                except Exception as error:
                    if isolation.concerns_everybody(error):
                        raise
                    self._faults.append((row.claim, isolation.fault_of(error, "prepare")))
                    continue
                if message is not None:
                    return message
        return None

    def _close_if_over(self) -> bool:
        """Close where all was sent, the time is over, or the account fails or is held.

        One message at least is sent.
        """
        is_late = self._has_begun and time.monotonic() > self.batch.ends
        is_unfit = self.tally.trailing >= TRIP_AFTER or self.name in self.batch.held_accounts
        if is_late or is_unfit or not self._unsent:
            self.is_closed = True
        return self.is_closed

    def _prepared(self, ready: Ready, now: datetime) -> Message | None:
        """Make a message; None where its time is up, or it was withdrawn."""
        left = _seconds_left(ready.claim, now)
        if left <= 0:
            self._late.append(ready.claim)
            return None
        message = _message(ready, now, left, self._longest())
        if not self.batch.hand(message.id):
            return None
        self._has_begun = True
        self.open[message.id] = (time.monotonic(), now)
        return message

    def _longest(self) -> float:
        """Return the seconds that a call may take."""
        return conf.provider_timeout

    def reports(self) -> Iterator[Report]:
        """Yield reports of the calls that ended since the last time.

        Raises an outage; what was not reported then is the next time.
        """
        while self._ended:
            message, outcome = self._ended[0]
            _, started_at = self.open[message.id]
            report = self._report(self.rows[message.id], outcome, started_at)
            self._ended.popleft()
            del self.open[message.id]
            yield report

    def _report(self, ready: Ready, outcome: Outcome, started_at: datetime) -> Report:
        """Report an outcome. A fault here costs the failover, never what the provider said."""
        tried = self.batch.tried[ready.claim.id]
        tried.add(self.name)
        try:
            _log_call(ready.claim, self.name, outcome)
            another = outcome.may_go_on and has_another(ready, tried)
            segments = ready.segments
        except Exception as error:
            if isolation.concerns_everybody(error):
                raise
            isolation.log_faults([(ready.claim, isolation.fault_of(error, "send"))], _id_of)
            another, segments = False, None
        return Report(
            ready.claim, outcome, self.name, started_at, self.choice.reason, another, segments
        )

    def _note(self, ready: Ready, outcome: Outcome, seconds: float) -> None:
        """Count how one attempt ended, unless it says nothing about the provider."""
        if not outcome.local:
            well = outcome.result in (Result.SENT, Result.PERMANENT)
            words = f"{outcome.code} {outcome.detail}".strip()
            with self._lock:
                self.tally.add(well=well, seconds=seconds, error=words)

    def notice(self) -> None:
        """Notice calls that take long."""

    def report(self) -> None:
        """Report to all workers how the account's attempts ended."""
        health.report(self.name, self.tally)

    def stop(self) -> None:
        """Begin no further call, and forget what was not sent."""
        with self._lock:
            self.is_closed = self.is_settled = True
            self.broken = None
            self._unsent.clear()
        self._senders.leave(self)

    def close(self, *, for_want_of_senders: bool = False) -> None:
        """Begin no further call."""
        with self._lock:
            self._no_sender = for_want_of_senders
            self.is_closed = True

    @property
    def waits_for_sender(self) -> bool:
        """Whether all senders of its account work for others."""
        return self.has_unsent and self._here is None and not self._at_work

    @property
    def has_no_sender(self) -> bool:
        """Whether it waits for a sender, and should not: no call of its account ends."""
        return self.waits_for_sender and self._senders.silent_for() > STUCK_AFTER

    def settle(self) -> list[Ready]:
        """End what expired meanwhile, defer what there was no time for; return the rest.

        Called once, when it is closed. The rest was kept from an account that keeps failing, and
        goes on to another one.
        """
        now = clock.now()
        with self._lock:
            self.is_settled = True
            self._senders.leave(self)
            late, faults, unsent = self._late, self._faults, list(self._unsent)
            self._unsent.clear()
        isolation.log_faults(faults, _id_of)
        self.batch.record([faulted(claim, fault, now) for claim, fault in faults])
        expired = [claim for claim in late if claim.expires_by(now)]
        if expired:
            self.batch.finish(expired, Status.EXPIRED, Reason.EXPIRED)
        ended = {claim.id for claim in expired}
        unsent += [self.rows[claim.id] for claim in late if claim.id not in ended]
        unsent = [row for row in unsent if row.claim.id not in self.batch.withdrawn]
        if self.name in self.batch.held_accounts:
            self.batch.withdraw([row.claim for row in unsent], Reason.ACCOUNT_HELD)
            return []
        if self._no_sender:
            due_at = now + timedelta(seconds=BUSY_WAIT)
            self.batch.defer([(row.claim, due_at) for row in unsent], Reason.ACCOUNT_BUSY)
            return []
        if unsent and time.monotonic() > self.batch.ends:
            self.batch.defer([(row.claim, now) for row in unsent], Reason.SLOT_TIME_OVER)
            return []
        for row in unsent:
            self.batch.tried[row.claim.id].add(self.name)
        return unsent

    def move_to(self, batch: InHand) -> None:
        """Go on as a part of another batch."""
        with self._lock:
            self.batch = batch


def _waits(choice: Choice) -> bool:
    """Return whether calls of this account wait for another machine."""
    try:
        return provider_class(choice.candidate.account.kind).waits
    except UnknownKind:  # each message says so
        return True


def _log_call(claim: Claim, account: str, outcome: Outcome) -> None:
    """Log a provider's call with the id of the HTTP request that it came from."""
    if claim.request_id:
        log.info(
            "provider_call",
            request_id=claim.request_id,
            notification=str(claim.id),
            account=account,
            result=outcome.result.value,
            code=outcome.code,
        )


def _id_of(claim: Claim) -> object:
    return claim.id


def _seconds_left(claim: Claim, now: datetime) -> float:
    """Return the seconds that an attempt may take: until the expiry, and within the lease."""
    left = (claim.lease_until - now).total_seconds() - LEASE_MARGIN
    if claim.expires_at is not None:
        left = min(left, (claim.expires_at - now).total_seconds())
    return left


_OF_CLAIM = [name for name in Message._fields if name in Claim._fields]
_values = attrgetter(*_OF_CLAIM)


def _message(ready: Ready, now: datetime, left: float, longest: float) -> Message:
    """Make a message of which ``left`` seconds are left, for an attempt of at most ``longest``."""
    claim = ready.claim
    expires_at = claim.expires_at
    return Message(
        **dict(zip(_OF_CLAIM, _values(claim), strict=True)),
        content=ready.content,
        timeout=min(longest, left),
        deadline=time.monotonic() + left,
        ttl=None if expires_at is None else max(1, int((expires_at - now).total_seconds())),
    )
