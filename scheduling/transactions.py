"""Transactions: those whose locks end with a silent process, and those that a test rolls back."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

IDLE_LIMIT_MILLISECONDS = 1000


@contextmanager
def brief() -> Iterator[None]:
    """Run a transaction that the database ends if this process stops in the middle of it.

    A stopped process, or one behind a cut network, would else keep its rows from the other
    schedulers. When it wakes up it sees a ``DatabaseError``, and reconnects.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT set_config('idle_in_transaction_session_timeout', %s, true)",
                    [str(IDLE_LIMIT_MILLISECONDS)],
                )
        yield


def is_of_a_test() -> bool:
    """Return whether Django's ``TestCase`` began the transaction.

    Its rows are not seen on a new connection, and all that is in it is rolled back.
    """
    return any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)
