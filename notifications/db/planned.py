"""Statements that always have the same text: Postgres plans each once for a connection.

The driver's cursor would read the text, look for the types and make what reads the answer anew for
each use, which takes longer than to send and to receive. So that is left out.

How a table is read best may change as it grows. Where Postgres has such a choice, a statement is
planned anew once a second (``FRESH``): a plan that was made while the table was small and reads all
of it is not kept for longer.
"""

import math
import select
import time
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary

from django.db import DEFAULT_DB_ALIAS, connections
from psycopg import Connection, Cursor, Error, errors, generators
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from notifications.db import dialect
from notifications.db.dialect import Unreadable

Rows = list[tuple[Any, ...]]

FRESH = 1.0  # seconds for which a plan is kept that a table's growth may make a bad one
KEPT = 200  # statements of ``of``

_STALE = (errors.FeatureNotSupported, errors.InvalidSqlStatementName)
"""What Postgres says of a plan whose table was changed, and of one that it does not have."""

_AT_ONCE = 100  # milliseconds


class Statement:
    """A statement with ``%s`` for its parameters: texts, truth values, numbers, ids and times.

    Postgres gives each the type that its place asks for. ``keeps`` is for how many seconds a
    connection keeps the plan. Behind a pooler it is planned at each use.
    """

    def __init__(self, sql: str, keeps: float = math.inf) -> None:
        first, *others = sql.split("%s")
        self._sql = sql
        self._numbered = first + "".join(f"${n}{part}" for n, part in enumerate(others, 1))
        self._keeps = keeps

    def rows(self, *parameters: Any) -> Rows:
        """Run it, and return the rows, whose columns are texts. Raises ``django.db.Error``."""
        answer = self._answer_to(parameters, Format.TEXT)
        if answer is not None:
            return _texts_in(answer)
        return dialect.all_of(self._sql, dialect.write_all(parameters))

    def written(self, parameters: Sequence[Any]) -> int:
        """Run it, and return how many rows it wrote. Raises ``django.db.Error``."""
        answer = self._answer_to(parameters, Format.TEXT)
        if answer is not None:
            return answer.command_tuples or 0
        return dialect.count_of(self._sql, dialect.write_all(parameters))

    def rows_of_any_type(self, parameters: Sequence[Any]) -> tuple[Rows, Unreadable]:
        """Run it on Postgres, and return what ``dialect.rows_of`` does, and raise the same."""
        answer = self._answer_to(parameters, Format.BINARY)
        if answer is not None:
            return dialect.rows_in(answer, connections[DEFAULT_DB_ALIAS].connection)
        return dialect.rows_of(self._sql, parameters)

    def _answer_to(self, parameters: Sequence[Any], form: Format) -> PGresult | None:
        """Run it by its plan; None where it is to be run without one, and was not run."""
        here = connections[DEFAULT_DB_ALIAS]
        if here.vendor != "postgresql" or (texts := _written(parameters)) is None:
            return None
        here.ensure_connection()
        session = here.connection
        with here.wrap_database_errors:
            plans = _plans.get(session) or _plans_of(session)
            try:
                return self._planned(plans, session, texts, form)
            except Error:
                raise
            except BaseException:  # a time limit of Celery's: the answer is still to come
                here.close()
                raise

    def _planned(
        self, plans: "_Plans", session: "Connection[Any]", texts: list[bytes | None], form: Format
    ) -> PGresult | None:
        with session.lock:
            if not (plans.are_kept and plans.begin(session)):
                return None
            try:
                name = self._name_in(plans, session)
                session.pgconn.send_query_prepared(name, texts, result_format=form)
                return plans.answer(session)
            except _STALE:
                plans.of.pop(self, None)
                if session.pgconn.transaction_status != TransactionStatus.IDLE:
                    raise
        return None

    def _name_in(self, plans: "_Plans", session: "Connection[Any]") -> bytes:
        """Return the name of its plan, which is made where there is none, or an old one."""
        now = time.monotonic()
        plan = plans.of.get(self)
        if plan is not None and now < plan.until:
            return plan.name
        if plan is not None:
            del plans.of[self]
            session.pgconn.send_query(b"DEALLOCATE " + plan.name)
            plans.answer(session)
        name = f"planned_{next(plans.numbers)}".encode()
        session.pgconn.send_prepare(name, self._numbered.encode())
        plans.answer(session)
        plans.of[self] = _Plan(name, now + self._keeps)
        return name


