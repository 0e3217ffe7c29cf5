"""Sends rendered messages: assigns them to accounts, sends, records and fails over.

A failover is a retry without a wait: the attempt is recorded, the row is due at once, and the
same worker claims it again for the next account. If the worker dies in between, the row is due.
"""

import threading
import time
from datetime import timedelta

from notifications.core.attempt import Report
from notifications.core.reasons import Reason
from notifications.db import clock
from notifications.delivery import background
from notifications.delivery.account_assignment import assign, failed_earlier, within_allowances
from notifications.delivery.account_sending import TICK, AccountSending
from notifications.delivery.endpoint_sending import sending_of
from notifications.delivery.in_hand import InHand
from notifications.delivery.plan import Ready
from notifications.providers import endpoints
from scheduling import isolation, outages, watch

RECORD_EVERY = 250  # outcomes; what a crash can double is at most what was not yet recorded
RECORD_AFTER = 0.5  # seconds
SPARE_AFTER = 0.004  # seconds that a batch keeps a slot in which it sends nothing more for now
IDLE = 0.25  # of a processor that this process uses: below it there is time for more calls


def send_batch(ready: list[Ready], batch: InHand) -> None:
    """Send rendered messages of one channel, and record the outcomes.

    Returns early if the slot is wanted: then the process goes on in the background. A slot sends
    only while the background has a connection to record over; else its messages are deferred.
    """
    if batch.slot is None or not ready:
        _send(ready, batch)
        return
    with background.connected() as is_connected:
        if is_connected:
            _send(ready, batch)
        else:
            due_at = clock.now() + timedelta(seconds=watch.FIRST_BACKOFF)
            batch.defer([(row.claim, due_at) for row in ready], Reason.NO_CONNECTION)


def _send(ready: list[Ready], batch: InHand) -> None:
    sending = BatchSending(ready, batch)
    try:
        while sending.step() and not sending.should_leave():
            sending.wait()
    except BaseException:
        sending.stop()
        raise
    finally:
        if sending.is_under_way:
            background.attend(sending)


