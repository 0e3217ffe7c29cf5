"""What is wrong with this system, and how to mend it: one finding per fault.

Each probe looks at one thing and gives findings; it never raises for what it is there to find.
Probes that cannot say anything while something deeper is broken are left out then.
"""

from itertools import chain

from notifications.monitoring.diagnosis import broker, delivery, locks, schedules, storage
from notifications.monitoring.diagnosis.finding import Finding


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
        found += chain(storage.clocks(), locks.waits())
        if not behind:
            found += chain(*(probe() for probe in schedules.PROBES))
            found += chain(delivery.backlog(), delivery.held(), delivery.quarantine())
            found += chain(delivery.providers(), delivery.open_circuits())
            found += delivery.public_address()
            found += chain(delivery.dead_letters(), delivery.schemas())
    silent = [*broker.reachable()]
    found += silent
    if not silent:
        found += chain(broker.durability(), broker.workers())
    found += broker.shared_state_works()
    return found


__all__ = ["Finding", "examine"]
