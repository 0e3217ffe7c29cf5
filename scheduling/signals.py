"""Lets a piece of work finish before SIGTERM or SIGINT ends the process."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold back SIGTERM and SIGINT while the block runs; raise ``SystemExit`` after it if one came.

    Celery's own handler closes the scheduler, and builds one for that if there is none yet, inside
    whatever statement it interrupts: inside a query, that waits for itself for ever. Only the main
    thread receives signals, so elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)

    handlers = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if arrived:
            raise SystemExit
