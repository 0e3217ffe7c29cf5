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


_patience = _Patience()


@contextmanager
def waiting_at_most(seconds: float) -> Iterator[None]:
    """Have ``is_over`` say so, in this block and thread, once ``counted`` is so many seconds."""
    before = _patience.left
    _patience.left = min(before, seconds)
    try:
        yield
    finally:
        _patience.left = before


@contextmanager
def counted() -> Iterator[None]:
    """Count how long this block takes, also where it fails."""
    began = time.monotonic()
    try:
        yield
    finally:
        _patience.left -= time.monotonic() - began


def is_over() -> bool:
    """Return whether what can be done without the broker is to be done without it."""
    return _patience.left <= 0
