"""A time limit for somebody else's code in the main thread."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TookTooLong(RuntimeError):
    """Code that a loop waits for did not end in time, and was broken off."""


@contextmanager
def within(seconds: float, subject: str) -> Iterator[None]:
    """Break the block off after so many seconds. Raises ``TookTooLong``, which names ``what``.

    It works by a signal, which only the main thread receives. In other threads there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TookTooLong(f"{subject} took longer than {seconds:g} s.")

    handler = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    began = time.monotonic()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:  # somebody else's alarm goes on
            left_over = max(left - (time.monotonic() - began), 0.001)
            signal.setitimer(signal.ITIMER_REAL, left_over, interval)