@lru_cache(maxsize=KEPT)
def of(sql: str) -> Statement:
    """Return the statement with this text, planned anew each second; for texts that are few."""
    return Statement(sql, FRESH)


class _Plan(NamedTuple):
    name: bytes
    until: float  # of the monotonic clock


class _Plans:
    """What one connection has planned; behind a pooler nothing is kept."""

    def __init__(self, session: "Connection[Any]", *, are_kept: bool) -> None:
        self.are_kept = are_kept
        self.of: dict[Statement, _Plan] = {}
        self.numbers = count(1)
        self._socket = select.poll()
        self._socket.register(session.pgconn.socket, select.POLLIN)

    def begin(self, session: "Connection[Any]") -> bool:
        """Begin a transaction where the driver's cursor would; False where it has options."""
        if session.autocommit or session.pgconn.transaction_status != TransactionStatus.IDLE:
            return True
        options = (session.isolation_level, session.read_only, session.deferrable)
        if any(option is not None for option in options):
            return False
        session.pgconn.send_query(b"BEGIN")
        self.answer(session)
        return True

    def answer(self, session: "Connection[Any]") -> PGresult:
        """Wait for the answer to what was sent. Raises ``psycopg.Error``.

        Most answers are there in less time than the driver's way of waiting takes by itself. The
        driver waits for the others, and looks whether the server lives.
        """
        results, is_whole = self._answer_at_once(session.pgconn)
        if not is_whole:
            results += session.wait(generators.fetch_many(session.pgconn))
        (result,) = results
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            raise errors.error_from_result(result)
        return result

    def _answer_at_once(self, pgconn: PGconn) -> tuple[list[PGresult], bool]:
        """Return what there is of an answer after a short wait, and whether that is all of it."""
        results: list[PGresult] = []
        if pgconn.flush() == 0 and self._socket.poll(_AT_ONCE):
            pgconn.consume_input()
            while not pgconn.is_busy():
                if (result := pgconn.get_result()) is None:
                    return results, True
                results.append(result)
        return results, False


_plans: "WeakKeyDictionary[Connection[Any], _Plans]" = WeakKeyDictionary()


def _plans_of(session: "Connection[Any]") -> _Plans:
    """Return the plans of a connection, of which there are none yet.

    A pooler that shares connections makes up the number that a client is told as it connects.
    """
    with Cursor(session) as cursor:
        row = cursor.execute("SELECT pg_backend_pid()").fetchone()
    plans = _plans[session] = _Plans(session, are_kept=row == (session.info.backend_pid,))
    return plans


def _written(parameters: Sequence[Any]) -> list[bytes | None] | None:
    """Write parameters as Postgres reads them; None where one is better left to the driver."""
    texts: list[bytes | None] = []
    for value in parameters:
        match value:
            case None:
                texts.append(None)
            case str() if "\0" not in value:
                texts.append(value.encode())
            case bool():
                texts.append(b"t" if value else b"f")
            case int() | UUID():
                texts.append(str(value).encode())
            case datetime():
                texts.append(value.isoformat().encode())
            case _:  # such as a text that Postgres would take for one that ends at its NUL
                return None
    return texts


def _texts_in(result: PGresult) -> Rows:
    """Read the rows of an answer whose columns are texts, in UTF-8 as Django asks for them."""
    value, columns = result.get_value, range(result.nfields)
    return [
        tuple([None if (text := value(row, n)) is None else text.decode() for n in columns])
        for row in range(result.ntuples)
    ]
