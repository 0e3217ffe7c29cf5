"""What is wrong with this system, and how to mend it: one finding per fault.

Each probe looks at one thing and gives findings; it never raises for what it is there to find.
Probes that cannot say anything while something deeper is broken are left out then.
"""

from collections.abc import Callable, Iterator
from itertools import chain

from notifications.diagnosis import broker, delivery, storage
from notifications.diagnosis.finding import Finding

Probe = Callable[[], Iterator[Finding]]


def examine() -> list[Finding]:
    """Look at everything that can be looked at."""
    found = list(chain(storage.settings_errors(), storage.folder()))
    if any(finding.is_error for finding in found):
        return found  # no process starts on these, so nothing can be asked
    unreachable = [*storage.database()]
    found += unreachable
    if not unreachable:
        behind = [*storage.migrations()]
        found += behind
        found += storage.clocks()
        if not behind:
            found += chain(delivery.schedulers(), delivery.backlog(), delivery.schedules())
            found += chain(delivery.providers(), delivery.public_address())
            found += delivery.dead_letters()
    silent = [*broker.reachable()]
    found += silent
    if not silent:
        found += chain(broker.durability(), broker.workers())
    return found


__all__ = ["Finding", "examine"]
