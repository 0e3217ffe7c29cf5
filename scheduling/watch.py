"""What a process knows of a server that is out: said once when it begins, once when it ends.

Whoever meets an outage tells the server's watch, and waits for as long as the watch says. While
the server is out a thread asks it, with a write, whether it is back: so the end is noticed
without any work that would meet it.
"""

import logging
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from threading import Lock, Thread
from typing import Any, TypeVar
from uuid import uuid4

from billiard.process import current_process
from django.db import Error as DatabaseError
from django.db import connection, connections, transaction
from django.db.models import Model
from django.utils import timezone

from scheduling import isolation, threads
from scheduling.models import Lease
from scheduling.outages import (
    DATABASE,
    LOCKED,
    NOT_MIGRATED,
    STATEMENT_ENDED,
    Outage,
    is_of_a_statement,
    of,
    used_its_bound,
)
from scheduling.postgresql.patience import answered_within
from scheduling.said_once import Telling
from scheduling.waiting_statements import statement_waits

logger = logging.getLogger(__name__)
T = TypeVar("T")

FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 4.0
"""Seconds; work resumes at most so long after the server has come back."""
QUIET = 3.0
"""Seconds without an error before an outage counts as over."""
LONGEST_QUIET = 60.0
"""Seconds, at most, where one session works while others find the server out again and again."""
ASK_EVERY = 1.0
"""Seconds between two questions that working sessions put."""
MANY_BRIEF = 3
"""So many brief outages within ``BRIEF_WINDOW`` are a lasting one."""
BRIEF_WINDOW = 10.0
PROBE_WITHIN = 6.0
"""Seconds."""
# Who holds a table for longer than a second keeps others from their work.
_PROBE_SETTINGS = """
SET LOCAL work_mem = '64kB'; SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '3s'
"""


_watches: "list[Watch]" = []
_is_shared: list[bool] = []


def share(**_: object) -> None:
    """Have this process and those that it forks tell of each server's outage once in all."""
    _is_shared[:] = [True]
    for watch in _watches:
        watch.share()


