"""Senders: threads that make calls, one after the other, each by a provider of its own.

How many an account may have in a process is its kind's ``at_once``, or its setting ``connections``.
Batches share them by urgency: a sender of a less urgent batch ends between two calls when a more
urgent one waits for it. As long as one is expected, the less urgent leave a quarter of them free:
long calls that begin together end together. A call that hangs holds its sender, and nobody else.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from django.db import connections

from notifications.channels.base import Account
from notifications.channels.kinds import UnknownKind, provider_class

MOST = 512  # threads of a process
LEFT = 4  # one sender in so many is left to what is more urgent, where that is expected
STUCK_AFTER = 2.0  # seconds without an answer to any call, while all senders wait for one


class Batch(Protocol):
    """What senders work for: ``rank`` is its urgency, 0 for high."""

    rank: int

    @property
    def leaves_some(self) -> bool:
        """Whether something more urgent is expected, for which some are to be left free."""
        ...


class Senders:
    """The senders of one account in this process. Safe to be used by several threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._of: Counter[Batch] = Counter()
        self._waiting: set[Batch] = set()
        self._changed_at = time.monotonic()

    @property
    def busy(self) -> int:
        """How many there are now."""
        return sum(self._of.values())

    @property
    def waiting(self) -> set[int]:
        """How urgent the batches are that wait for one, or for more: their ranks."""
        return {batch.rank for batch in list(self._waiting)}

    def answered(self) -> None:
        """Note that a call has ended."""
        self._changed_at = time.monotonic()

    def silent_for(self) -> float:
        """Return for how many seconds all senders wait for an answer; 0 while one is free.

        What is left to the more urgent is free for nobody else.
        """
        if self.busy < self.limit and not self._waiting:
            return 0.0
        return time.monotonic() - self._changed_at

    def take(self, batch: Batch, run: Callable[[], object]) -> bool:
        """Have a sender run this; where none is free, the batch waits for one."""
        with self._lock:
            if self.busy >= self.limit or self._busy_alike(batch) >= self._most(batch):
                if not self._waiting and self.busy < self.limit:
                    self._changed_at = time.monotonic()
                self._waiting.add(batch)
                return False
            self._waiting.discard(batch)
            self._of[batch] += 1
            if self.busy == self.limit:
                self._changed_at = time.monotonic()
        _pool().submit(self._run, batch, run)
        return True

    def leave(self, batch: Batch) -> None:
        """Have a batch wait for no sender any more."""
        self._waiting.discard(batch)

    def is_wanted_of(self, batch: Batch) -> bool:
        """Return whether a sender of this batch should end: a more urgent one waits or may come.

        The last one goes only to a batch that has none at all, so that each gets on.
        """
        if not self._waiting and not batch.leaves_some:
            return False
        with self._lock:
            spare = self._of[batch] > 1
            if spare and self._busy_alike(batch) > self._most(batch):
                return True
            return any(
                other.rank < batch.rank and (spare or not self._of[other])
                for other in self._waiting
            )

    def _most(self, batch: Batch) -> int:
        """Return how many senders this batch and those that are no more urgent may have."""
        return self.limit - (self.limit // LEFT if batch.leaves_some else 0)

    def _busy_alike(self, batch: Batch) -> int:
        return sum(count for other, count in self._of.items() if other.rank >= batch.rank)

    def _run(self, batch: Batch, run: Callable[[], object]) -> None:
        try:
            run()
        finally:
            with self._lock:
                self._of[batch] -= 1
                if not self._of[batch]:
                    del self._of[batch]
            for opened in connections.all(initialized_only=True):
                opened.close()  # of a provider that asked the database


def of(account: Account) -> Senders:
    """Return the senders of an account, with the limit that it has now."""
    senders = _senders.get(account.name)
    if senders is None:
        senders = _senders.setdefault(account.name, Senders(0))
    senders.limit = limit_of(account)
    return senders


def named(name: str) -> Senders:
    """Return the senders of an account that was called before. Raises ``KeyError``."""
    return _senders[name]


def limit_of(account: Account) -> int:
    """Return how many calls of an account a process makes at once."""
    try:
        usual = provider_class(account.kind).at_once
    except UnknownKind:  # each message says so
        usual = 1
    wanted = account.settings.get("connections", usual)
    return wanted if type(wanted) is int and wanted > 0 else usual  # a bad one is told elsewhere


def is_stuck(name: str) -> bool:
    """Return whether all senders of this account wait for an answer, and got none for long."""
    senders = _senders.get(name)
    return senders is not None and senders.silent_for() > STUCK_AFTER


_senders: dict[str, Senders] = {}
_threads: list[ThreadPoolExecutor] = []


def _pool() -> ThreadPoolExecutor:
    if not _threads:
        _threads.append(ThreadPoolExecutor(MOST, "sender"))
    return _threads[0]


def _forget() -> None:
    """Begin anew in a child: threads do not survive a fork."""
    _senders.clear()
    _threads.clear()


os.register_at_fork(after_in_child=_forget)
