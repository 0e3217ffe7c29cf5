"""Transactions: those whose locks end with a silent process, and those that a test rolls back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from django.db import connection, transaction

from scheduling import isolation

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


def after_commit(call: Callable[[], object], *, raises: bool = False) -> None:
    """Call once the transaction is committed, which is at once where there is none.

    What ``call`` raises is logged: who made the transaction must not take it for undone. It is
    raised only if ``raises``. Django's own ``robust`` logs the text of the exception, and raises
    ``AttributeError`` for a call without a qualified name, such as a ``partial``.
    """
    transaction.on_commit(call if raises else partial(_logged, call))


def _logged(call: Callable[[], object]) -> None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 -- the rows are committed, whatever is wrong now
        isolation.log_aside(error, "after a commit")


def is_of_a_test() -> bool:
    """Return whether Django's ``TestCase`` began the transaction.

    Its rows are not seen on a new connection, and all that is in it is rolled back.
    """
    return any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)
