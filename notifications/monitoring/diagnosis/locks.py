"""Who holds a lock of the database that others wait for."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection

from notifications.monitoring.diagnosis.finding import Finding
from scheduling import watch

LONG = "5 seconds"
"""A statement that waits for a lock for that long is told of."""
# Those at the end of each chain of sessions that wait for others. A prepared transaction has no
# session: its process is 0.
_BLOCKING = """
WITH RECURSIVE blocking(pid) AS (
    SELECT unnest(pg_blocking_pids(waiting)) FROM unnest(%s) AS waiting
    UNION SELECT unnest(pg_blocking_pids(pid)) FROM blocking
)
SELECT pid, COALESCE(application_name, ''), COALESCE(usename, ''),
    clock_timestamp() - COALESCE(xact_start, backend_start), COALESCE(query, '')
FROM blocking LEFT JOIN pg_stat_activity USING (pid)
WHERE cardinality(pg_blocking_pids(pid)) = 0 ORDER BY pid LIMIT 5
"""
_WAITING = """
SELECT array_agg(pid) FROM pg_stat_activity WHERE datname = current_database()
AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > %s::interval
"""
# Where the first value or comment of a statement begins: from there on it may hold content.
_VALUE = re.compile(r"'|\$|--|/\*|\b\d")


@dataclass(frozen=True, slots=True)
class Blocker:
    """A session that others wait for. ``age`` is that of its transaction."""

    pid: int
    application: str
    user: str
    age: timedelta | None
    query: str

    def __str__(self) -> str:
        if not self.pid:
            return "a prepared transaction (see pg_prepared_xacts)"
        age = f", for {self.age.total_seconds():.0f} s" if self.age else ""
        name = f" ({self.application})" if self.application else ""
        return f"process {self.pid} of {self.user or 'another user'}{name}{age}: {self.query}"


def locked() -> Iterator[Finding]:
    """Say who keeps others from our tables. To be called while a probe finds them locked."""
    yield _finding("database.locked", "A table of this system is locked", _in_our_way())


def waits() -> Iterator[Finding]:
    """No statement waits for long for a lock, such as one of a row."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [LONG])
        waiting = cursor.fetchone()[0] or []
    if waiting:
        problem = f"{len(waiting)} statements wait for a lock for more than {LONG}"
        yield _finding("database.waits", problem, _blockers(waiting))


def without_values(query: str) -> str:
    """Return a statement up to its first value, which may be content."""
    line = " ".join(query.split())
    match = _VALUE.search(line)
    return f"{line[: match.start()]}…" if match else line[:200]


def _finding(id_: str, problem: str, blockers: Sequence[Blocker]) -> Finding:
    by = "; ".join(map(str, blockers)) or "a session that has ended meanwhile"
    return Finding(
        id_,
        f"{problem}, by {by}.",
        "What needs the lock waits or is refused, and goes on by itself when that transaction "
        "ends. If nobody needs the transaction: SELECT pg_terminate_backend(PROCESS).",
    )


def _in_our_way() -> list[Blocker]:
    """Wait for our tables' locks on a second connection, and look at whom it waits for."""
    waiting = connection.copy()
    try:
        with waiting.cursor() as cursor:
            cursor.execute("BEGIN; SET LOCAL lock_timeout = '3s'")
            cursor.execute("SELECT pg_backend_pid()")
            pid = cursor.fetchone()[0]
        waiting.connection.pgconn.send_query(watch.locks_needed().encode())
        until = time.monotonic() + 2
        while not (blockers := _blockers([pid])) and time.monotonic() < until:
            time.sleep(0.05)
        return blockers
    finally:
        waiting.close()


def _blockers(waiting: Sequence[int]) -> list[Blocker]:
    with connection.cursor() as cursor:
        cursor.execute(_BLOCKING, [list(waiting)])
        return [
            Blocker(pid, application, user, age, without_values(query))
            for pid, application, user, age, query in cursor.fetchall()
        ]
