"""How long a thread waits for the broker, and for Redis, in all its questions together.

Each question has a timeout of its own. A server that answers late, and within it, would be waited
for with each of them.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Patience(threading.local):
    left = math.inf  # seconds
    longest = 0.0  # seconds of one question so far


_patience = _Patience()


@contextmanager
def waiting_at_most(seconds: float) -> Iterator[None]:
    """Have ``is_over`` say so, in this block and thread, before ``counted`` is so many seconds."""
    before = _patience.left, _patience.longest
    _patience.left, _patience.longest = min(_patience.left, seconds), 0.0
    try:
        yield
    finally:
        _patience.left, _patience.longest = before


@contextmanager
def counted() -> Iterator[None]:
    """Count how long this block takes, also where it fails."""
    began = time.monotonic()
    try:
        yield
    finally:
        took = time.monotonic() - began
        _patience.left -= took
        _patience.longest = max(_patience.longest, took)


def is_over() -> bool:
    """Return whether what can be done without the broker is to be done without it.

    So it is where another question, if it takes as long as one so far, would take too long.
    """
    return _patience.left <= 0 or _patience.left < _patience.longest
