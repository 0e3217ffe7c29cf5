"""How much of what is due a scheduler takes at once: less while it is slow."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from scheduling import waits

MOST = 250
LEAST = 5
SLOW = waits.PUBLISH_LEASE.total_seconds() / 2
"""Seconds from a claim to its last publish; at twice that, others publish what is left."""


class Pace:
    """The size of a scheduler's next claim: halved by a slow round, doubled by one that is fast.

    A busy scheduler so leaves what is due to the others, which claim it meanwhile.
    """

    def __init__(self, most: int = MOST, least: int = LEAST) -> None:
        self.limit = self._most = most
        self._least = min(least, most)

    @contextmanager
    def measured(self) -> Iterator[int]:
        """Give the size of a claim, and measure the block that claims and publishes it."""
        began = time.monotonic()
        try:
            yield self.limit
        finally:
            self.took(time.monotonic() - began)

    def took(self, seconds: float) -> None:
        """Count a round that took so long."""
        if seconds > SLOW:
            self.limit = max(self.limit // 2, self._least)
        elif seconds < SLOW / 2:
            self.limit = min(self.limit * 2, self._most)
