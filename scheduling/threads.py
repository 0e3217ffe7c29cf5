"""Threads that live as long as their process, or as long as there is work: none dies of a fault.

A thread that is gone is missed by nobody, while the others count on what it does. So whatever the
loop of such a thread raises is logged, without its text, and the loop begins anew.
"""

import logging
import time
from collections.abc import Callable
from threading import Thread

from scheduling import isolation

logger = logging.getLogger(__name__)

FIRST_REST, LONGEST_REST = 0.5, 10.0
"""Seconds between a fault and the next begin; each fault that follows soon doubles the rest."""


def lasting(name: str, loop: Callable[[], None]) -> Thread:
    """Make a daemon thread that runs ``loop`` until that returns, and again if it raises.

    What ``loop`` has in hand when it raises must be where its next begin finds it.
    """
    return Thread(target=run, args=(name, loop), name=name, daemon=True)


def run(name: str, loop: Callable[[], None]) -> None:
    """Run ``loop`` in this thread, as ``lasting`` says; for a thread of another class."""
    rest = FIRST_REST
    while True:
        began = time.monotonic()
        try:
            loop()
        except BaseException as error:  # noqa: BLE001 -- the boundary of each thread, also of SystemExit
            fault = isolation.fault_of(error, name)
            logger.error("thread_broke: %s of %s at %s", fault.error, name, fault.place)  # noqa: TRY400 -- a traceback has the exception's text
        else:
            return
        if time.monotonic() - began > LONGEST_REST:
            rest = FIRST_REST
        time.sleep(rest)
        rest = min(rest * 2, LONGEST_REST)
