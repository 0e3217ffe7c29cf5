"""What goes on while no slot waits for it: calls under way, and what comes of them.

A slot leaves its batch, when all is handed over or a more urgent message waits, to the
process. One thread drives all that was left, over a database connection of its own, and records
the outcomes together. A process that dies leaves leases that end, as for any other attempt.

An exception that no batch is to blame for does not end the thread (``scheduling.threads``), and one
that ended all the same is started anew: what is sent while nobody records would be sent again.

The thread has its connection before a slot hands anything to a provider, and keeps it as long as a
slot sends: where the database has no connection left, what was sent could not be recorded. If it
loses that connection later, the next slot does its writes (``posted_writes``).
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import structlog
from celery.signals import worker_process_shutdown, worker_shutdown
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from notifications.core.conf import conf
from notifications.delivery.in_hand import InHand
from notifications.delivery.posted_writes import PostedWrites
from notifications.providers import accounts, senders
from notifications.queueing.making_way import Slot
from scheduling import isolation, threads, watch

log = structlog.get_logger(__name__)

TICK = 0.005  # seconds between two looks
KEPT_FOR = 5.0  # seconds that the thread, and its connection, outlives the last batch


class Sending(Protocol):
    """A batch that is being sent: see ``sending.BatchSending``."""

    batch: InHand

    @property
    def has_unsent(self) -> bool:
        """Whether there are messages that are still to be sent."""
        ...

    def step(self) -> bool:
        """Take the results of the calls and begin others; return False when all is over."""
        ...

    def stop(self) -> None:
        """Begin no further call, and leave unsent messages to the caller."""
        ...

    def part(self) -> None:
        """Go on with a batch of its own, which has everything that is under way."""
        ...


class _Process:
    """What this process attends to."""

    def __init__(self) -> None:
        self.sendings: list[Sending] = []
        self.changed = threading.Condition()
        self.writes = PostedWrites(self.changed)
        self.thread: threading.Thread | None = None
        self.session: BaseDatabaseWrapper | None = None  # of the thread
        self.is_asked = False  # whether the thread is to connect
        self.is_refused = False  # as the thread connected last; the log has it
        self.waits_until = 0.0  # from connecting, which failed
        self.slots = 0  # that send now

    @property
    def is_connected(self) -> bool:
        """Whether the thread has a connection."""
        return self.lives and self.session is not None and self.session.connection is not None

    @property
    def lives(self) -> bool:
        """Whether there is a thread; one that could not be started, or has ended, is none."""
        return self.thread is not None and self.thread.is_alive()

    def begin(self) -> None:
        """Start the thread if there is none; to be called with ``changed`` held."""
        if not self.lives:
            self.session = None
            self.thread = threads.lasting("deliveries", partial(_drive, self))
            self.thread.start()
        self.changed.notify_all()


_process = _Process()


def attend(sending: Sending) -> None:
    """Go on with a batch that its thread leaves."""
    sending.part()
    process = _process
    sending.batch.elsewhere = process.writes.post
    with process.changed:
        process.sendings.append(sending)
        process.begin()


@contextmanager
def connected() -> Iterator[bool]:
    """Keep a connection for what a slot will leave; gives whether there is one."""
    process = _process
    with process.changed:
        process.slots += 1
    try:
        yield has_connection()
    finally:
        with process.changed:
            process.slots -= 1


def has_connection() -> bool:
    """Return whether what is left here can be recorded; the thread connects if it can."""
    process = _process
    with process.changed:
        if not process.is_connected and time.monotonic() >= process.waits_until:
            process.is_asked = True
            process.begin()
            process.changed.wait_for(
                lambda: not process.is_asked or process.writes.waits, conf.batch_time_limit
            )
        return process.is_connected


def is_clear(slot: Slot, channel: str) -> bool:
    """Wait until a batch of this queue may be begun; False where the slot is wanted meanwhile.

    It waits while the process still sends an earlier batch of the queue, and while every account
    of the channel is stuck; and it does what the process could not write.
    """
    ends = time.monotonic() + conf.batch_time_limit
    while _process.writes.write_next() or _has_unsent(slot.queue) or _is_stuck(channel):
        if slot.is_wanted() or time.monotonic() > ends:
            return False
        time.sleep(TICK)
    return True


def finish(seconds: float) -> bool:
    """Send no more, and wait for the calls that are open; return whether all have ended."""
    process = _process
    for sending in list(process.sendings):
        sending.batch.ends = 0.0
    with process.changed:
        return process.changed.wait_for(lambda: not process.sendings, seconds)


@worker_process_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]  # celery has no types
@worker_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]  # as above
def finish_before_the_end(**_: Any) -> None:
    """Let a child, or a worker without children, hear the answers that it waits for.

    The worker waits for its children until the grace of its shutdown is over.
    """
    finish(conf.endpoint_timeout)


def _has_unsent(queue: str) -> bool:
    return any(
        sending.batch.slot is not None and sending.batch.slot.queue == queue and sending.has_unsent
        for sending in list(_process.sendings)
    )


def _is_stuck(channel: str) -> bool:
    found = accounts.candidates(channel)
    return bool(found) and all(senders.is_stuck(batch.name) for batch in found)


def _drive(process: _Process) -> None:
    """Drive what was left until there is nothing for a while."""
    while process.thread is threading.current_thread():
        if process.is_asked:
            _connect(process)
        for sending in list(process.sendings):
            goes_on = False
            try:
                goes_on = _goes_on(sending)
            finally:  # a batch that breaks this thread would break it again
                if not goes_on:
                    _leave(process, sending)
        with process.changed:
            has_work = process.changed.wait_for(
                lambda: process.sendings or process.is_asked, KEPT_FOR
            )
            if not has_work and not process.slots:
                process.thread = process.session = None
                break
        time.sleep(TICK)
    connections.close_all()


def _leave(process: _Process, sending: Sending) -> None:
    with process.changed:
        process.sendings.remove(sending)
        process.changed.notify_all()


def _connect(process: _Process) -> None:
    """Take a connection before anything is to be recorded; its refusal is told of once."""
    backoff: float | None = 0.0
    try:
        connection.ensure_connection()
    except Exception as error:  # noqa: BLE001 -- the boundary of this thread: who asked sees that there is none
        backoff = watch.database_outage(error)
        if not process.is_refused:
            log.warning("no_connection_to_record_over", error=type(error).__name__)
        process.is_refused = True
    else:
        process.is_refused = False
    with process.changed:
        process.session = connections[DEFAULT_DB_ALIAS]
        process.waits_until = time.monotonic() + (
            watch.FIRST_BACKOFF if backoff is None else backoff
        )
        process.is_asked = False
        process.changed.notify_all()


def _goes_on(sending: Sending) -> bool:
    """Do one step; an exception ends the batch, and each of its rows gets an outcome."""
    batch = sending.batch
    try:
        goes_on = sending.step()
    except Exception as error:  # noqa: BLE001 -- the boundary of this thread
        fault = isolation.fault_of(error, batch.stage or "send")
        log.error("delivery_in_background_broke", error=fault.error, at=fault.place)  # noqa: TRY400 -- a traceback has the exception's text
        _end(sending, fault)
        goes_on = False
    _call_followers(batch)
    return goes_on


def _end(sending: Sending, fault: isolation.Fault) -> None:
    try:
        sending.stop()
        sending.batch.end_open(fault)
    except Exception as error:  # noqa: BLE001 -- leases end, and the rows are tried again
        log.warning("outcomes_lost", error=type(error).__name__)


def _call_followers(batch: InHand) -> None:
    """Call what follows the notifications that have ended; the sweep does what fails here."""
    recorded, batch.recorded = batch.recorded, []
    try:
        batch.follow(recorded)
    except Exception as error:  # noqa: BLE001 -- an outage: what was recorded stays so
        watch.database_outage(error)
        log.warning("followers_left_to_the_sweep", error=type(error).__name__)


def _forget() -> None:
    """Begin anew in a child: the thread does not survive a fork."""
    global _process  # noqa: PLW0603 -- one per process
    _process = _Process()


os.register_at_fork(after_in_child=_forget)
