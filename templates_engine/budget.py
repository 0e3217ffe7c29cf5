"""What one rendering may spend, and what it runs for.

Jinja2's sandbox bounds no resources, so each step that can grow pays here first: a loop its length
times the weight of its body, a long value its length. The sum decides, not the clock: what renders
today renders tomorrow. The clock (of this thread's CPU, so that a busy machine fails nobody) stands
behind it. It holds in threads and in prefork children alike, as it needs no signal and no process.
"""

import threading
import time
from dataclasses import dataclass
from datetime import tzinfo

# Roughly characters of output and steps; the heaviest templates known spend a fifth.
FUEL = 5_000_000
# CPU seconds of a rendering of all parts.
CPU_SECONDS = 2.0
# Characters of one part. Mail clients clip at about a tenth of it.
MAX_OUTPUT = 1_000_000
# How much is spent between two looks at the clock, which costs 0.3 µs.
_BETWEEN_LOOKS = 50_000


class LimitReached(Exception):
    """The rendering wants more than it may have."""


@dataclass(slots=True)
class Rendering:
    """One rendering's means. ``locale`` and ``zone`` are what the format filters go by.

    ``printed_colon``: a value came into HTML that might hold the scheme of a link.
    """

    locale: str
    zone: tzinfo
    base_url: str
    fuel: int
    next_look: int
    deadline: float
    printed_colon: bool = False

    def spend(self, units: int) -> None:
        """Pay for a step of any size.

        Raises: LimitReached.
        """
        if units > 0:
            self.fuel -= units
        if self.fuel < self.next_look:
            self.look()

    def look(self) -> None:
        """Look at what is left, of fuel and of time.

        Raises: LimitReached.
        """
        if self.fuel < 0:
            raise LimitReached("It takes more steps, or prints more, than one message may.")
        if time.thread_time() > self.deadline:
            raise LimitReached(f"It takes longer than {CPU_SECONDS:g} s of CPU time.")
        self.next_look = self.fuel - _BETWEEN_LOOKS


class _Thread(threading.local):
    rendering: Rendering | None = None


_thread = _Thread()


def begin(locale: str, zone: tzinfo, base_url: str) -> None:
    """Start a rendering in this thread, with full means."""
    _thread.rendering = Rendering(
        locale,
        zone,
        base_url,
        FUEL,
        FUEL - _BETWEEN_LOOKS,
        time.thread_time() + CPU_SECONDS,
    )


def current() -> Rendering:
    """Return this thread's rendering.

    Raises: RuntimeError when a filter is used outside one.
    """
    if _thread.rendering is None:
        raise RuntimeError("Content is made by CompiledVersion.render only.")
    return _thread.rendering


def spend(units: int) -> None:
    """Pay for a step of this thread's rendering.

    Raises: LimitReached.
    """
    current().spend(units)
