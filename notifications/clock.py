"""The database's clock, at the price of a local one.

Where two machines compare a time, both must read the same clock. Asking the database each
time would cost a round trip, so each process measures the distance to the database's clock
now and then, and counts on with its own monotonic clock, which no administrator can set.
"""

import threading
import time
from datetime import UTC, datetime, timedelta

from django.db import connection

from scheduling.clock import database_now

REMEASURE_AFTER = 60.0  # seconds; a quartz drifts by about 0.1 ms a second at worst

_lock = threading.Lock()
_anchor: tuple[float, datetime] | None = None


def now() -> datetime:
    """Give the current time of the database, aware and in UTC.

    Raises ``django.db.Error`` when the distance has to be measured and the database is away.
    """
    anchor = _anchor
    if anchor is None or time.monotonic() - anchor[0] > REMEASURE_AFTER:
        anchor = _measure()
    return anchor[1] + timedelta(seconds=time.monotonic() - anchor[0])


def _measure() -> tuple[float, datetime]:
    global _anchor
    with _lock:
        connection.ensure_connection()  # which takes longer than all that is measured
        # A connection's first answer is slow; the quicker of two is off by the least.
        _, _anchor = min(_ask(), _ask())
        return _anchor


def _ask() -> tuple[float, tuple[float, datetime]]:
    """Give the seconds that an answer took, and what the clock is to count on from."""
    asked = time.monotonic()
    database_time = database_now().astimezone(UTC)
    answered = time.monotonic()
    # Half way between question and answer: the database looked at its clock somewhere there.
    return answered - asked, ((asked + answered) / 2, database_time)