class BatchSending:
    """Messages of one batch on their way to one or more accounts.

    ``step`` never waits for a provider, so whoever drives it may leave it to another thread.

    An outage that a step meets ends nothing while the claims last: calls under way go on, what
    came of them is kept, and the step is done again.
    """

    def __init__(self, ready: list[Ready], batch: InHand) -> None:
        batch.stage = "choose"
        self.batch = batch
        self._ready = {row.claim.id: row for row in ready}
        if ready and ready[0].claim.channel in endpoints.CHANNELS:
            ready, batch.slow, plan = within_allowances(ready)
            batch.apply(plan)
        batch.earlier = failed_earlier(ready)
        self._unassigned = ready
        self._sendings: list[AccountSending] = []
        self._reports: list[Report] = []
        self._record_at = 0.0
        self._is_left = self._is_stopped = False
        self._waits_until = 0.0  # for a server that is out
        self._spare_since: float | None = None  # since when this batch has no use for its slot
        self._wake = threading.Event()
        self._looked = (time.monotonic(), time.process_time())

    @property
    def is_under_way(self) -> bool:
        """Whether a call is open, or an outcome is to be recorded."""
        return bool(self._sendings or self._unassigned or self._reports)

    @property
    def has_unsent(self) -> bool:
        """Whether there are messages that are still to be sent."""
        return bool(self._unassigned) or any(sending.has_unsent for sending in self._sendings)

    def wait(self) -> None:
        """Wait for a moment, or until there is something to be done."""
        self._wake.wait(TICK)
        self._wake.clear()

    def step(self) -> bool:
        """Take what came of the calls, and begin others; False when all is over."""
        if time.monotonic() >= self._waits_until:
            try:
                self._advance()
            except Exception as error:
                is_waited_out = outages.is_outage(error) and not isolation.is_of_a_row(error)
                if not is_waited_out:
                    raise
                backoff = watch.database_outage(error)
                self._waits_until = time.monotonic() + (
                    watch.FIRST_BACKOFF if backoff is None else backoff
                )
        return self.is_under_way

    def _advance(self) -> None:
        """Do what a step does. What raises an outage has changed nothing that is not done yet."""
        self._take_in()
        self.batch.look_again()
        self._assign()
        self.batch.stage = "send"
        idle = self._is_idle()
        for sending in self._sendings:
            sending.work(self._wake, idle=idle)
            sending.notice()
            if self._is_left and sending.has_no_sender:
                sending.close(for_want_of_senders=True)

    def should_leave(self) -> bool:
        """Return whether to give the slot up: it is wanted, or this batch has no more use for it.

        A batch needs no slot shortly after its last message was sent (quick answers are still
        recorded in the slot), and while all senders of its accounts work for others. It keeps the
        slot while the background has no connection: then the outcomes are recorded over the slot's.
        """
        return self._has_no_use_for_the_slot() and background.has_connection()

    def _has_no_use_for_the_slot(self) -> bool:
        slot, now = self.batch.slot, time.monotonic()
        if slot is None:
            is_late = now > self.batch.ends and not self.has_unsent
            return is_late and all(sending.may_outlast for sending in self._sendings)
        if self._unassigned or any(
            sending.has_unsent and not sending.waits_for_sender for sending in self._sendings
        ):
            self._spare_since = None
            return slot.is_wanted()
        self._spare_since = self._spare_since or now
        return now > self._spare_since + SPARE_AFTER

    def stop(self) -> None:
        """Begin no further call, and leave unsent messages to the caller."""
        self._is_stopped = True
        self._unassigned = []
        for sending in self._sendings:
            sending.stop()

    def part(self) -> None:
        """Go on with a batch of its own, which has all that is under way."""
        self._is_left = True
        handed = self.batch.handed
        self.batch = self.batch.part(
            id_ for id_ in self._ready if not self._is_stopped or id_ in handed
        )
        for sending in self._sendings:
            sending.move_to(self.batch)

    def _take_in(self) -> None:
        for sending in self._sendings:
            for report in sending.reports():
                self._reports.append(report)  # one by one: the next may meet an outage
            if (broken := sending.broken) is not None:
                self._record()  # what is known of a message is recorded with it
                sending.broken = None
                raise broken
            if sending.is_closed and not sending.is_settled:
                self._unassigned += sending.settle()
        over = [sending for sending in self._sendings if sending.is_over]
        now = time.monotonic()
        if self._reports and not self._record_at:
            self._record_at = now + RECORD_AFTER
        if over or len(self._reports) >= RECORD_EVERY or now > self._record_at > 0:
            self._record()
        for sending in over:
            self._sendings.remove(sending)
            with isolation.aside("health"):
                sending.report()

    def _record(self) -> None:
        """Record outcomes; what goes on at once to another account is to be assigned again."""
        again = self.batch.record(self._reports)
        self._reports, self._record_at = [], 0.0
        for claim in again:
            self._unassigned.append(self._ready[claim.id]._replace(claim=claim))

    def _assign(self) -> None:
        for test in (False, True):
            rows = [row for row in self._unassigned if row.claim.test is test]
            if rows:
                self.batch.stage = "choose"
                plan = assign(rows, self.batch.tried, self.batch.earlier)
                self.batch.apply(plan)
                self._unassigned = [row for row in self._unassigned if row.claim.test is not test]
                self._sendings += [
                    sending_of(choice, going, self.batch) for choice, going in plan.send if going
                ]

    def _is_idle(self) -> bool:
        """Return whether this process has used little of a processor since the last look."""
        (then, used), now = self._looked, (time.monotonic(), time.process_time())
        if now[0] - then < TICK:
            return False
        self._looked = now
        return (now[1] - used) / (now[0] - then) < IDLE
