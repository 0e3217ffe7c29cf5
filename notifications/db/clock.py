"""The database's clock, at the price of a local one.

Where two machines compare a time, both must read the same clock. Asking the database each
time would cost a round trip, so each process measures the distance to the database's clock
now and then, and counts on with its own monotonic clock, which no administrator can set. A new
connection may lead to another server, so it is measured anew then.
"""

import threading
import time
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.backends.signals import connection_created

from scheduling.clock import database_now

REMEASURE_AFTER = 60.0  # seconds; a quartz drifts by about 0.1 ms a second at worst

SET_BACK = timedelta(seconds=5)
"""A clock that is corrected by less is not told of: what it planned is due soon anyway."""

times_set_back = 0
"""How often this process has seen the database's clock behind where it had been."""

_lock = threading.Lock()
_anchor: tuple[float, datetime] | None = None
_is_another = False  # whether there is a connection that is newer than the anchor


def now() -> datetime:
    """Return the current time of the database, aware and in UTC.

    Raises ``django.db.Error`` when the distance has to be measured and the database is away.
    """
    anchor = _anchor
    if anchor is None or _is_another or time.monotonic() - anchor[0] > REMEASURE_AFTER:
        anchor = _measure()
    return _at(anchor)


def forget() -> None:
    """Measure the distance to the database's clock at the next use."""
    global _anchor  # noqa: PLW0603 -- as above
    with _lock:
        _anchor = None


def _at(anchor: tuple[float, datetime]) -> datetime:
    return anchor[1] + timedelta(seconds=time.monotonic() - anchor[0])


def _measure() -> tuple[float, datetime]:
    global _anchor, _is_another, times_set_back  # noqa: PLW0603 -- one clock per process
    with _lock:
        connection.ensure_connection()  # which takes longer than all that is measured
        _is_another = False
        # A connection's first answer is slow; the quicker of two is off by the least.
        _, moment = min(_ask(), _ask())
        if _anchor is not None and _at(moment) < _at(_anchor) - SET_BACK:
            times_set_back += 1
        _anchor = moment
        return moment


def _look_again(**_: object) -> None:
    global _is_another  # noqa: PLW0603 -- as above
    _is_another = True


connection_created.connect(_look_again)


def _ask() -> tuple[float, tuple[float, datetime]]:
    """Return the seconds that an answer took, and what the clock is to count on from."""
    asked = time.monotonic()
    database_time = database_now().astimezone(UTC)
    answered = time.monotonic()
    # Half way between question and answer: the database looked at its clock somewhere there.
    return answered - asked, ((asked + answered) / 2, database_time)