class Watch:
    """One server, as this process sees it. Safe to be shared by threads and kept over a fork.

    ``probe`` asks the server to do a small write; it raises for as long as the server cannot.
    ``meanwhile`` is what the log says of the time until then.
    """

    def __init__(self, server: str, probe: Callable[[], object], meanwhile: str) -> None:
        self._server = server
        self._probe = probe
        self._meanwhile = meanwhile
        self._telling = Telling()
        _watches.append(self)
        if _is_shared:  # by a process that has begun already
            self.share()
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # the asking thread stays behind

    def share(self) -> None:
        """Have the processes that this one forks from now on, and it, tell of an outage once."""
        self._telling.share()

    def _reset(self) -> None:
        self._telling.forget()
        self._lock = Lock()
        self._outage: Outage | None = None
        self._since = self._seen = self._asked = 0.0
        self._ended: float | None = None
        self._ended_here = -LONGEST_QUIET
        self._quiet_here = QUIET
        self._tells = True  # what other processes of this worker meet, too
        self._said: set[str] = set()  # the reasons of this outage that the log has
        self._brief: deque[float] = deque(maxlen=MANY_BRIEF)

    @property
    def outage(self) -> Outage | None:
        """The outage that goes on now, if this process has met one."""
        return self._outage

    def was_out_within(self, seconds: float) -> bool:
        """Return whether this process knows of an outage that goes on, or ended a while ago."""
        ended = self._ended
        return self._outage is not None or (
            ended is not None and time.monotonic() - ended < seconds
        )

    def saw(self, outage: Outage, first_backoff: float = FIRST_BACKOFF) -> float:
        """Note an outage that was met; return the seconds to wait before the next try.

        The wait grows with the outage, from ``first_backoff`` on, and is never longer than what
        recovery may take. What is brief is tried again at once, unless it goes on and on.
        """
        now = time.monotonic()
        with self._lock:
            self._seen = now
            if self._outage is None and outage.is_brief and not self._is_one_of_many(now):
                logger.info("%s_retry: %s (%s)", self._server, outage.reason, outage.code)
                return random.uniform(0.02, 0.2)  # noqa: S311 -- two that met shall not meet again
            self._telling.met()
            if self._outage is None:
                self._begin(outage, now)
            elif not outage.is_brief:
                self._turn_into(outage)
            return min(
                max(first_backoff, (now - self._since) / 2), max(first_backoff, LONGEST_BACKOFF)
            )

    def has_met_many(self) -> bool:
        """Return whether one more brief outage would be one too many, or a lasting one goes on."""
        with self._lock:
            seen = list(self._brief)[1 - MANY_BRIEF :]
            is_many = len(seen) == MANY_BRIEF - 1 and time.monotonic() - seen[0] < BRIEF_WINDOW
            return is_many or self._outage is not None

    def _is_one_of_many(self, now: float) -> bool:
        self._brief.append(now)
        return len(self._brief) == MANY_BRIEF and now - self._brief[0] < BRIEF_WINDOW

    def ask_here(self) -> None:
        """Ask in this thread whether an outage is over: to be called where a session works.

        The asking thread makes a session of its own, and a server may work and have none left.
        Where others find it out again soon after, a session has to work for longer the next time.
        """
        now = time.monotonic()
        if self._outage is None or self._outage.makes_wait or now - self._asked < ASK_EVERY:
            return
        self._asked = now
        if self._is_over(self._quiet_here):
            self._ended_here = time.monotonic()
        for opened in connections.all(initialized_only=True):
            opened.close_if_unusable_or_obsolete()

    def _begin(self, outage: Outage, now: float) -> None:
        self._outage, self._since = outage, now
        self._said = {outage.reason}
        is_again = now - self._ended_here < LONGEST_QUIET
        self._quiet_here = min(self._quiet_here * 2, LONGEST_QUIET) if is_again else QUIET
        self._tells = self._telling.begin()
        logger.log(
            logging.ERROR if self._tells else logging.DEBUG,
            "%s_away: %s (%s); %s%s",
            *(self._server, outage.reason, outage.code, self._meanwhile, _in_child()),
        )
        threads.lasting(f"{self._server}-watch", partial(self._ask, now)).start()

    def _turn_into(self, outage: Outage) -> None:
        """Have the outage that goes on be known by its latest reason; the log has each once."""
        known = self._outage
        if known is None or (known.reason, known.makes_wait) == (outage.reason, outage.makes_wait):
            return
        if known.reason == outage.reason and known.makes_wait:
            return
        self._outage = outage
        if outage.reason not in self._said:
            self._said.add(outage.reason)
            level = logging.WARNING if self._tells else logging.DEBUG
            logger.log(level, "%s_still_away: %s (%s)", self._server, outage.reason, outage.code)

    def _ask(self, since: float) -> None:
        """Wait until the server works again, and say so; ``since`` is when its outage began."""
        pause = 0.5
        while self._outage is not None and self._since == since:
            try:
                if self._is_over(QUIET):
                    break
            finally:
                connections.close_all()  # of this thread
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_BACKOFF / 2)

    def _is_over(self, quiet: float) -> bool:
        """Ask whether the outage is over, if nobody has met it for so many seconds."""
        since = self._since
        if time.monotonic() - self._seen < quiet or not self._answers():
            return False
        with self._lock:
            if self._outage is None or self._since != since:
                return True  # another thread was first
            self._ended = time.monotonic()
            took = self._ended - since
            self._outage = None
            self._brief.clear()
        level = logging.WARNING if self._telling.end() else logging.DEBUG
        logger.log(level, "%s_back after %.0f s%s", self._server, took, _in_child())
        return True

    def _answers(self) -> bool:
        try:
            self._probe()
        except Exception as error:  # noqa: BLE001 -- the boundary: what it raises is its answer
            self._telling.met()
            logger.debug("%s still away: %s", self._server, type(error).__name__)
            if outage := _lasting(of(error)):
                with self._lock:
                    self._turn_into(outage)
            return False
        return True


def _in_child() -> str:
    """Return which child of a worker speaks; "" in any other process."""
    name = str(current_process().name)
    return "" if name == "MainProcess" else f"; in {name}"


def _lasting(outage: Outage | None) -> Outage | None:
    """Return what a probe met as it is told of: a lock that was not to be had is no brief one."""
    if outage is not None and outage.code == LOCKED:
        return Outage(outage.server, "a table is locked", LOCKED, makes_wait=True)
    return outage


_needed: set[type[Model]] = set()


def need(models: Iterable[type[Model]]) -> None:
    """Have the database count as out while somebody holds the tables of these models locked."""
    _needed.update(models)


_writes: list[Callable[[], object]] = []


def write_too(write: Callable[[], object]) -> None:
    """Have each question to the database do this write, too; it is rolled back."""
    if write not in _writes:
        _writes.append(write)


def locks_needed() -> str:
    """Return a statement for Postgres that waits for whoever keeps others from our tables."""
    names = (connection.ops.quote_name(model._meta.db_table) for model in _needed)
    return f"LOCK TABLE {', '.join(sorted(names))} IN ROW EXCLUSIVE MODE"


