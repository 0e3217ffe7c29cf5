"""The claims that a worker has in hand: which of them have no outcome yet, and how they get one."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from threading import Lock
from typing import TypeVar
from uuid import UUID

from notifications.core.attempt import Claim, Report, faulted
from notifications.core.conf import conf
from notifications.core.reasons import Reason
from notifications.core.retry import Step
from notifications.db import clock
from notifications.delivery import chain_steps, claims, outcomes
from notifications.delivery.outcomes import Recorded
from notifications.delivery.plan import Plan
from notifications.models import Status
from notifications.queueing import held
from notifications.queueing.making_way import Slot
from scheduling import isolation, sound_connection, watch
from scheduling.isolation import Fault

T = TypeVar("T")

LOOK_EVERY = 0.25  # seconds between two looks at what was cancelled, paused or held meanwhile


@dataclass(slots=True)
class InHand:
    """The claims of one batch, the time that they may hold a worker, and their outcomes.

    An outage of the database is waited out in place: outcomes are kept in memory, and unsent
    messages are deferred as soon as the database is back.

    ``stage`` names the present step. ``earlier`` names the accounts that failed a
    message in earlier attempts, ``tried`` those that did in this batch; ``slow`` the endpoints
    that have an allowance. ``handed`` holds what a provider was given, ``withdrawn`` what
    it shall not be given any more, and ``held_accounts`` names the accounts that shall get nothing.
    ``slot`` is the worker's slot that waits for them, None outside of a worker; ``follow`` is
    called with what is recorded in the background, and ``elsewhere`` has another thread write what
    the background has no connection for.
    """

    worker: str
    slot: Slot | None = None
    follow: Callable[[list[Recorded]], object] = lambda _: None
    elsewhere: watch.Elsewhere | None = None
    ends: float = field(default_factory=lambda: time.monotonic() + conf.batch_time_limit)
    lease_ends: float = field(default_factory=lambda: time.monotonic() + conf.lease)
    stage: str = ""
    tried: dict[UUID, set[str]] = field(default_factory=lambda: defaultdict(set))
    earlier: Mapping[UUID, Sequence[str]] = field(default_factory=dict)
    slow: Collection[str] = ()
    handed: set[UUID] = field(default_factory=set)
    withdrawn: set[UUID] = field(default_factory=set)
    held_accounts: Collection[str] = ()
    recorded: list[Recorded] = field(default_factory=list)
    _look_at: float = field(default_factory=lambda: time.monotonic() + LOOK_EVERY)
    _open: dict[UUID, Claim] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def take(self, taken: Iterable[Claim]) -> None:
        """Begin with these claims; none of them has an outcome yet."""
        for claim in taken:
            self._open[claim.id] = claim
            self.handed.discard(claim.id)
            self.withdrawn.discard(claim.id)

    def look_again(self) -> None:
        """Withdraw what was cancelled, paused or held meanwhile, and no provider has yet.

        To be called between two calls of a provider: it looks at most once in ``LOOK_EVERY``
        seconds, with one statement for all claims in hand.
        """
        if time.monotonic() < self._look_at:
            return
        unsent = [claim for id_, claim in list(self._open.items()) if id_ not in self.handed]
        with isolation.aside("look"):
            rows, self.held_accounts = held.among([claim.id for claim in unsent])
            self.withdraw([claim for claim in unsent if claim.id in rows], Reason.HELD)
        self._look_at = time.monotonic() + LOOK_EVERY

    def hand(self, id_: UUID) -> bool:
        """Note that a provider is given a message; False where it was withdrawn.

        Safe to be called by another thread than the batch's own.
        """
        with self._lock:
            if id_ in self.withdrawn:
                return False
            self.handed.add(id_)
        return True

    def withdraw(self, some: Sequence[Claim], reason: str) -> None:
        """Defer claims that no provider has, due now: they wait with what holds them."""
        now = clock.now()  # raises in an outage: nothing is withdrawn then
        with self._lock:
            withdrawn = [claim for claim in some if claim.id not in self.handed]
            self.withdrawn.update(claim.id for claim in withdrawn)
        self.defer([(claim, now) for claim in withdrawn], reason)

    def left(self, some: Iterable[Claim], *, handed: bool = False) -> list[Claim]:
        """Return those of some claims without an outcome that were (not) handed over."""
        # An id is hashed in Python: each look costs more than all else here.
        open_ = [own for claim in some if (own := self._open.get(claim.id)) is not None]
        if not self.handed:
            return [] if handed else open_
        return [claim for claim in open_ if (claim.id in self.handed) is handed]

    def record(self, reports: Sequence[Report]) -> list[Claim]:
        """Write outcomes; return the claims anew that go on at once to another account."""
        if not reports:
            return []
        # For as long as it takes: nobody else knows what the provider said.
        recorded = self._wait_out(
            lambda: outcomes.record(reports, worker=self.worker), until=math.inf
        )
        self._ended(report.claim for report in reports)
        going_on = [
            r.claim.id for r in recorded if r.decision.step is Step.FAIL_OVER and not r.stale
        ]
        self.recorded += [r for r in recorded if r.decision.step is not Step.FAIL_OVER]
        again = self.wait_out(lambda: claims.claim(going_on))
        self.take(again)
        if not any(claim.chain_run for claim in again):
            return again
        # Between the two attempts another step of the chain may have been let through.
        self.apply(self.wait_out(lambda: chain_steps.plan(again)))
        return self.left(again)

    def wait_out(self, call: Callable[[], T]) -> T:
        """Call again while the database is out, for as long as these claims are ours.

        A worker begins with a session that is in no transaction: a provider or a filter of a
        template may have left one open, in which nothing would be committed.
        """
        return self._wait_out(call, until=self.lease_ends)

    def _wait_out(self, call: Callable[[], T], *, until: float) -> T:
        return watch.wait_out(partial(self._soundly, call), until, self.elsewhere)

    def _soundly(self, call: Callable[[], T]) -> T:
        if self.worker:
            sound_connection.leave_transaction()
        return call()

    def part(self, ids: Iterable[UUID]) -> "InHand":
        """Give those of these claims that have no outcome away, to a batch of their own."""
        open_ = {id_: self._open.pop(id_) for id_ in ids if id_ in self._open}
        if self.slot is not None:
            self.slot.left += len(open_)
        return replace(self, recorded=[], _open=open_)

    def end_open(self, fault: Fault) -> None:
        """End all that have no outcome with a fault of ours."""
        now = clock.now()
        self.record(
            [
                faulted(claim, fault, now, handed=claim.id in self.handed)
                for claim in list(self._open.values())
            ]
        )

    def defer(self, slots: Sequence[tuple[Claim, datetime]], reason: str) -> None:
        """Defer claims, each to its own time."""
        self.wait_out(lambda: outcomes.defer(slots, reason))
        self._ended(claim for claim, _ in slots)

    def finish(self, ended: Sequence[Claim], status: Status, reason: str) -> None:
        """End claims without a provider call."""
        self.wait_out(lambda: outcomes.finish(ended, status, reason))
        self._ended(ended)

    def apply(self, plan: Plan) -> None:
        """Write what a plan defers, ends and records."""
        for reason, slots in plan.defer.items():
            self.defer(slots, reason)
        for (status, reason), ended in plan.end.items():
            self.finish(ended, status, reason)
        self.record(plan.record)

    def _ended(self, ended: Iterable[Claim]) -> None:
        for claim in ended:
            self._open.pop(claim.id, None)
