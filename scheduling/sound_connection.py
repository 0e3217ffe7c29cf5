"""The ledger's writes beside a task's own code, on a connection that the code has not spoilt.

A task may leave the connection of its thread closed, in a transaction, without autocommit, or with
another role, search path or date style. What the ledger wrote there would fail, each with an
error of its own, or never be committed.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connection
from psycopg.pq import TransactionStatus

from scheduling import transactions

T = TypeVar("T")


def write(call: Callable[[], T]) -> T:
    """Call, on a new connection if this thread's is in a transaction or fails at the first try.

    What ``call`` did before it failed must do no harm when it is done once more. Raises what it
    raises.
    """
    leave_transaction()
    try:
        return call()
    except Exception:  # what a spoilt session raises may be of any class
        if transactions.is_of_a_test():
            raise
        _renew()
    return call()


def leave_transaction() -> None:
    """Connect anew if this thread's connection is in a transaction, whoever began it."""
    if _is_in_transaction():
        _renew()


def _is_in_transaction() -> bool:
    """Return whether what is written now would wait for a commit, whoever began the transaction."""
    raw: Any = connection.connection
    if raw is None or transactions.is_of_a_test():
        return False
    if connection.in_atomic_block or not connection.autocommit:
        return True
    if connection.vendor == "postgresql":
        return bool(raw.info.transaction_status != TransactionStatus.IDLE)
    return bool(raw.in_transaction)


def _renew() -> None:
    """Connect anew. Django forgets the old connection's transaction with it."""
    connection.close()
    connection.connect()