def write_to_database() -> None:
    """Ask the database for a write that leaves nothing behind. Raises what it answers.

    On Postgres it also takes, for a moment, the lock that each write takes of a table, and has a
    query spill to disk, for a small row may find room on a full one. The last are the writes that
    work consists of: a single table may refuse them. A Postgres that has not answered all of it
    within ``PROBE_WITHIN`` does not answer, even if a pooler before it does.
    """
    with answered_within(PROBE_WITHIN), transaction.atomic():
        on_postgres = connection.vendor == "postgresql"
        if on_postgres:
            _execute(_PROBE_SETTINGS)
        name = f"probe:{uuid4().hex}"
        Lease.objects.bulk_create([Lease(name=name, owner="probe", expires_at=timezone.now())])
        if on_postgres:
            _execute(locks_needed())
            _execute("SELECT count(*) FROM generate_series(1, 10000)")
        for write in _writes:
            write()
        transaction.set_rollback(True)


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def refusal() -> Outage | None:
    """Return why the database takes no write now, or ``None``.

    Missing tables are not a refusal: the check for migrations finds them.
    """
    try:
        write_to_database()
    except DatabaseError as error:
        if not connection.in_atomic_block:
            connection.close()  # the next question makes a new one
        outage = of(error)  # SQLite's "no such table" is none
        return None if outage is None or outage.code in NOT_MIGRATED else _lasting(outage)
    return None


class _Looker:
    """Asks why a statement waits, in a thread of its own: who waits has its connection in use."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # the thread stays behind

    def _reset(self) -> None:
        self._looks = Lock()

    def look(self, **_: object) -> None:
        if database.outage is None and self._looks.acquire(blocking=False):
            Thread(
                target=self._note, args=(self._looks,), name="database-look", daemon=True
            ).start()

    def _note(self, looks: Lock) -> None:
        try:
            with isolation.aside("looking at the database"):
                if refused := refusal():
                    database.saw(refused)
        finally:
            connections.close_all()
            looks.release()


_looker = _Looker()
statement_waits.connect(_looker.look)


database = Watch(DATABASE, write_to_database, "work waits and is tried again")


def is_well_after(error: BaseException) -> bool:
    """Return whether the database answered a statement with this error, and takes writes now.

    It is asked on the session that met the error. A brief outage ends a transaction, which is
    tried again at once; only what comes again and again is judged.
    """
    outage = of(error)
    if outage is None or not is_of_a_statement(error):
        return False
    if outage.is_brief and not database.has_met_many():
        return False
    return _takes_writes()


def is_of_a_query(error: BaseException) -> bool:
    """Return whether the database ended a query that took too long, and takes writes now.

    It is asked on the session that met the error, of a query that would be as slow again.
    """
    outage = of(error)
    return outage is not None and outage.code == STATEMENT_ENDED and _takes_writes()


def _takes_writes() -> bool:
    session = connection.connection
    if session is None or session.closed:
        return False
    try:
        write_to_database()
    except DatabaseError as refused:
        logger.debug("database refuses a write: %s", type(refused).__name__)
        return False
    return True


def past_brief(call: Callable[[], T]) -> T:
    """Call again after what ends one transaction, such as a deadlock, until it can be judged.

    ``call`` is a whole transaction. Not where a caller has one, which is over by then, nor in an
    outage that lasts, nor after a statement that has used up what it may take.
    """
    for _ in range(MANY_BRIEF - 1):
        began = time.monotonic()
        try:
            return call()
        except DatabaseError as error:
            outage = of(error)
            is_brief = outage is not None and outage.is_brief and database.outage is None
            if not is_brief or connection.in_atomic_block:
                raise
            if used_its_bound(error, time.monotonic() - began) or isolation.is_of_a_row(error):
                raise
            time.sleep(database_outage(error) or 0)
    return call()


Elsewhere = Callable[[Callable[[], Any], float], "Future[Any] | None"]
"""Has another thread do a call within so many seconds; gives what becomes of it, if one began."""


def wait_out(call: Callable[[], T], until: float, elsewhere: Elsewhere | None = None) -> T:
    """Call, and while the database is out again; ``until`` is a time of the monotonic clock.

    What ``call`` did before the outage must do no harm when it is done once more. While this thread
    waits it is offered ``elsewhere``. Raises what it raises: a fault of its own at once, an outage
    when the time is up.
    """
    do = call
    while True:
        try:
            return do()
        except Exception as error:
            backoff = database_outage(error)
            left = until - time.monotonic()
            if backoff is None or left <= 0:
                raise
        do = _meanwhile(call, min(backoff, left), elsewhere)


def _meanwhile(
    call: Callable[[], T], backoff: float, elsewhere: Elsewhere | None
) -> Callable[[], T]:
    """Wait; return how to call then, which is to take another thread's result if it has begun."""
    if elsewhere is None:
        time.sleep(backoff)
    elif (begun := elsewhere(call, backoff)) is not None:
        return begun.result
    return call


def database_outage(error: BaseException, first_backoff: float = FIRST_BACKOFF) -> float | None:
    """Return the seconds to wait if an error tells of an outage, else ``None``.

    What a single row has raised is none. Closes the connections of this thread, so that the next
    query makes a new one: to a server that was replaced, an old one leads nowhere.
    """
    outage = of(error)
    if outage is None or outage.server != DATABASE or isolation.is_of_a_row(error):
        return None
    for opened in connections.all(initialized_only=True):
        if not opened.in_atomic_block:
            opened.close()
    return database.saw(outage, first_backoff)
