"""Statements that always have the same text: Postgres plans each once for a connection.

The driver's cursor would read the text, look for the types and make what reads the answer anew for
each use, which takes longer than to send and to receive. So that is left out.
"""

import select
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

from django.db import DEFAULT_DB_ALIAS, connections
from psycopg import Connection, Cursor, Error, errors, generators
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from notifications.db import dialect

Rows = list[tuple[Any, ...]]

_STALE = (errors.FeatureNotSupported, errors.InvalidSqlStatementName)
"""What Postgres says of a plan whose table was changed, and of one that it does not have."""

_AT_ONCE = 100  # milliseconds


class Statement:
    """A statement whose parameters are texts and truth values, and whose columns are texts."""

    def __init__(self, sql: str) -> None:
        first, *others = sql.split("%s")
        self._sql = sql
        self._numbered = first + "".join(f"${n}{part}" for n, part in enumerate(others, 1))

    def rows(self, *parameters: str | bool) -> Rows:
        """Run it, and return the rows. Raises ``django.db.Error``.

        Behind a pooler it is planned at each use, as it is where it begins a transaction.
        """
        here = connections[DEFAULT_DB_ALIAS]
        if here.vendor == "postgresql":
            here.ensure_connection()
            session = here.connection
            with here.wrap_database_errors:
                plans = _plans.get(session) or _plans_of(session)
                if plans.are_kept and not _begins(session):
                    try:
                        return self._planned(plans, session, parameters)
                    except Error:
                        raise
                    except BaseException:  # a time limit of Celery's: the answer is still to come
                        here.close()
                        raise
        return dialect.all_of(self._sql, parameters)

    def _planned(
        self, plans: "_Plans", session: "Connection[Any]", parameters: tuple[str | bool, ...]
    ) -> Rows:
        texts = [
            b"ft"[parameter : parameter + 1] if isinstance(parameter, bool) else parameter.encode()
            for parameter in parameters
        ]
        with session.lock:
            try:
                if (name := plans.names.get(self)) is None:
                    name = f"planned_{next(plans.numbers)}".encode()
                    session.pgconn.send_prepare(name, self._numbered.encode())
                    plans.answer(session)
                    plans.names[self] = name
                session.pgconn.send_query_prepared(name, texts)
                return _read(plans.answer(session))
            except _STALE:
                plans.names.pop(self, None)
                if session.pgconn.transaction_status != TransactionStatus.IDLE:
                    raise
        return dialect.all_of(self._sql, parameters)


class _Plans:
    """The names of what one connection has planned; none are kept behind a pooler."""

    def __init__(self, session: "Connection[Any]", *, are_kept: bool) -> None:
        self.are_kept = are_kept
        self.names: dict[Statement, bytes] = {}
        self.numbers = count(1)
        self._socket = select.poll()
        self._socket.register(session.pgconn.socket, select.POLLIN)

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


def _begins(session: "Connection[Any]") -> bool:
    """Return whether the next statement is to begin a transaction, as the driver's cursor does."""
    status = TransactionStatus.IDLE
    return not session.autocommit and session.pgconn.transaction_status == status


def _read(result: PGresult) -> Rows:
    """Read the rows of an answer; all columns are texts, in UTF-8 as Django asks for them."""
    value, columns = result.get_value, range(result.nfields)
    return [
        tuple([None if (text := value(row, n)) is None else text.decode() for n in columns])
        for row in range(result.ntuples)
    ]
